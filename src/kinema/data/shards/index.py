"""The index of a shard: where in it each sample lies, how long it is, and the hash that it must have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from kinema.data.shards.names import index_of, split_member
from kinema.data.shards.store import AbsentError, StoreError, read_range, size_of, version_of
from kinema.errors import KinemaError, UnreadableVideo, near_names
from kinema.files import replace_file
from kinema.text import parse_json, plural

_FORMAT = 1
_FIX = "copy it again, or pack the shards again with kinema data pack --shards"
_HELD = 1024  # indexes in the memory of a process, 0.3 MB each; reading one takes 4 ms


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sample lies.

    Attributes:
        offset: of its first byte in the shard.
        size: bytes.
        sha256: of these bytes, as hex.
    """

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True)
class ShardIndex:
    """What a shard holds.

    Attributes:
        size: bytes of the whole shard.
        samples: name -> place, in the order of the shard.
        twice: names that the index holds more than once; nobody can tell which of them is meant.
        facts: hash of what the shard says of its samples beside the videos.
    """

    size: int
    samples: Mapping[str, Place]
    twice: frozenset[str] = frozenset()
    facts: str = ""


def write_index(shard: Path, index: ShardIndex) -> None:
    """Writes the index beside its shard. Raises `RunError` where it cannot be written."""
    samples = [{"name": name, **asdict(place)} for name, place in index.samples.items()]
    content = {"format": _FORMAT, "shard": shard.name, "size": index.size, "facts": index.facts, "samples": samples}
    text = json.dumps(content, ensure_ascii=False, indent=0) + "\n"
    replace_file(Path(index_of(str(shard))), lambda part: part.write_text(text, encoding="utf-8"))


def read_index(shard: str) -> ShardIndex:
    """The index of a shard; a process reads it once for as long as it does not change.

    Raises:
        KinemaError: it is missing, cannot be reached or is damaged.
    """
    place = index_of(shard)
    try:
        return _read(place, version_of(place))
    except AbsentError as error:
        raise KinemaError(f"{place}: the index of a shard is missing: {_FIX}") from error
    except StoreError as error:
        raise KinemaError(f"{place}: {error}") from error


@lru_cache(_HELD)
def _read(place: str, _version: tuple[Any, ...]) -> ShardIndex:
    content = read_range(place, 0)
    try:
        found = parse_json(content)
        if found["format"] != _FORMAT:
            raise ValueError(f"format {found['format']!r}, and this version reads format {_FORMAT}")
        size = found["size"]
        if type(size) is not int:
            raise ValueError("the size of the shard is no number")
        samples: dict[str, Place] = {}
        twice = set()
        for row in found["samples"]:
            name, at = row["name"], Place(row["offset"], row["size"], row["sha256"])
            if not _sound(name, at):
                raise ValueError(f"the entry of {name!r} has no place, size or hash")
            if at.offset + at.size > size:
                raise ValueError(f"the entry of {name!r} lies beyond the end of the shard")
            if name in samples:
                twice.add(name)
            samples[name] = at
        return ShardIndex(size, samples, frozenset(twice), str(found.get("facts", "")))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())[:200]
        raise KinemaError(f"{place}: not the index of a shard ({why}): {_FIX}") from error


def _sound(name: object, place: Place) -> bool:
    numbers = (place.offset, place.size)
    whole = all(type(number) is int and number >= 0 for number in numbers)
    return isinstance(name, str) and whole and isinstance(place.sha256, str) and len(place.sha256) == 64


def find_member(path: str | Path) -> Place | None:
    """Where a sample lies, by the index of its shard; None of a path that names no sample.

    Raises:
        UnreadableVideo: the index cannot be read, or does not hold it exactly once.
    """
    parts = split_member(path)
    if parts is None:
        return None
    shard, name = parts
    try:
        index = read_index(shard)
    except KinemaError as error:
        raise UnreadableVideo(path, str(error)) from error
    if name in index.twice:
        raise UnreadableVideo(path, f"{index_of(shard)} names two samples {name!r}: {_FIX}")
    if name not in index.samples:
        near = near_names(name, index.samples)
        offer = f", did you mean {near[0]!r}?" if near else ""
        raise UnreadableVideo(path, f"the shard has no such sample{offer}")
    return index.samples[name]


def check_shard(shard: str) -> str | None:
    """What is wrong with a shard as a whole that costs some of its samples; None where nothing is.

    Raises:
        KinemaError: the shard or its index is missing or cannot be read, so that no sample of it can be had.
    """
    index = read_index(shard)
    try:
        size = size_of(shard)
    except StoreError as error:
        raise KinemaError(f"{shard}: {error}; {_FIX}") from error
    if size == index.size:
        return None
    lost = sum(place.offset + place.size > size for place in index.samples.values())
    state = "is truncated" if size < index.size else "is another one than its index describes"
    return f"{shard}: the shard {state} ({size} of {index.size} bytes), {plural(lost, 'sample')} cannot be read: {_FIX}"
