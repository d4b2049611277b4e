"""The output folder of a labelling run: Parquet parts of bounded size, and `manifest.json`, which lists them.

A part is written completely, then the manifest that lists it, and then the parts that it replaces are removed. If the
process is killed at any point, the manifest lists complete parts, in which every input has at most one row. Files that
it does not list are left over, and the next run removes them.
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
_FLUSH_ROWS, _FLUSH_SECONDS = 1000, 15.0  # seconds of work that a kill may lose
_TAIL = 32  # number of parts that are not full at which they are merged


@dataclass(frozen=True)
class Part:
    """A Parquet file of the table.

    Attributes:
        file: its name in the folder.
        rows: its number of rows.
        sha256: hash of its bytes.
    """

    file: str
    rows: int
    sha256: str


class Ledger:
    """The rows of a folder; only one process at a time may open it (see `kinema.files.held`).

    Args:
        folder: folder of the table; created if it does not exist.
        settings: settings that the rows depend on; those of an existing folder must be equal.
        features: whether rows contain embeddings.
        part_rows: rows of a full part.

    Attributes:
        lost: number of rows in missing or damaged parts; their inputs count as not labelled.

    Raises:
        KinemaError: the folder contains something else, or was written with other settings.
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
        """The number of rows on disk."""
        return sum(part.rows for part in self._parts)

    def done(self, columns: list[str]) -> Iterator[dict[str, list[Any]]]:
        """Yields the rows on disk, part by part, as lists of these columns."""
        for part in self._parts:
            yield self._read(part, columns).to_pydict()

    def drop(self, stale: Callable[[dict[str, list[Any]]], list[bool]], columns: list[str]) -> None:
        """Removes rows in a single step.

        Args:
            stale: called with the columns of each part; returns per row whether it is removed.
            columns: the columns that it receives.
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
        """Adds a row; it is written to disk within a few seconds."""
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
        """Writes the remaining rows, merges small parts, and marks the table as complete in the manifest.

        Args:
            facts: counts for the manifest, plain values.
        """
        self.flush()
        if sum(part.rows < self._part_rows for part in self._parts) > 1:
            self._merge()
        self._write_manifest(facts)

    def _merge(self) -> None:
        """Merges parts that are not full."""
        small = [part for part in self._parts if part.rows < self._part_rows]
        merged: list[Part] = []
        held: list[pa.Table] = []
        for part in small:  # at most one full part and one small part in memory
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
        """Removes files left behind by a killed run."""
        clear_parts(self.folder)
        named = {part.file for part in self._parts}
        for file in self.folder.glob("part-*.parquet"):
            if file.name not in named:
                _remove(file)


def read_labels(folder: str | Path, columns: Iterable[str] | None = None) -> pa.Table:
    """Reads the table of a labelling run, ordered by path, start, end and repeat.

    Args:
        folder: the OUTPUT of `kinema label`.
        columns: names of fields of `kinema.labelling.rows.Row`; None is all.

    Returns:
        One row per finished input.

    Raises:
        KinemaError: there is no such folder, or a part listed in its manifest is missing or damaged.
    """
    place = Path(folder)
    values = read_manifest(place)
    parts = _parts(values)
    for part in parts:
        if not _is_sound(place / part.file, part):
            raise KinemaError(
                f"{place / part.file}: missing or damaged; repeat the `kinema label` command, which restores the "
                "lost rows"
            )
    columns = None if columns is None else list(columns)
    empty = schema(features=bool(values["settings"].get("features"))).empty_table()
    try:
        table = pa.concat_tables([empty, *(_read(place / part.file) for part in parts)])
    except pa.ArrowException as error:
        raise KinemaError(f"{place / MANIFEST}: does not match its parts ({first_line(error)}); restore it") from error
    unknown = set(columns or ()) - set(table.column_names)
    if unknown:
        raise KinemaError(f"{place} has no column {min(unknown)!r}; choose from {', '.join(table.column_names)}")
    table = table.sort_by([(name, "ascending") for name in ("path", "start", "end", "repeat")])
    return table if columns is None else table.select(columns)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads and checks the manifest of a folder.

    Raises:
        KinemaError: it does not exist or is not valid.
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
        raise KinemaError(f"{file}: not the manifest of a table of labels; {how}")
    if values["format"] > FORMAT:
        raise KinemaError(
            f"{file}: has format {values['format']}, which this version of Kinema cannot read; update Kinema"
        )
    try:
        _parts(values)
        sound = isinstance(values["settings"], dict) and isinstance(values["next"], int)
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise KinemaError(f"{file}: settings, next or parts is missing, or other keys are present; {how}")
    return values


def check_output(folder: Path) -> None:
    """Rejects a folder that contains anything but a table of labels.

    Raises:
        KinemaError: it is a file, or contains files but no manifest.
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
                f"{folder}: contains {inside[0]!r} but no {MANIFEST}, so it is not a table of labels; give a new OUTPUT"
            )


def _parts(values: Mapping[str, Any]) -> list[Part]:
    parts = [Part(**entry) for entry in values["parts"]]
    for part in parts:
        # Any other name could lead out of the folder.
        if not (isinstance(part.rows, int) and isinstance(part.sha256, str) and _PART.fullmatch(part.file)):
            raise TypeError
    return parts


def _check_settings(folder: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in wanted:
        if there.get(name) != wanted[name]:
            what = "another recognizer" if name == "card_hash" else f"{name} {there.get(name)}, not {wanted[name]}"
            raise KinemaError(f"{folder}: contains labels of {what}, and a table cannot mix them; give another OUTPUT")


def _read(file: Path, columns: list[str] | None = None) -> pa.Table:
    with file.open("rb") as data:  # pyarrow treats a name with a colon as an address
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
        raise RunError(f"{file}: cannot be removed ({error.strerror}); check the permissions of its folder") from error
