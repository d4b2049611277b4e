"""The INPUT as one entry per row of the table: folders, patterns, lists, shards and addresses.

`_KINDS` maps the suffix of a file that lists or contains many videos to the function that reads it. To add a kind,
write a function that yields entries, and open them in `reading`.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from kinema.data.addresses import is_address, list_address, read_bytes
from kinema.data.paths import locate, nearest_name
from kinema.data.shards.index import read_index
from kinema.data.shards.names import split_member
from kinema.data.shards.store import find_shards
from kinema.data.video_search import find_videos
from kinema.errors import KinemaError, unknown
from kinema.files import local_path, reach
from kinema.tables import read_csv_file
from kinema.text import printable

_FIX = "write it again with a column path, and with start and end if only parts are to be labelled"
_WILD = "*?["


@dataclass(frozen=True)
class Entry:
    """One input, which gets one row.

    Attributes:
        place: path or address that is opened.
        start: start of the part to label, in seconds from the first frame; None is the beginning.
        end: end of the part, in seconds; None is the end.
        repeat: number of earlier entries in the input for the same part of the same video.
        error: why it cannot be labelled, if its line in a list is invalid.
        window: whether the part is a window of a long video.
    """

    place: str
    start: float | None = None
    end: float | None = None
    repeat: int = 0
    error: str | None = None
    window: bool = False

    @property
    def path(self) -> str:
        """`place` as it is written to a table: bytes of a name that are not UTF-8 become escapes."""
        return printable(self.place)

    @property
    def key(self) -> tuple[str, float | None, float | None, int]:
        """A key that is unique within the table."""
        return (self.path, self.start, self.end, self.repeat)


def find_entries(inputs: str | Path | Iterable[str | Path]) -> list[Entry]:
    """Yields the entries of an INPUT, in its order.

    Args:
        inputs: a folder (searched for videos and folders of frames, at any depth), a pattern, a video, a CSV or
            Parquet list with a column `path` and optionally `start` and `end`, a shard or a folder of shards as
            `kinema data pack --shards` writes them, a sample `SHARD.tar#NAME`, an fsspec address of any of these,
            or several of them.

    Raises:
        KinemaError: it does not exist, contains no video, or is not a list with a column `path`.
    """
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if not given:
        raise KinemaError("INPUT is empty: give a folder, a pattern, a list or an address")
    return numbered(entry for one in given for entry in _entries(str(one)))


def numbered(entries: Iterable[Entry]) -> list[Entry]:
    """Yields entries with their `repeat`, which distinguishes identical entries."""
    seen: Counter[tuple[str, float | None, float | None]] = Counter()
    found = []
    for entry in entries:
        known = entry.key[:3]
        found.append(replace(entry, repeat=seen[known]) if seen[known] else entry)
        seen[known] += 1
    return found


def _entries(text: str) -> Iterator[Entry]:
    remote = is_address(text)
    text = text if remote else local_path(text)
    kind = _KINDS.get(PurePosixPath(text.partition("::")[0]).suffix.lower())
    if kind is not None and not any(c in text for c in _WILD) and (remote or not Path(text).is_dir()):
        yield from kind(text)
    elif split_member(text) is not None:
        yield Entry(text)
    elif (shards := find_shards(text)) is not None:
        for shard in shards:
            yield from _shard(shard)
    elif remote:
        yield from map(Entry, list_address(text))
    else:
        path = Path(text)
        if reach(path) is None and not any(c in text for c in _WILD):
            raise KinemaError(f"{text}: there is no such file or folder{nearest_name(path)}; correct INPUT")
        yield from map(Entry, find_videos([text]))


def _csv(text: str) -> Iterator[Entry]:
    with _local(text) as file:
        table = read_csv_file(file, ("path",), _FIX)
    if not table.rows:
        raise KinemaError(f"{text}: the list is empty; {_FIX}")
    header = [name.strip() for name in table.rows[0][1]]
    _check_columns(text, header)
    if not table.rows[1:]:
        raise KinemaError(f"{text}: the list has no row below its first line; add one per video")
    point = "." if table.delimiter == "," else ","
    for line, cells in table.rows[1:]:
        if len(cells) != len(header):
            named = cells[header.index("path")] if len(cells) > header.index("path") else ""
            yield Entry(
                str(_place(text, named)),
                error=f"line {line} of {text} has {len(cells)} fields under {len(header)} columns: quote a path that "
                f"contains {table.delimiter!r}, or add the missing fields",
            )
            continue
        row = dict(zip(header, cells, strict=True))
        times = {name: row.get(name, "").strip().replace(point, ".") for name in ("start", "end")}
        yield _entry(text, f"line {line}", row["path"], times)


def _parquet(text: str) -> Iterator[Entry]:
    try:
        with _local(text) as file:
            names = pq.read_schema(file).names
            _check_columns(text, names)
            table = pq.read_table(file, columns=[name for name in ("path", "start", "end") if name in names])
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        raise KinemaError(f"{text}: not a readable Parquet file ({why}); {_FIX}") from error
    if not len(table):
        raise KinemaError(f"{text}: the list has no rows; add one per video")
    number = 0
    for batch in table.to_batches():
        for row in batch.to_pylist():
            number += 1
            times = {name: "" if row.get(name) is None else str(row[name]) for name in ("start", "end")}
            path = row["path"]
            yield _entry(text, f"row {number}", path if isinstance(path, str) else "", times)


def _check_columns(text: str, names: Sequence[str]) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1 and name in ("path", "start", "end")), "")
    if twice:
        raise KinemaError(f"{text} has two columns {twice!r}: rename or remove one of them")
    if "path" not in names:
        near = unknown("column", "path", names) if names else "it has no columns"
        raise KinemaError(f"{text} has no column 'path' ({near}); {_FIX}")


def _entry(source: str, where: str, path: str, times: Mapping[str, str]) -> Entry:
    """Returns an entry of a list; a mistake in its line becomes the error of its row."""
    wrong = None if path.strip() else f"{where} of {source} has no path: fill it in or remove the line"
    seconds: dict[str, float | None] = {"start": None, "end": None}
    for name, cell in times.items():
        try:
            value = float(cell) if cell else None
        except ValueError:
            value = math.nan
        if value is not None and not (math.isfinite(value) and value >= 0):
            wrong = wrong or f"{name} is {cell!r} in {where} of {source}: give seconds from 0 on, or leave it empty"
        else:
            seconds[name] = value
    start, end = seconds["start"], seconds["end"]
    if wrong is None and end is not None and (start or 0.0) >= end:
        wrong = f"start {start or 0:g} is not before end {end:g} in {where} of {source}: correct them"
    return Entry(_place(source, path), start, end, error=wrong)


def _place(source: str, path: str) -> str:
    """Returns the location of a path in a list: relative to the list, unless it is absolute or an address."""
    if is_address(path) or not path.strip():
        return path.strip()
    if is_address(source):
        head, sep, rest = source.partition("::")
        return head.rpartition("/")[0] + "/" + path.strip() + sep + rest
    try:
        return str(locate(Path(source).parent, local_path(path)))
    except KinemaError:
        return path


@contextmanager
def _local(text: str) -> Iterator[Path]:
    """Provides the file of a list on this machine while the `with` block runs."""
    if not is_address(text):
        path = Path(text)
        if reach(path) is None:
            raise KinemaError(f"{path}: there is no such list{nearest_name(path)}; correct INPUT")
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PurePosixPath(text.partition("::")[0]).name
        copy.write_bytes(read_bytes(text))
        try:
            yield copy
        except KinemaError as error:
            raise KinemaError(str(error).replace(str(copy), text)) from error


def _shard(text: str) -> Iterator[Entry]:
    """Yields the videos of a shard, including damaged ones."""
    names = read_index(text).samples
    if not names:
        raise KinemaError(f"{text}: the shard contains no sample; remove it from the input")
    yield from (Entry(f"{text}#{name}") for name in names)


_KINDS: Mapping[str, Callable[[str], Iterator[Entry]]] = {".csv": _csv, ".parquet": _parquet, ".tar": _shard}
