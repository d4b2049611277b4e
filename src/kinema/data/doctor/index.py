"""A cache of facts about files (length, size, hash, looks), so that a data set is examined only once.

There is one file of JSON lines per data source and kind of fact, in `$KINEMA_CACHE` or `~/.cache/kinema`. An entry is
valid while the file keeps its size and modification time. A cache file that is wrong in any way is built again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import kinema
from kinema.data.loading.calls import call_each
from kinema.data.shards.index import find_member
from kinema.data.shards.names import split_member
from kinema.data.shards.store import StoreError, version_of
from kinema.data.video import VideoInfo, open_video, probe
from kinema.errors import RunError, UnreadableVideo
from kinema.files import cache_folder, is_folder, look_up, on_behalf_of, replace_file
from kinema.processes import loader_workers
from kinema.text import parse_json

log = logging.getLogger(__name__)

_FORMAT = f"4 of kinema {kinema.__version__}"  # written in a cache file; a file with another format is built again
_PASSING = "passing"
Entry = dict[str, Any]


def probe_all(paths: Iterable[str], source: str | Path, *, workers: int = -1) -> dict[str, VideoInfo | UnreadableVideo]:
    """Probes files; unchanged files come from the cache.

    Args:
        paths: video files or frame folders.
        source: data set that they belong to; part of the cache file's name.
        workers: processes; -1 is one per core, at most 16.

    Returns:
        Per path the result of `probe`, or the error that it raises.
    """
    entries = remembered("probes", paths, source, _probe_entry, workers=workers)
    return {
        path: UnreadableVideo(path, entry["error"]) if "error" in entry else VideoInfo(**entry["info"] | {"path": path})
        for path, entry in entries.items()
    }


def times_all(paths: Iterable[str], source: str | Path, *, workers: int = -1) -> dict[str, npt.NDArray[np.float64]]:
    """Returns the display times of frames; those of unchanged files come from the cache.

    Args:
        paths: video files or frame folders.
        source: data set that they belong to; part of the cache file's name.
        workers: processes; -1 is one per core, at most 16.

    Returns:
        Per readable path: float64 [frames], seconds since the first frame, rounded to a microsecond.
    """
    entries = remembered("times", paths, source, _times_entry, workers=workers)
    return {path: _unpack(entry["gaps"]) for path, entry in entries.items() if "gaps" in entry}


def remembered(
    kind: str,
    paths: Iterable[str],
    source: str | Path,
    compute: Callable[[str], Entry],
    *,
    workers: int = -1,
) -> dict[str, Entry]:
    """Calls `compute` for every path whose entry is missing or outdated, and stores the results.

    Args:
        kind: kind of fact; part of the cache file's name, together with `source`.
        paths: files or folders.
        source: data set that they belong to.
        compute: function from a path to plain JSON values. It is called in other processes, so that a file that crashes
            or hangs the decoder gives an entry with an error. A result of a system error, which may be gone the next
            time (`failed`), is not stored.
        workers: processes; -1 is one per core, at most 16.

    Returns:
        An entry per path.
    """
    wanted = list(dict.fromkeys(paths))
    stamps = {path: _stamp(path) for path in wanted}
    file = _cache_file(kind, source)
    kept = _load(file)
    missing = [path for path in wanted if stamps[path] is None or kept.get(_key(path), {}).get("stamp") != stamps[path]]
    entries = call_each(
        compute, missing, lambda reason: {"error": reason, _PASSING: True}, workers=loader_workers(workers)
    )
    fresh = dict(zip(missing, entries, strict=True))
    if fresh:
        kept |= {_key(path): {"stamp": stamps[path], "entry": entry} for path, entry in fresh.items()}
        current = {_key(path) for path in wanted}
        lasting = {key: line for key, line in kept.items() if not line["entry"].get(_PASSING)}
        _save(file, {key: line for key, line in lasting.items() if key in current or _may_exist(key)})
    return {path: fresh[path] if path in fresh else kept[_key(path)]["entry"] for path in wanted}


def failed(error: UnreadableVideo) -> Entry:
    """Makes the entry of a file that could not be read: {"error": reason}, marked if the system was the cause."""
    return {"error": error.reason} | ({_PASSING: True} if isinstance(error.__cause__, OSError) else {})


def _ended(reason: str) -> Entry:
    """Makes the entry of a file whose examination crashed, hung or exceeded a limit; it is examined again next time."""
    return {"error": reason, _PASSING: True}


def _probe_entry(path: str) -> Entry:
    try:
        with on_behalf_of(path):
            return {"info": asdict(probe(path))}
    except UnreadableVideo as error:
        return failed(error)


def _times_entry(path: str) -> Entry:
    try:
        with on_behalf_of(path), open_video(path) as reader:
            return {"gaps": _pack(reader.times)}
    except UnreadableVideo as error:
        return failed(error)


def _pack(times: npt.NDArray[np.float64]) -> str:
    """Packs times; gaps compress well: an hour at 30 frames per second takes some kilobytes."""
    gaps = np.diff(np.round(times * 1e6).astype("<i8"), prepend=0)
    return base64.b64encode(zlib.compress(gaps.tobytes())).decode("ascii")


def _unpack(text: str) -> npt.NDArray[np.float64]:
    return np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8")) / 1e6


def _key(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute() keeps `..`, resolve() is slow on disk


def _stamp(path: str) -> list[int] | None:
    """Returns values that change when the video changes; None if it cannot be reached.

    These are size and modification time, for a frame folder also the number of its files; for a sample in a shard its
    size, its hash and the values of the shard.
    """
    try:
        member, parts = find_member(path), split_member(path)
        if member is not None and parts is not None:
            return [member.size, int(member.sha256[:12], 16), *version_of(parts[0])]
        status = look_up(path)
        if status is None:
            return None
        size = sum(1 for _ in Path(path).iterdir()) if is_folder(path) else status.st_size
    except (OSError, ValueError, StoreError):
        return None
    return [size, status.st_mtime_ns]


def _may_exist(path: str) -> bool:
    """False only if certainly nothing exists there: the entries of a temporarily missing disk are kept."""
    parts = split_member(path)
    try:
        return look_up(parts[0] if parts else path) is not None
    except (OSError, ValueError):
        return True


def _cache_file(kind: str, source: str | Path) -> Path:
    name = hashlib.sha256(os.fsencode(_key(str(source)))).hexdigest()[:16]
    return cache_folder() / kind / f"{name}.jsonl"


def _load(file: Path) -> dict[str, Entry]:
    if not file.is_file():
        return {}
    try:
        first, _, rest = file.read_bytes().partition(b"\n")
        head = parse_json(first)
        if head["format"] != _FORMAT or head["sha256"] != hashlib.sha256(rest).hexdigest():
            raise ValueError("it has another version or was changed")
        lines = [parse_json(line) for line in rest.splitlines()]
        return {line["path"]: {"stamp": line["stamp"], "entry": line["entry"]} for line in lines}
    except (ValueError, KeyError, TypeError, OSError) as error:
        log.warning("the cache file %s cannot be used (%s) and is built again", file, error)
        return {}


def _save(file: Path, entries: Mapping[str, Entry]) -> None:
    """Replaces the file in one step; a cache that cannot be written costs time but fails no run."""
    rest = "".join(json.dumps({"path": key, **line}) + "\n" for key, line in entries.items())
    head = {"format": _FORMAT, "sha256": hashlib.sha256(rest.encode()).hexdigest()}
    text = json.dumps(head) + "\n" + rest
    try:
        replace_file(file, lambda part: part.write_text(text, "utf-8"))
    except RunError as error:
        log.warning("the cache cannot be written, so the next run examines the files again: %s", error)
