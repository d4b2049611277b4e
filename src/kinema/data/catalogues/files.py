"""Finds the videos below a folder, as files or as folders of frames, with one listing of its folders."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from kinema.data.catalogues.labels import plain
from kinema.data.clutter import is_clutter
from kinema.data.video import SUFFIXES

DEPTH = 5  # levels of folders below the root


def list_videos(root: Path, wanted: Collection[str], unlisted: list[OSError] | None = None) -> dict[str, list[str]]:
    """Searches for videos by their names.

    A folder that is named like a wanted video is its folder of frames. The contents of that folder and of the folders
    beside it are not listed, so that a hundred thousand frame folders cost one listing.

    Args:
        root: folder to search, at most `DEPTH` levels deep; links are followed.
        wanted: names without suffix.
        unlisted: receives an error per folder that cannot be listed.

    Returns:
        name -> paths, files before folders of frames, otherwise in the order of the sorted folders.
    """
    files: dict[str, list[str]] = defaultdict(list)
    frames: dict[str, list[str]] = defaultdict(list)
    errors = [] if unlisted is None else unlisted
    for folder, below, names in os.walk(root, followlinks=True, onerror=errors.append):
        sequences = [name for name in below if name in wanted]
        for name in sequences:
            frames[name].append(f"{folder}{os.sep}{name}")
        deep = len(Path(folder).relative_to(root).parts) >= DEPTH
        below[:] = [] if sequences or deep else sorted(name for name in below if not is_clutter(name))
        for name in names:  # as strings, because a hundred thousand Path objects take seconds
            stem, _, suffix = name.rpartition(".")
            if stem in wanted and f".{suffix.lower()}" in SUFFIXES and not is_clutter(name):
                files[stem].append(f"{folder}{os.sep}{name}")
    for paths in files.values():
        paths.sort()
    for name, folders in frames.items():
        files[name] = [*files.get(name, ()), *folders]
    return files


class Shelf:
    """The videos of a data set, looked up by name and class folder.

    Args:
        found: result of `list_videos`.
        classes: possible names of class folders.
        unique: True if a name belongs to one video only, in whatever folder it is; otherwise a file in the folder of
            another class is another video.
    """

    def __init__(self, found: dict[str, list[str]], classes: Iterable[str], *, unique: bool) -> None:
        self._found, self._unique = found, unique
        self._classes = {plain(name) for name in classes}
        self._plain: dict[str, str] = {}

    def paths(self, names: Iterable[str], folder: str) -> list[str]:
        """Returns the paths of a video that may have one of several names; several if it exists more than once."""
        for name in names:
            found = self._found.get(name)
            if not found:
                continue
            if self._unique and len(found) == 1:
                return found
            wanted = self._key(folder)
            homes = [self._key(os.path.basename(os.path.dirname(path))) for path in found]  # noqa: PTH119, PTH120
            same = [path for path, home in zip(found, homes, strict=True) if home == wanted]
            if not same:
                same = [p for p, home in zip(found, homes, strict=True) if self._unique or home not in self._classes]
            if same:
                return same
        return []

    def _key(self, folder: str) -> str:
        if folder not in self._plain:
            self._plain[folder] = plain(folder)
        return self._plain[folder]
