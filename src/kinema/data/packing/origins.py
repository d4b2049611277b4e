"""Reads from which videos a packed data set was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinema.data.packing.pack import PARAMETERS
from kinema.errors import KinemaError
from kinema.tables import read_csv_file
from kinema.text import parse_json

_MANIFEST, _COLUMN = "manifest.csv", "packed_from"
_FIX = "pack the data again"


@dataclass(frozen=True)
class Origins:
    """The source videos of a packed data set.

    Attributes:
        root: absolute path of the folder of the original data.
        names: path of a packed video, relative to its folder -> path of its source, relative to `root` if it is below
            it.
    """

    root: str
    names: Mapping[str, str]


def read_origins(folder: Path) -> Origins | None:
    """Returns the sources of the videos in a folder that `pack` has written; None for any other folder.

    Raises:
        KinemaError: the files with this information are damaged.
    """
    parameters, manifest = folder / PARAMETERS, folder / _MANIFEST
    if not parameters.is_file() or not manifest.is_file():
        return None
    try:
        root = parse_json(parameters.read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KinemaError(f"{parameters}: does not say which data were packed; {_FIX}") from error
    (_, header), *rows = read_csv_file(manifest, ("path", _COLUMN), _FIX).rows or [(1, [])]
    if not isinstance(root, str) or not {"path", _COLUMN} <= set(header):
        raise KinemaError(f"{manifest} has no column {_COLUMN}, or {parameters} no folder of the data; {_FIX}")
    path, source = header.index("path"), header.index(_COLUMN)
    return Origins(root, {row[path]: row[source] for _, row in rows if len(row) > max(path, source)})
