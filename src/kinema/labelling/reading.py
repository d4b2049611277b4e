"""The work of a reader process for one input: fetch it, hash it, cut its views, and report the stage of a failure."""

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

LOST = "reader"  # the stage of an input that crashed or hung its reader


class EntryViews:
    """The views of entries with the facts for their rows, for a `Loader`; every sample is a dict.

    It has `views` and `span` if the input could be read, else `stage` and `error`, and as far as they are known
    `content_hash`, `stamp`, `frames_declared` and `frames_read`.

    Args:
        spec: specification of clips.
        clips: temporal views.
        crops: spatial views of each, 1 or 3.
        scratch: folder for fetched files; None is that of the system.

    Raises:
        KinemaError: the views are not possible.
    """

    def __init__(self, spec: ClipSpec, clips: int, crops: int, scratch: Path | None = None) -> None:
        check_views(spec, clips, crops)
        self.spec, self.clips, self.crops, self._scratch = spec, clips, crops, scratch
        self._known: tuple[str, Content] | None = None  # the windows of a video share its content hash

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
                        # Without a hash, so that the next run labels it again in any case.
                        return {"stage": stage, "error": "it changed while it was read: repeat the command"}
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
        """Number of bytes of the views of one video."""
        return view_bytes(self.spec, self.clips, self.crops)

    def path(self, entry: Any) -> str:
        """Returns the video and the part, because another part of the same video may be readable."""
        return f"{entry.place} {entry.start} {entry.end}"

    def failure(self, entry: Any, why: str) -> dict[str, Any]:
        """Returns the sample for an input that crashed or hung its reader; `settle` adds its hash."""
        return {"stage": LOST, "error": why}


def settle(entry: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Adds the hash of the file to the sample of a lost reader. Hashing is safe here, because nothing is decoded."""
    if found.get("stage") != LOST or "content_hash" in found or is_fetched(entry.place):
        return found
    with suppress(OSError, ValueError):
        content = content_of(entry.place)
        return found | {"content_hash": content.digest, "stamp": content.stamp}
    return found


@contextmanager
def local_copy(place: str, scratch: Path | None = None) -> Iterator[str]:
    """Provides a path on this machine: for an address or a sample of a shard a copy, removed after the `with` block.

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
    """Returns True if a place is not a file on this machine: it is an address, or a sample of a shard."""
    return is_address(place) or split_member(place) is not None


def stamp_elsewhere(place: str) -> str | None:
    """Returns the stamp of a place that `is_fetched`: the hash in a shard's index, or the version given by a store."""
    if split_member(place) is None:
        return stamp_of_address(place)
    try:
        member = find_member(place)
    except UnreadableVideo:  # the reader will report the reason
        return None
    return None if member is None else f"sha256 {member.sha256}"


def digest_now(place: str, known: Mapping[str, tuple[str | None, str | None]]) -> str | None:
    """Returns the hash of an input, or None if it does not exist or cannot be read.

    Args:
        place: path or address.
        known: place -> stamp and hash; an address whose stamp is unchanged is not fetched.
    """
    stamp, digest = known.get(place, (None, None))
    if stamp is not None and is_fetched(place) and stamp_elsewhere(place) == stamp:
        return digest
    try:
        with local_copy(place) as path:
            return content_of(path).digest
    except (OSError, ValueError):
        return None
