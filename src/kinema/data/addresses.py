"""Remote videos: everything that fsspec can list and fetch (`s3://`, `gs://`, `https://`, `hf://`, `memory://` …).

A file inside an archive has an address too: `zip://**/*.mp4::clips.zip`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from kinema.data.clutter import is_clutter
from kinema.data.reading.progress import beat
from kinema.data.suffixes import SUFFIXES
from kinema.errors import KinemaError, UnreadableVideo

_WILD = "*?["
_CHUNK = 2**22  # bytes
# Fields in which stores report a version of the content: a changed value means changed content.
_BINDING = ("ETag", "etag", "md5Hash", "crc32c", "generation", "VersionId", "blob_id", "xet_hash")


def is_address(text: str) -> bool:
    """True if a text is an address that is not a path on this machine; `file://` counts as a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)::?//", text.split("::")[-1]) or re.match(r"(\w\w+)://", text)
    return found is not None and (found[1].lower() != "file" or "::" in text)


def list_address(address: str) -> list[str]:
    """Lists the videos at an address: all below a folder at any depth, or the matches of a pattern, sorted.

    Raises:
        KinemaError: the kind of address is unknown or needs a missing package, it cannot be listed, or it has no video.
    """
    files, path = opened(address)
    rest = address.partition("::")
    tail = rest[1] + rest[2]
    try:
        if any(c in path for c in _WILD):
            found = [str(match) for match in files.glob(path)]
        elif files.isdir(path):
            found = [str(match) for match in files.find(path)]
        else:
            return [address]
    except Exception as error:  # every file system of fsspec raises its own kinds of errors
        raise KinemaError(f"{address}: cannot be listed ({why(error)}); check address and permissions") from error
    videos = sorted(
        files.unstrip_protocol(name) + tail
        for name in found
        if PurePosixPath(name).suffix.lower() in SUFFIXES and not any(map(is_clutter, PurePosixPath(name).parts))
    )
    if not videos:
        raise KinemaError(f"{address}: no video at this address; check the address")
    return videos


def fetch(address: str, folder: str | Path) -> Path:
    """Copies a file to this machine.

    Args:
        address: address of the file.
        folder: folder for the copy, whose name keeps the suffix.

    Returns:
        The path of the copy.

    Raises:
        UnreadableVideo: it does not exist, or cannot be fetched.
    """
    try:
        files, path = opened(address)
        target = Path(folder) / f"video{PurePosixPath(path).suffix}"
        with files.open(path, "rb") as source, target.open("wb") as copy:
            while part := source.read(_CHUNK):
                beat()
                copy.write(part)
        return target
    except KinemaError as error:
        raise UnreadableVideo(address, str(error).removeprefix(f"{address}: ")) from error
    except FileNotFoundError as error:
        raise UnreadableVideo(address, "there is no such file: check the address") from error
    except Exception as error:
        raise UnreadableVideo(address, f"cannot be fetched ({why(error)})") from error


def stamp_of_address(address: str) -> str | None:
    """Returns the store's version of a file's content, such as its ETag; None if it reports none that is reliable."""
    try:
        files, path = opened(address)
        info = files.info(path)
    except Exception:  # fetching the file later reports the reason
        return None
    known = {name: info[name] for name in _BINDING if info.get(name)}
    return json.dumps({"size": info.get("size"), **known}, default=str) if known else None


def exists(address: str) -> bool:
    """True if there is a file at an address.

    Raises:
        KinemaError: the address cannot be reached.
    """
    files, path = opened(address)
    try:
        return bool(files.exists(path))
    except Exception as error:
        raise KinemaError(f"{address}: cannot be reached ({why(error)}); check address and permissions") from error


def read_bytes(address: str) -> bytes:
    """Returns the content of a small file, such as a list.

    Raises:
        KinemaError: it does not exist, or cannot be fetched.
    """
    files, path = opened(address)
    try:
        return bytes(files.cat_file(path))
    except Exception as error:
        raise KinemaError(f"{address}: cannot be fetched ({why(error)}); check address and permissions") from error


def opened(address: str) -> tuple[Any, str]:
    """Returns the file system of an address and the path within it.

    Raises:
        KinemaError: the kind of address is unknown or needs a package that is not installed.
    """
    try:
        return url_to_fs(address)
    except ImportError as error:
        kind = address.partition(":")[0]
        known = known_implementations.get(kind, {}).get("err", why(error))
        raise KinemaError(f"{address}: {kind}:// needs a package that is not installed ({known})") from error
    except Exception as error:
        raise KinemaError(f"{address}: not a valid address ({why(error)}); correct it") from error


def why(error: BaseException) -> str:
    """Returns the error message of a file system on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
