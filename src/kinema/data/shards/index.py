"""The index of a shard: position, length and required hash of each sample."""

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
_HELD = 1024  # indexes that a process keeps in memory, 0.3 MB each; reading one takes 4 ms


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a sample.

    Attributes:
        offset: position of its first byte in the shard.
        size: size, in bytes.
        sha256: hash of these bytes, as hex.
    """

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True)
class ShardIndex:
    """The contents of a shard.

    Attributes:
        size: size of the whole shard, in bytes.
        samples: name -> position, in the order of the shard.
        twice: names that occur more than once in the index, so that it is unclear which sample is meant.
        facts: hash of the other information about the samples in the shard, besides the videos.
    """

    size: int
    samples: Mapping[str, Place]
    twice: frozenset[str] = frozenset()
    facts: str = ""


def write_index(shard: Path, index: ShardIndex) -> None:
    """Writes the index beside its shard. Raises `RunError` if it cannot be written."""
    samples = [{"name": name, **asdict(place)} for name, place in index.samples.items()]
    content = {"format": _FORMAT, "shard": shard.name, "size": index.size, "facts": index.facts, "samples": samples}
    text = json.dumps(content, ensure_ascii=False, indent=0) + "\n"
    replace_file(Path(index_of(str(shard))), lambda part: part.write_text(text, encoding="utf-8"))


def read_index(shard: str) -> ShardIndex:
    """Returns the index of a shard; a process reads it once and keeps it while it does not change.

    Raises:
        KinemaError: the index is missing, cannot be reached or is damaged.
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
            raise ValueError(f"its format is {found['format']!r}, but this version reads format {_FORMAT}")
        size = found["size"]
        if type(size) is not int:
            raise ValueError("the size of the shard is not a number")
        samples: dict[str, Place] = {}
        twice = set()
        for row in found["samples"]:
            name, at = row["name"], Place(row["offset"], row["size"], row["sha256"])
            if not _sound(name, at):
                raise ValueError(f"the entry of {name!r} has no place, size or hash")
            if at.offset + at.size > size:
                raise ValueError(f"the entry of {name!r} is beyond the end of the shard")
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
    """Returns the position of a sample from the index of its shard; None if the path is not the name of a sample.

    Raises:
        UnreadableVideo: the index cannot be read, or does not contain the sample exactly once.
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
        raise UnreadableVideo(path, f"{index_of(shard)} lists two samples {name!r}: {_FIX}")
    if name not in index.samples:
        near = near_names(name, index.samples)
        offer = f", did you mean {near[0]!r}?" if near else ""
        raise UnreadableVideo(path, f"the shard has no such sample{offer}")
    return index.samples[name]


def check_shard(shard: str) -> str | None:
    """Describes a problem of the whole shard that costs some of its samples; None if there is none.

    Raises:
        KinemaError: the shard or its index is missing or unreadable, so that none of its samples can be read.
    """
    index = read_index(shard)
    try:
        size = size_of(shard)
    except StoreError as error:
        raise KinemaError(f"{shard}: {error}; {_FIX}") from error
    if size == index.size:
        return None
    lost = sum(place.offset + place.size > size for place in index.samples.values())
    state = "is truncated" if size < index.size else "does not match its index"
    return f"{shard}: the shard {state} ({size} of {index.size} bytes), {plural(lost, 'sample')} cannot be read: {_FIX}"
