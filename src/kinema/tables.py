"""Text tables: reads CSV as people write it (UTF-8 or UTF-16, commas or semicolons, empty lines), and writes CSV."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.errors import KinemaError
from kinema.files import replace_file
from kinema.text import printable

_DELIMITERS = ",;\t|"  # semicolon: spreadsheets in some languages; tab and bar: chosen by hand
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A CSV without its empty lines and columns.

    Attributes:
        delimiter: separator of its cells.
        rows: the rows, header first, each with the number of its last line in the file.
    """

    delimiter: str
    rows: list[tuple[int, list[str]]]


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Formats a table as CSV: commas, line feeds, cells quoted if needed, None as an empty cell.

    Args:
        header: names of the columns; empty for rows without a header.
        rows: one cell per column.

    Returns:
        Text that UTF-8 can encode (see `kinema.text.printable`).
    """
    lines = _Lines()
    # The writer quotes cells that contain characters of its line end: "\r\n" quotes both, "\n" would leave "\r" bare.
    writer = csv.writer(lines, lineterminator="\r\n")
    if header:
        writer.writerow(header)
    writer.writerows(rows)
    return printable("".join(lines.found))


class _Lines:
    """Takes one line at a time from a CSV writer and ends it with a line feed."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def write(self, line: str) -> None:
        self.found.append(line.removesuffix("\r\n") + "\n")


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table as a CSV file in UTF-8, in one step (see `kinema.files.replace_file`).

    Args:
        file: the file to write; its folder is created if it is missing.
        header: names of the columns.
        rows: one cell per column.

    Raises:
        RunError: the file cannot be written; an existing file is unchanged.
    """
    data = csv_text(header, rows).encode("utf-8")
    replace_file(file, lambda part: part.write_bytes(data))


def read_text(file: Path) -> str:
    """Reads the text of a file in UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        KinemaError: the file has another encoding or cannot be read.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise KinemaError(f"{file}: cannot be read ({error.strerror}): check its permissions") from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _unmarked(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8-sig" else encoding.upper()
        raise KinemaError(f"{file} is not {name} (byte {error.start}): save it as UTF-8") from error


def _unmarked(data: bytes) -> str:
    """Guesses UTF-16 without a mark: mostly Latin letters have a zero in every other byte, which UTF-8 never has."""
    head = data[:1000]
    pairs = max(1, len(head) // 2)
    if len(head) >= 8 and head[1::2].count(0) > 0.7 * pairs:
        return "utf-16-le"
    if len(head) >= 8 and head[::2].count(0) > 0.7 * pairs:
        return "utf-16-be"
    return "utf-8-sig"


def read_csv_file(file: Path, columns: Iterable[str], fix: str) -> Table:
    """Reads a CSV file whose first line names its columns.

    Cells may be separated by commas, semicolons, tabs or vertical bars: by whichever makes the wanted columns appear in
    the first line, or by the one in a line such as `sep=;` above it. Empty lines and empty last columns, which
    spreadsheets leave behind, are dropped.

    Args:
        file: the CSV.
        columns: names that the first line should contain.
        fix: how to fix a file that is not a CSV, for the message.

    Raises:
        KinemaError: the encoding is another one, a quote is never closed, or the file is not a CSV for another reason.
    """
    text = read_text(file)
    said = re.match(r"sep=(.)[^\S\r\n]*(\r\n|\r|\n)", text, re.IGNORECASE)
    above, text = (0, text) if said is None else (1, text[said.end() :])
    delimiter = _delimiter(text, set(columns)) if said is None else said[1]
    try:
        rows = _parsed(file, text, delimiter)
    except csv.Error as error:
        raise KinemaError(f"{file} is not a CSV ({error}): {fix}") from error
    rows = [(line + above, row) for line, row in rows if any(map(str.strip, row))]
    if rows:
        header = rows[0][1]
        width = max(i for i, cell in enumerate(header, 1) if cell.strip())
        rows = [(line, _without_tail(row, width)) for line, row in rows]
    return Table(delimiter, rows)


def _delimiter(text: str, columns: set[str]) -> str:
    lines = (line for line in io.StringIO(text, newline="") if line.strip())
    first = next(lines, "")
    for delimiter in _DELIMITERS:
        if columns <= {cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])}:
            return delimiter
    return ","


def _parsed(file: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows.extend((reader.line_num, row) for row in reader)
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            line = rows[-1][0] + 1 if rows else 1
            raise KinemaError(f"{file} line {line}: a quote is opened and never closed: correct the line") from error
        # Spreadsheets also accept text after a closing quote.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [(reader.line_num, row) for row in reader]
    return rows


def _without_tail(row: list[str], width: int) -> list[str]:
    while len(row) > width and not row[-1].strip():
        row = row[:-1]
    return row
