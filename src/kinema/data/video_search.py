"""Finds the videos that the user gives as files, folders and patterns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kinema.data.clutter import is_clutter
from kinema.data.paths import locate
from kinema.data.video import SUFFIXES, is_video
from kinema.errors import KinemaError
from kinema.files import is_folder, local_path, look_up

_WILD = "*?["


def find_videos(inputs: Iterable[str | Path]) -> list[str]:
    """Lists the videos of files, folders and patterns, each once, in the order given.

    A file that is given directly is returned as it is, readable or not. A folder or pattern gives the videos in it.

    Args:
        inputs: video files, folders (searched for videos and folders of frames, at any depth) and patterns such as
            `clips/**/*.mp4`.

    Returns:
        Paths, as `Recognizer.predict_many` takes them.

    Raises:
        KinemaError: a folder or pattern contains no video, an input is an address, or a text is given, not a list.
    """
    if isinstance(inputs, str | Path):
        raise KinemaError(f"inputs is {str(inputs)!r}: give a list of files, folders or patterns")
    found: dict[str, None] = {}
    for given in inputs:
        text = local_path(str(given))
        path = Path(text)
        if is_folder(path):
            videos = _search(path, set())
            if not videos:
                raise KinemaError(f"{text}: no video in this folder; give a folder with videos or folders of frames")
        elif any(c in text for c in _WILD) and not _there(path):
            try:
                matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
            except ValueError as error:  # such as `**.mp4`
                raise KinemaError(f"{text}: not a pattern ({error}); write it like 'clips/**/*.mp4'") from error
            visible = [m for m in matches if all(p in path.parts or not is_clutter(p) for p in m.parts)]
            videos = [video for match in visible for video in _search(match, set())]
            if not videos:
                raise KinemaError(f"{text}: no video matches this pattern; check it, and put it in quotes")
        else:
            videos = [locate(Path(), text)]
        found.update(dict.fromkeys(map(str, videos)))
    return list(found)


def _there(path: Path) -> bool:
    """True if a path exists or cannot be reached: the latter is not a pattern but an unreadable video."""
    try:
        return look_up(path) is not None
    except (OSError, ValueError):
        return True


def _search(path: Path, seen: set[Path]) -> list[Path]:
    """Yields a video; for a folder the videos below it, or if there are none, the folder itself if it contains frames.

    A folder that cannot be listed is yielded itself, so that its row shows the reason.
    """
    if not is_folder(path):
        return [path] if path.suffix.lower() in SUFFIXES else []
    try:
        place = path.resolve()
        if place in seen:  # a link to a parent folder
            return []
        seen.add(place)
        children = sorted(p for p in path.iterdir() if not is_clutter(p.name))
    except OSError:
        return [path]
    found = [video for child in children for video in _search(child, seen)]
    return found or ([path] if is_video(path) else [])
