"""Records the videos that a run trains on, and checks that they are still the same when it resumes.

A run can be resumed with its data under another path (a relative path, a symbolic link, a copy on another disk). Paths
are not compared, but the videos are: their names relative to their common folder, labels, times and sizes, and the
bytes of a sample of them.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from kinema.data.manifest import Manifest
from kinema.data.shards.index import find_member
from kinema.errors import KinemaError, UnreadableVideo
from kinema.files import is_folder, look_up, on_behalf_of, replace_file
from kinema.processes import loader_workers
from kinema.text import parse_json, printable

FILE = "videos.parquet"
SAMPLED = 256  # videos whose bytes are compared; all of them in a smaller data set
WHOLE = 1 << 20  # bytes; files up to this size are hashed completely
_PARTS, _PART = 4, 1 << 18  # number and size, in bytes, of the hashed parts of a larger file
_SHARE = 500  # paths that a thread takes at once: handing over one path takes longer than looking at it
_PICTURES = (".jpg", ".jpeg", ".png")
_LABELS, _FLIPS = b"kinema.labels", b"kinema.flip_map"


@dataclass(frozen=True)
class Videos:
    """The videos of a training split, in order.

    Attributes:
        labels: all labels of the data.
        flips: pairs of labels in the flip map, sorted.
        rows: per video its name relative to the common folder, its label, and start and end in seconds or None.
        sizes: name -> bytes of a file, or number of pictures in a folder of frames; None if it could not be
            reached.
        digests: name -> SHA-256 of the bytes, for a sample of videos; None if they could not be read.
    """

    labels: tuple[str, ...]
    flips: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, float | None, float | None], ...]
    sizes: dict[str, int | None]
    digests: dict[str, str | None]


def listed(manifest: Manifest) -> Videos:
    """Records the videos of a split as they are on disk now; they need not be readable."""
    names = relative_names([s.path for s in manifest.samples])
    paths = dict(zip(names, (s.path for s in manifest.samples), strict=True))
    sampled = heapq.nsmallest(SAMPLED, paths, key=_draw)
    sizes = dict(zip(paths, _of_each(_size, list(paths.values())), strict=True))
    digests = dict(zip(sampled, _of_each(_digest, [paths[name] for name in sampled]), strict=True))
    return Videos(
        labels=tuple(map(printable, manifest.labels)),
        flips=tuple(sorted((printable(a), printable(b)) for a, b in manifest.flip_map.items())),
        rows=tuple((n, printable(s.label), s.start, s.end) for n, s in zip(names, manifest.samples, strict=True)),
        sizes=sizes,
        digests=digests,
    )


def relative_names(paths: Sequence[str]) -> list[str]:
    """Returns paths relative to the deepest folder that contains all of them, with `/`, whatever its name is."""
    whole = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - resolve() would query the disk for every part
    try:
        common = os.path.commonpath({os.path.dirname(path) for path in whole})  # noqa: PTH120
    except ValueError:  # no paths, or paths on several drives
        return [printable(path) for path in whole]
    return [printable(path[len(common) :].lstrip(os.sep).replace(os.sep, "/")) for path in whole]


def difference(old: Videos, new: Videos) -> str | None:
    """Describes the first difference between two lists of videos; None if they are the same.

    A video that could not be reached at one of the two times does not count as different.
    """
    before, now = {row[0]: row for row in old.rows}, {row[0]: row for row in new.rows}
    for name in now:
        if name not in before:
            return f"{name} is new"
    for name in before:
        if name not in now:
            return f"{name} is missing"
    if len(old.rows) != len(new.rows):
        return f"there are {len(new.rows)} clips instead of {len(old.rows)}"
    for a, b in zip(old.rows, new.rows, strict=True):
        if a[0] != b[0]:
            return f"the order differs: {b[0]} is in the place of {a[0]}"
        if a[1] != b[1]:
            return f"{b[0]} has the label {b[1]!r} instead of {a[1]!r}"
        if a[2:] != b[2:]:
            return f"{b[0]} has another start or end"
    if old.labels != new.labels:
        return f"the labels are {', '.join(new.labels[:5])}{', …' if new.labels[5:] else ''}, which have changed"
    if old.flips != new.flips:
        return "the flip map differs"
    for name, size in new.sizes.items():
        was = old.sizes.get(name)
        if size is not None and was is not None and size != was:
            return f"{name} has the size {size} instead of {was}"
    for name, digest in new.digests.items():
        was_digest = old.digests.get(name)
        if digest is not None and was_digest is not None and digest != was_digest:
            return f"{name} has other content"
    return None


def is_proof(old: Videos, new: Videos) -> bool:
    """True if the bytes of at least one video could be compared; else two folders may contain different videos."""
    return any(digest is not None and old.digests.get(name) is not None for name, digest in new.digests.items())


def write_videos(folder: Path, videos: Videos) -> None:
    """Writes `videos.parquet` into a run folder. Raises `RunError` if it cannot be written."""
    names, labels, starts, ends = zip(*videos.rows, strict=True) if videos.rows else ((), (), (), ())
    table = pa.table(
        {
            "path": pa.array(names, pa.string()),
            "label": pa.array(labels, pa.string()),
            "start": pa.array(starts, pa.float64()),
            "end": pa.array(ends, pa.float64()),
            "size": pa.array([videos.sizes[name] for name in names], pa.int64()),
            "sha256": pa.array([videos.digests.get(name) for name in names], pa.string()),
        },
        metadata={_LABELS: json.dumps(videos.labels), _FLIPS: json.dumps(videos.flips)},
    )

    def write(part: Path) -> None:
        with part.open("wb") as file:  # a Python file, so that a full disk raises an OSError with its reason
            pq.write_table(table, file)

    replace_file(folder / FILE, write)


def read_videos(folder: Path) -> Videos | None:
    """Reads `videos.parquet`; None if it does not exist, as in runs of earlier versions.

    Raises:
        KinemaError: the file is damaged.
    """
    file = folder / FILE
    if look_up(file) is None:
        return None
    try:
        with pq.ParquetFile(file) as parquet:
            table = parquet.read()
        metadata = table.schema.metadata
        columns = [table[name].to_pylist() for name in ("path", "label", "start", "end", "size", "sha256")]
        names = columns[0]
        return Videos(
            labels=tuple(parse_json(metadata[_LABELS])),
            flips=tuple((a, b) for a, b in parse_json(metadata[_FLIPS])),
            rows=tuple(zip(*columns[:4], strict=True)),
            sizes=dict(zip(names, columns[4], strict=True)),
            digests={name: digest for name, digest in zip(names, columns[5], strict=True) if digest is not None},
        )
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise KinemaError(
            f"{file}: cannot be read ({why}); restore it, or remove it to continue without comparing the videos"
        ) from error


def _of_each(look: Callable[[str], Any], paths: Sequence[str]) -> list[Any]:
    """Calls `look` for each path in several threads; None if the system rejects the path."""

    def attempt(part: Sequence[str]) -> list[Any]:
        found = []
        for path in part:
            try:
                with on_behalf_of(path):
                    found.append(look(path))
            except UnreadableVideo:
                found.append(None)
        return found

    workers = loader_workers(-1)
    size = max(1, min(_SHARE, -(-len(paths) // workers)))
    parts = [paths[i : i + size] for i in range(0, len(paths), size)]
    with ThreadPoolExecutor(workers) as pool:
        return [value for part in pool.map(attempt, parts) for value in part]


def _draw(name: str) -> bytes:
    """Sort key that draws the same videos on every machine; the first videos alone might all belong to one class."""
    return hashlib.sha256(name.encode()).digest()


def _size(path: str) -> int | None:
    member = find_member(path)
    if member is not None:
        return member.size
    found = look_up(path)
    if found is None:
        return None
    return len(_pictures(path)) if stat.S_ISDIR(found.st_mode) else found.st_size


def _pictures(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries)
        return sorted(n for n in names if n.lower().endswith(_PICTURES) and not n.startswith("."))


def _digest(path: str) -> str | None:
    member = find_member(path)
    if member is not None:
        return member.sha256
    if not is_folder(path):
        return None if look_up(path) is None else _hash([Path(path)], [])
    names = _pictures(path)
    places = sorted({i * (len(names) - 1) // (_PARTS - 1) for i in range(_PARTS)}) if names else []
    return _hash([Path(path, names[i]) for i in places], names)


def _hash(files: Iterable[Path], names: list[str]) -> str:
    digest = hashlib.sha256(printable("/".join(names)).encode())
    for path in files:
        with path.open("rb") as file:
            for block in _blocks(file):
                digest.update(block)
    return digest.hexdigest()


def _blocks(file: BinaryIO) -> Iterable[bytes]:
    """Reads a small file completely, and parts of a large one from beginning to end."""
    size = file.seek(0, os.SEEK_END)
    if size <= WHOLE:
        file.seek(0)
        yield file.read()
        return
    for i in range(_PARTS):
        file.seek(i * (size - _PART) // (_PARTS - 1))
        yield file.read(_PART)
