"""Damages text, JSON and binary files from a seed."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

_WORDS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"NaN", b"-Infinity", b"1e999", b"-1", b"0x1p3",
    b"99999999999999999999999", b"1.5", b"null", b"true", b"[]", b"{}", b'"', b"'", b"\n", b"\r\n", b"\r", b"\t", b",",
    b";", b":", b"#", b"- ", b"&a [*a]", b"!!python/object/apply:os.system [id]", b"../../../etc/passwd", b"/dev/zero",
    b"[" * 3000, b'{"a":' * 3000, b"{{7*7}}", b"%s%n", b"=1+1", b"\xe2\x80\xae", b"2001-99-99", b"~", b"x" * 5000,
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, float("nan"), float("inf"), "", " ", "a", "\x00", "\ud800",
    "../../x", "/etc/passwd", "x" * 4000, [], [None], [[]], [1, "a"], {}, {"a": 1}, {"": None}, [{}], [[1, 2], [3]],
)  # fmt: skip


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with a few of them changed, cut, moved, or replaced by what parsers stumble over."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at, size = int(rng.integers(0, len(found) + 1)), int(2 ** rng.uniform(0, 7))
        match int(rng.integers(7)):
            case 0:
                del found[at:]
            case 1:
                del found[at : at + size]
            case 2:
                found[at:at] = found[at : at + size]
            case 3:
                found[at : at + size] = rng.bytes(len(found[at : at + size]))
            case 4 if found:
                found[at % len(found)] ^= 1 << int(rng.integers(8))
            case 5:
                found[at:at] = _WORDS[int(rng.integers(len(_WORDS)))]
            case _:
                word = _WORDS[int(rng.integers(len(_WORDS)))]
                found[at : at + len(word)] = word
    return bytes(found)


def damaged_json(text: bytes, rng: np.random.Generator) -> bytes:
    """A JSON document in which values are missing, doubled, or of another kind; sometimes damaged as bytes instead."""
    if rng.random() < 0.3:
        return damaged(text, rng)
    lines = text.decode().splitlines() if b"\n{" in text else [text.decode()]
    number = int(rng.integers(len(lines)))
    document = json.loads(lines[number])
    for _ in range(int(rng.integers(1, 4))):
        document = _changed(document, rng)
    lines[number] = json.dumps(document)
    return "\n".join(lines).encode()


def _changed(document: Any, rng: np.random.Generator) -> Any:
    """The document with one value replaced, removed or added, at any depth."""
    document = copy.deepcopy(document)
    places = list(_places(document))
    value = copy.deepcopy(_VALUES[int(rng.integers(len(_VALUES)))])
    if not places or rng.random() < 0.03:
        return value
    holder, key = places[int(rng.integers(len(places)))]
    match int(rng.integers(5)):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[str(rng.choice(["x", "", "format", "../a", "__class__"]))] = value
        case 1:
            holder.insert(key, copy.deepcopy(holder[key]))
        case _:
            holder[key] = value
    return document


def _places(document: Any) -> Any:
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in list(keys):
        yield document, key
        yield from _places(document[key])
