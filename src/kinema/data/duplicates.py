"""Files that show the same: identical bytes, near-identical pictures (a second encoding, say), or the same scene.

All but bytes is decided on five small grey pictures of each video, from its first to its last frame.

Near-identical are two videos whose pictures correlate and also what is left when the mean picture is taken away, which
is motion: that tells two clips of one fixed camera apart, and a clip from its own reversal. Thresholds were set on 300
surveillance clips and copies of 60 of them (smaller, heavily compressed, border cut off, first frames dropped): 95 % of
the copies were found, no two different clips were joined, and no clip with its reversal. A shorter part of a longer
video is not recognised.

The same scene is a correlation of the fine structure of the mean pictures (each point less the mean of the nine around
it: skies and floors are alike everywhere), as a whole, in every half and along the margin. Of the pairs of these clips
that one camera took, four fifths were found, some of which the data's own list of sources has as two; no pair of two
scenes was above 0.58. The parts count because a horizon and a person who stands still are alike in scenes with plain
backgrounds: of 3.3 million pairs of drawn scenes one reached 0.86 as a whole, and 18 more than 0.81. None of the 18
passes by its parts, but 207 of the 209 pairs of one camera do.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinema.data.clips import decode
from kinema.data.index import Entry, default_workers, failed
from kinema.data.transforms import Box, cut
from kinema.errors import UnreadableVideo
from kinema.files import is_folder, on_behalf_of

FRAMES, SIDE = 5, 12
SAME_PICTURE, SAME_MOTION, SAME_SCENE = 0.9, 0.75, 0.85
SAME_HALF, SAME_MARGIN = 0.6, 0.75
STILL, SAME_STILL = 1.0, 0.998  # grey levels of motion below which only pictures are compared, and more strictly

Looks = NDArray[np.float32]


def look(path: str) -> Entry:
    """Decodes five frames from the first to the last: {"look": their small grey pictures} or {"error": reason}."""
    try:
        with on_behalf_of(path):
            frames = decode(path, lambda n: np.linspace(0, n - 1, FRAMES).round().astype(np.int64))
    except UnreadableVideo as error:
        return failed(error)
    small = cut(frames, Box(0, 0, frames.shape[1], frames.shape[2]), SIDE, flip=False)  # 3 T S S
    grey = np.tensordot([0.299, 0.587, 0.114], small.numpy(), 1).round().astype(np.uint8)
    return {"look": base64.b64encode(grey.tobytes()).decode("ascii")}


def stack_looks(entries: Iterable[Entry]) -> Looks:
    """float32 `N T S S` from entries that hold a look."""
    pictures = [np.frombuffer(base64.b64decode(entry["look"]), np.uint8) for entry in entries]
    return np.array(pictures, np.float32).reshape(len(pictures), FRAMES, SIDE, SIDE)


def is_blank(looks: Looks) -> NDArray[np.bool_]:
    """Videos whose five pictures are one flat grey: bool `N`."""
    return looks.std((1, 2, 3)) < 1


def near_pairs(looks: Looks, groups: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of near-identical videos that are in different groups.

    Args:
        looks: `N T S S`.
        groups: of each video, int64 `N`; pairs within a group are not looked for.
    """
    pictures, contrast = _unit(looks - looks.mean((1, 2, 3), keepdims=True))
    motions, motion = _unit(looks - looks.mean(1, keepdims=True))
    pairs = []
    for begin in range(0, len(looks), 1024):
        rows = slice(begin, begin + 1024)
        picture = pictures[rows] @ pictures[begin:].T
        moving = (picture >= SAME_PICTURE) & (motions[rows] @ motions[begin:].T >= SAME_MOTION)
        still = (picture >= SAME_STILL) & (np.maximum(motion[rows, None], motion[None, begin:]) < STILL)
        seen = np.minimum(contrast[rows, None], contrast[None, begin:]) >= 1
        apart = groups[rows, None] != groups[None, begin:]
        found = np.argwhere((moving | still) & seen & apart) + begin
        pairs += [(int(i), int(j)) for i, j in found if i < j]
    return pairs


def shared_scenes(looks: Looks, groups: NDArray[np.int64]) -> dict[int, int]:
    """For every video that shows the scene of one in another group: that one, or of several the most similar.

    Args:
        looks: `N T S S`.
        groups: of each video, int64 `N`.
    """
    means = looks.mean(1)
    padded = np.pad(means, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = sum(padded[:, y : y + SIDE, x : x + SIDE] for y in range(3) for x in range(3)) / 9
    fine = means - around
    scenes, plain = _part(fine, np.ones((SIDE, SIDE), bool))
    parts = [(*_part(fine, where), least) for where, least in _parts()]
    scenes[plain] = 0
    nearest: dict[int, int] = {}
    for begin in range(0, len(looks), 1024):
        rows = slice(begin, begin + 1024)
        similar = scenes[rows] @ scenes.T
        similar[groups[rows, None] == groups[None]] = -1
        for part, empty, least in parts:
            alike = (part[rows] @ part.T >= least) | (empty[rows, None] & empty[None])
            similar[~alike] = -1
        best = similar.argmax(1)
        hits = np.flatnonzero(similar[np.arange(len(best)), best] >= SAME_SCENE)
        nearest |= {int(i) + begin: int(best[i]) for i in hits}
    return nearest


def _parts() -> list[tuple[NDArray[np.bool_], float]]:
    """The halves and the margin of a picture, with the correlation that each must have."""
    y, x = np.mgrid[:SIDE, :SIDE]
    half = SIDE // 2
    margin = np.minimum(np.minimum(x, SIDE - 1 - x), np.minimum(y, SIDE - 1 - y)) < 2
    return [*((where, SAME_HALF) for where in (y < half, y >= half, x < half, x >= half)), (margin, SAME_MARGIN)]


def _part(fine: Looks, where: NDArray[np.bool_]) -> tuple[Looks, NDArray[np.bool_]]:
    """Rows of length 1 from one part of the pictures, and which of them have no structure there."""
    values = fine[:, where]
    rows, contrast = _unit(values - values.mean(1, keepdims=True))
    return rows, contrast < 0.5


def identical(paths: Iterable[str], workers: int | None = None) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """Files that hold the same bytes (of frame folders: the same pictures in order).

    Args:
        paths: of files or frame folders.
        workers: threads; None is one per core.

    Returns:
        groups of two or more paths; and path -> reason of those that could not be read (any more).
    """
    by_size: dict[int, list[str]] = defaultdict(list)
    unread: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        try:
            by_size[_bytes(path)].append(path)
        except UnreadableVideo as error:
            unread[path] = error.reason
    same_size = [path for group in by_size.values() if len(group) > 1 for path in group]
    digests: dict[str, str] = {}
    with ThreadPoolExecutor(workers or default_workers()) as pool:
        for path, found in zip(same_size, pool.map(_attempt, same_size), strict=True):
            if isinstance(found, UnreadableVideo):
                unread[path] = found.reason
            else:
                digests[path] = found
    return groups_of(digests), unread


def groups_of(keys: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The groups of two or more names that have the same key."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, key in keys.items():
        groups[key].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _unit(values: Looks) -> tuple[Looks, Looks]:
    """Rows of length 1, and the root mean square they had."""
    rows = values.reshape(len(values), -1)
    length = np.linalg.norm(rows, axis=1)
    return rows / np.maximum(length, 1e-6)[:, None], length / np.sqrt(rows.shape[1])


def _files(path: str) -> list[Path]:
    place = Path(path)
    return sorted(p for p in place.iterdir() if p.is_file()) if is_folder(place) else [place]


def _bytes(path: str) -> int:
    with on_behalf_of(path):
        return sum(file.stat().st_size for file in _files(path))


def _attempt(path: str) -> str | UnreadableVideo:
    try:
        with on_behalf_of(path):
            return _digest(path)
    except UnreadableVideo as error:
        return error


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
