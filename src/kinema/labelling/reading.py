"""What a process that reads does for one input: fetch it, hash it, cut its views, and say where that failed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from kinema.clip_spec import ClipSpec
from kinema.data.addresses import fetch, is_address, stamp_of_address
from kinema.data.shards.index import find_member
from kinema.data.shards.names import split_member
from kinema.data.shards.reader import read_member
from kinema.data.video import open_video
from kinema.data.views import check_views, view_bytes, views_of
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of
from kinema.labelling.content import Content, content_of, stamp_of, state_of

LOST = "reader"  # the stage of what took its reader down


class EntryViews:
    """The views of entries with what a row says of them, for a `Loader`; every sample is a dict.

    It holds `views` and `span` where the input could be read, else `stage` and `error`; and as far as they are known
    `content_hash`, `stamp`, `frames_declared` and `frames_read`.

    Args:
        spec: how to cut clips.
        clips: temporal views.
        crops: spatial views of each, 1 or 3.
        scratch: folder for what is fetched; None is the system's.

    Raises:
        KinemaError: views that cannot be cut.
    """

    def __init__(self, spec: ClipSpec, clips: int, crops: int, scratch: Path | None = None) -> None:
        check_views(spec, clips, crops)
        self.spec, self.clips, self.crops, self._scratch = spec, clips, crops, scratch
        self._known: tuple[str, Content] | None = None  # the windows of a video share one content

    def __getitem__(self, entry: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if entry.error is not None:
            return {"stage": "list", "error": entry.error}
        remote = is_fetched(entry.place)
        stage = "fetch" if remote else "find"
        at_origin = stamp_elsewhere(entry.place) if remote else None
        try:
            with local_copy(entry.place, self._scratch) as path:
                stage = "find"
                with on_behalf_of(path):
                    before = state_of(path)
                    content = self._content(path, entry.place)
                found |= {"content_hash": content.digest, "stamp": at_origin if remote else content.stamp}
                stage = "open"
                with on_behalf_of(path), open_video(path) as video:
                    found["frames_declared"] = len(video)
                    stage = "decode"
                    views = views_of(video, self.spec, self.clips, self.crops, start=entry.start, end=entry.end)
                with on_behalf_of(path):
                    if state_of(path) != before:
                        # Without a hash, so that the next run labels it whatever it then holds.
                        return {"stage": stage, "error": "it changed while it was read: give the command again"}
        except UnreadableVideo as error:
            return {**found, "stage": stage, "error": error.reason}
        read = {frame for frames, _ in views.keys for frame in frames}
        return {**found, "frames_read": len(read), "views": views.pixels, "span": views.span}

    def _content(self, path: str, place: str) -> Content:
        if self._known is not None and self._known[0] == place:
            stamp = self._known[1].stamp
            if stamp is not None and stamp == stamp_of(path):
                return self._known[1]
        content = content_of(path)
        self._known = (place, content)
        return content

    @property
    def item_bytes(self) -> int:
        """Bytes of the views of one video."""
        return view_bytes(self.spec, self.clips, self.crops)

    def path(self, entry: Any) -> str:
        """The video and the part: another part of the same video may be sound."""
        return f"{entry.place} {entry.start} {entry.end}"

    def failure(self, entry: Any, why: str) -> dict[str, Any]:
        """What stands for an input that took its reader down; `settle` adds its hash."""
        return {"stage": LOST, "error": why}


def settle(entry: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Adds to what stands for a lost reader the hash of the file, which is read here, where nothing decodes it."""
    if found.get("stage") != LOST or "content_hash" in found or is_fetched(entry.place):
        return found
    with suppress(OSError, ValueError):
        content = content_of(entry.place)
        return found | {"content_hash": content.digest, "stamp": content.stamp}
    return found


@contextmanager
def local_copy(place: str, scratch: Path | None = None) -> Iterator[str]:
    """A path on this machine, of a copy for as long as the block runs where `place` is an address or in a shard.

    Raises:
        UnreadableVideo: it cannot be fetched.
    """
    if not is_fetched(place):
        yield place
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix="kinema-") as folder:
        if split_member(place) is None:
            yield str(fetch(place, folder))
            return
        copy = Path(folder) / f"video{PurePosixPath(place).suffix}"
        copy.write_bytes(read_member(place))
        yield str(copy)


def is_fetched(place: str) -> bool:
    """Whether a place is no file of its own on this machine: an address, or a sample of a shard."""
    return is_address(place) or split_member(place) is not None


def stamp_elsewhere(place: str) -> str | None:
    """What binds the content of a place that `is_fetched`: the hash in a shard's index, or what a store says of it."""
    if split_member(place) is None:
        return stamp_of_address(place)
    try:
        member = find_member(place)
    except UnreadableVideo:  # whoever reads it learns why
        return None
    return None if member is None else f"sha256 {member.sha256}"


def digest_now(place: str, known: Mapping[str, tuple[str | None, str | None]]) -> str | None:
    """The hash of an input, or None where it is not there or cannot be read.

    Args:
        place: path or address.
        known: of places their stamp and hash; the stamp of an address spares fetching it where it is still the same.
    """
    stamp, digest = known.get(place, (None, None))
    if stamp is not None and is_fetched(place) and stamp_elsewhere(place) == stamp:
        return digest
    try:
        with local_copy(place) as path:
            return content_of(path).digest
    except (OSError, ValueError):
        return None
