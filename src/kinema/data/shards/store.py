"""Reads the bytes of shards, from local files and from everything that fsspec can read, with the same functions."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from kinema.data.addresses import is_address, opened, why
from kinema.data.paths import nearest_name
from kinema.data.shards.names import INDEX
from kinema.data.suffixes import SUFFIXES
from kinema.errors import KinemaError
from kinema.files import is_folder, look_up, reason


class StoreError(Exception):
    """The reason why bytes cannot be read, in words that follow the name of the file."""


class AbsentError(StoreError):
    """The file does not exist."""


def version_of(place: str) -> tuple[Any, ...]:
    """Returns a value that changes when a file does; empty for an address, which is read once per process.

    Raises:
        StoreError: the file does not exist, or cannot be reached.
    """
    if is_address(place):
        return ()
    try:
        found = look_up(place)
    except (OSError, ValueError) as error:
        raise StoreError(reason(error)) from error
    if found is None:
        raise AbsentError(f"there is no such file{nearest_name(Path(place))}")
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def size_of(place: str) -> int:
    """Returns the bytes of a file. Raises as `version_of`."""
    if not is_address(place):
        return int(version_of(place)[0])
    files, path = _opened(place)
    try:
        return int(files.info(path)["size"])
    except FileNotFoundError as error:
        raise AbsentError("there is no such file") from error
    except Exception as error:  # every file system of fsspec raises its own kinds of errors
        raise StoreError(f"cannot be reached ({why(error)})") from error


def read_range(place: str, begin: int, end: int | None = None) -> bytes:
    """Returns bytes `begin` to `end` of a file, or fewer if it is shorter. Raises as `version_of`."""
    if not is_address(place):
        try:
            with open(place, "rb") as file:  # noqa: PTH123 - Path would change "a//b"
                size = os.fstat(file.fileno()).st_size
                begin, end = min(begin, size), size if end is None else min(end, size)  # a damaged index may state more
                file.seek(begin)
                return file.read(end - begin)
        except FileNotFoundError as error:
            raise AbsentError("there is no such file") from error
        except (OSError, ValueError) as error:
            raise StoreError(reason(error)) from error
    files, path = _opened(place)
    try:
        return bytes(files.cat_file(path, start=begin, end=end))
    except FileNotFoundError as error:
        raise AbsentError("there is no such file") from error
    except Exception as error:
        raise StoreError(f"cannot be fetched ({why(error)})") from error


def find_shards(folder: str) -> list[str] | None:
    """Returns the shards of a folder, by their indexes; None if it is not a folder of shards.

    A shard whose index is missing is included, so that reading it reports the problem.
    """
    if not is_address(folder):
        place = Path(folder)
        found = sorted(place.glob(f"*{INDEX}")) if is_folder(place) else []
        if not found:
            return None
        names = {index.name.removesuffix(INDEX) for index in found} | {tar.stem for tar in place.glob("*.tar")}
        return [str(place / f"{name}.tar") for name in sorted(names)]
    if "::" in folder or any(c in folder for c in "*?[") or PurePosixPath(folder).suffix.lower() in SUFFIXES:
        return None
    try:
        files, path = _opened(folder)
        listed = [str(name).rpartition("/")[2] for name in files.ls(path, detail=False)]
    except Exception:  # listing the videos there reports the reason
        return None
    if not any(name.endswith(INDEX) for name in listed):
        return None
    names = {name.removesuffix(end) for name in listed for end in (INDEX, ".tar") if name.endswith(end)}
    return [f"{folder.rstrip('/')}/{name}.tar" for name in sorted(names)]


def _opened(place: str) -> tuple[Any, str]:
    try:
        return opened(place)
    except KinemaError as error:
        raise StoreError(str(error).removeprefix(f"{place}: ")) from error
