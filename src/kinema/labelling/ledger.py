"""The folder of a labelling: Parquet parts of bounded size, and `manifest.json`, which alone says what belongs to it.

A part is written whole, then the manifest that names it, then what it replaces is removed. So whatever is killed, the
manifest names parts that are whole, in which every input has at most one row; files that it does not name are
left-overs, which the next run removes.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinema.errors import KinemaError, RunError
from kinema.files import LOCK, clear_parts, reach, replace_file
from kinema.labelling.rows import Row, schema, to_table
from kinema.text import first_line, parse_json

MANIFEST = "manifest.json"
FORMAT = 1
PART_ROWS = 20_000
_PART = re.compile(r"part-[0-9]{6,}\.parquet")
_FLUSH_ROWS, _FLUSH_SECONDS = 1000, 15.0  # what a kill may cost
_TAIL = 32  # parts that are not full, before they are merged


@dataclass(frozen=True)
class Part:
    """A Parquet file of the table.

    Attributes:
        file: its name in the folder.
        rows: how many it holds.
        sha256: of its bytes.
    """

    file: str
    rows: int
    sha256: str


class Ledger:
    """The rows of a folder; one process at a time may have it (see `kinema.files.held`).

    Args:
        folder: of the table; made where there is none.
        settings: what the rows depend on; those of a folder that exists must be equal.
        features: whether rows hold embeddings.
        part_rows: rows of a full part.

    Attributes:
        lost: rows of parts that were missing or damaged; their inputs count as not labelled.

    Raises:
        KinemaError: the folder holds something else, or was written with other settings.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], *, features: bool, part_rows: int = PART_ROWS
    ) -> None:
        self.folder, self._settings = folder, dict(settings)
        self._columns = schema(features=features)
        self._part_rows = part_rows
        self._buffer: list[Row] = []
        self._flushed = time.monotonic()
        self.lost = 0
        check_output(folder)
        if (folder / MANIFEST).exists():
            values = read_manifest(folder)
            _check_settings(folder, values["settings"], self._settings)
            self._next, self._parts = values["next"], _parts(values)
            self._drop_damaged()
        else:
            self._next, self._parts = 1, []
            self._write_manifest()
        self._sweep()

    @property
    def rows(self) -> int:
        """How many rows are on the disk."""
        return sum(part.rows for part in self._parts)

    def done(self, columns: list[str]) -> Iterator[dict[str, list[Any]]]:
        """The rows on the disk, part by part, as lists of these columns."""
        for part in self._parts:
            yield self._read(part, columns).to_pydict()

    def drop(self, stale: Callable[[dict[str, list[Any]]], list[bool]], columns: list[str]) -> None:
        """Removes rows, all of them at once.

        Args:
            stale: called with the columns of each part; says of every row whether it goes.
            columns: that it is given.
        """
        kept: list[Part] = []
        for part in self._parts:
            gone = stale(self._read(part, columns).to_pydict())
            if any(gone):
                table = self._read(part).filter(pa.array([not one for one in gone]))
                kept += [self._write_part(table)] if len(table) else []
            else:
                kept.append(part)
        if kept != self._parts:
            self._replace(kept)

    def add(self, row: Row) -> None:
        """Adds a row; it is on the disk after a few seconds at most."""
        self._buffer.append(row)
        full = len(self._buffer) >= min(_FLUSH_ROWS, self._part_rows)
        if full or time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that are still in memory."""
        if self._buffer:
            part = self._write_part(to_table(self._buffer, self._columns))
            self._replace([*self._parts, part])
            self._buffer = []
        self._flushed = time.monotonic()
        small = [part for part in self._parts if part.rows < self._part_rows]
        if len(small) >= _TAIL or sum(part.rows for part in small) >= 2 * self._part_rows:
            self._merge()

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Writes what is left, merges small parts, and states in the manifest that the table is complete.

        Args:
            facts: counts for the manifest, plain values.
        """
        self.flush()
        if sum(part.rows < self._part_rows for part in self._parts) > 1:
            self._merge()
        self._write_manifest(facts)

    def _merge(self) -> None:
        """Makes full parts of those that are not."""
        small = [part for part in self._parts if part.rows < self._part_rows]
        merged: list[Part] = []
        held: list[pa.Table] = []
        for part in small:  # never more than one full part and one small one in memory
            held.append(self._read(part))
            while sum(map(len, held)) >= self._part_rows:
                table = pa.concat_tables(held)
                merged.append(self._write_part(table.slice(0, self._part_rows)))
                held = [table.slice(self._part_rows)]
        if sum(map(len, held)):
            merged.append(self._write_part(pa.concat_tables(held)))
        self._replace([*(part for part in self._parts if part not in small), *merged])

    def _read(self, part: Part, columns: list[str] | None = None) -> pa.Table:
        return _read(self.folder / part.file, columns)

    def _write_part(self, table: pa.Table) -> Part:
        file = self.folder / f"part-{self._next:06}.parquet"
        self._next += 1
        hashed = hashlib.sha256()

        def write(part: Path) -> None:
            with part.open("wb") as data:
                pq.write_table(table, data, compression="zstd")
            hashed.update(part.read_bytes())

        replace_file(file, write)
        return Part(file.name, len(table), hashed.hexdigest())

    def _replace(self, parts: list[Part]) -> None:
        gone = {part.file for part in self._parts} - {part.file for part in parts}
        before, self._parts = self._parts, parts
        try:
            self._write_manifest()
        except BaseException:
            self._parts = before
            raise
        for name in gone:
            _remove(self.folder / name)

    def _write_manifest(self, facts: Mapping[str, Any] | None = None) -> None:
        values = {
            "format": FORMAT,
            "complete": facts is not None,
            "settings": self._settings,
            "rows": self.rows,
            **(facts or {}),
            "parts": [vars(part) for part in self._parts],
            "next": self._next,
        }
        text = json.dumps(values, indent=2, ensure_ascii=False)
        replace_file(self.folder / MANIFEST, lambda part: part.write_text(text, encoding="utf-8"))

    def _drop_damaged(self) -> None:
        sound = [part for part in self._parts if _is_sound(self.folder / part.file, part)]
        self.lost = sum(part.rows for part in self._parts) - sum(part.rows for part in sound)
        if sound != self._parts:
            self._replace(sound)

    def _sweep(self) -> None:
        """Removes what a killed run has left behind."""
        clear_parts(self.folder)
        named = {part.file for part in self._parts}
        for file in self.folder.glob("part-*.parquet"):
            if file.name not in named:
                _remove(file)


def read_labels(folder: str | Path, columns: Iterable[str] | None = None) -> pa.Table:
    """The table of a labelling, ordered by path, start, end and repeat.

    Args:
        folder: the OUTPUT of `kinema label`.
        columns: of `kinema.labelling.rows.Row`; None is all.

    Returns:
        One row for every input that is done.

    Raises:
        KinemaError: no such folder, or a part that its manifest names is missing or damaged.
    """
    place = Path(folder)
    values = read_manifest(place)
    parts = _parts(values)
    for part in parts:
        if not _is_sound(place / part.file, part):
            raise KinemaError(
                f"{place / part.file}: missing or damaged; give the `kinema label` command again, which restores the "
                "lost rows"
            )
    columns = None if columns is None else list(columns)
    empty = schema(features=bool(values["settings"].get("features"))).empty_table()
    try:
        table = pa.concat_tables([empty, *(_read(place / part.file) for part in parts)])
    except pa.ArrowException as error:
        raise KinemaError(f"{place / MANIFEST}: does not fit its parts ({first_line(error)}); restore it") from error
    unknown = set(columns or ()) - set(table.column_names)
    if unknown:
        raise KinemaError(f"{place} has no column {min(unknown)!r}; choose from {', '.join(table.column_names)}")
    table = table.sort_by([(name, "ascending") for name in ("path", "start", "end", "repeat")])
    return table if columns is None else table.select(columns)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, checked.

    Raises:
        KinemaError: there is none, or it is not one.
    """
    file = folder / MANIFEST
    how = "restore it, or give a new OUTPUT"
    try:
        values = parse_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise KinemaError(f"{file}: there is no such file; give a folder that `kinema label` has written") from error
    except (OSError, ValueError) as error:
        raise KinemaError(f"{file}: not a readable manifest ({error}); {how}") from error
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise KinemaError(f"{file}: not the manifest of a labelling; {how}")
    if values["format"] > FORMAT:
        raise KinemaError(f"{file}: is of format {values['format']}, newer than this version of Kinema; update it")
    try:
        _parts(values)
        sound = isinstance(values["settings"], dict) and isinstance(values["next"], int)
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise KinemaError(f"{file}: settings, next or parts is missing, or other keys are present; {how}")
    return values


def check_output(folder: Path) -> None:
    """Refuses a folder for the table that holds something else.

    Raises:
        KinemaError: it is a file, or has files and no manifest.
    """
    found = reach(folder)
    if found is None:
        return
    if not folder.is_dir():
        raise KinemaError(f"{folder}: OUTPUT is a file; give a folder")
    if not (folder / MANIFEST).exists():
        inside = sorted(p.name for p in folder.iterdir() if p.name != LOCK and not p.name.startswith(f".{MANIFEST}."))
        if inside:
            raise KinemaError(
                f"{folder}: holds {inside[0]!r} and no {MANIFEST}, so it is not a table of labels; give a new OUTPUT"
            )


def _parts(values: Mapping[str, Any]) -> list[Part]:
    parts = [Part(**entry) for entry in values["parts"]]
    for part in parts:
        # Any other name could lead out of the table.
        if not (isinstance(part.rows, int) and isinstance(part.sha256, str) and _PART.fullmatch(part.file)):
            raise TypeError
    return parts


def _check_settings(folder: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in wanted:
        if there.get(name) != wanted[name]:
            what = "another recognizer" if name == "card_hash" else f"{name} {there.get(name)}, not {wanted[name]}"
            raise KinemaError(f"{folder}: holds labels of {what}, and a table never mixes them; give another OUTPUT")


def _read(file: Path, columns: list[str] | None = None) -> pa.Table:
    with file.open("rb") as data:  # pyarrow takes a name with a colon for an address
        return pq.read_table(data, columns=columns)


def _is_sound(file: Path, part: Part) -> bool:
    try:
        with file.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest() == part.sha256
    except OSError:
        return False


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{file}: cannot be removed ({error.strerror}); check the rights to its folder") from error
