"""Finds files with the same content: identical bytes, near-identical pictures (such as a second encoding), same scene.

Except for identical bytes, all decisions use five small grey pictures per video, from its first to its last frame.

Content that clips from many sources have in common says nothing about them. Therefore:

- frames at the ends that show one colour (black or white, a fade) or a title are skipped when the pictures are taken;
- frames without contrast are not compared, and bars at the margins have no weight;
- each frame is scaled to the same contrast, and bright spots such as a logo are clipped.

Two videos are near-identical if they have at least three frames to compare, each pair of frames is similar, and their
motion is similar too, also when any single frame is left out. Motion is what remains after the mean frame is
subtracted. It distinguishes two clips of one fixed camera, and a clip from its own reversal. Videos of clearly
different length are not copies. A shorter part of a longer video is not recognised.

The thresholds were set on 322 clips, 300 of surveillance cameras and 22 of one person in one room, and on copies of
108 of them (`benchmarks/duplicates.py`): smaller, heavily compressed, border cut off, a twentieth of the beginning or
end cut off. 97 % of the copies were found (cutting the border is the hardest: 92 %); of copies of clips with fades at
both ends, 79 %. None of the 51681 pairs of different clips was called near-identical. With black, white or blue ends,
fades, titles, a logo or bars in all clips, at most 3 pairs were, all of one camera and nearly the same action. On 150
generated clips with the same changes, one pair in 15 times 11175 was, and 246 of 250 copies were found.

Two videos show the same scene if the fine structure of their mean pictures correlates, as a whole, in every half and
along the margin. Fine structure is each point minus the mean of the nine points around it, because skies and floors
look the same everywhere. The thresholds were set on the 300 clips of surveillance cameras. Four fifths of the pairs
from one camera were found; some of these are two sources in the data's own list. No pair of two scenes was above 0.58.
The parts count because a horizon and a person who stands still look the same in scenes with plain backgrounds: of 3.3
million pairs of drawn scenes, one reached 0.86 as a whole, and 18 more than 0.81. None of the 18 passes by its parts,
but 207 of the 209 pairs of one camera do. If bars leave less than a third of the picture, no scene is compared.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kinema.data.doctor.index import Entry, failed
from kinema.data.shards.index import find_member
from kinema.data.transforms import Box, cut
from kinema.data.views import Indices, cut_views
from kinema.errors import UnreadableVideo
from kinema.files import is_folder, on_behalf_of
from kinema.processes import loader_workers

FRAMES, SIDE = 5, 12
SAME_FRAME, SAME_PICTURE, SAME_SCENE = 0.7, 0.85, 0.85
SAME_MOTION, SAME_LESS = 0.76, 0.45  # with all frames, and with any one of them left out
SAME_HALF, SAME_MARGIN = 0.6, 0.75
STILL, SAME_STILL = 1.0, 0.998  # below this motion (grey levels) only pictures are compared, more strictly
COMPARED = 3  # pairs of frames with content that two videos must have
LONGER = 1.25  # ratio of lengths
SPREAD = 6  # grey levels; a frame with less between dark and light parts shows nothing
_CLIPPED = 2.5  # spreads from the median; pixels further away, such as a logo, are clipped
_BAR = (2, 8)  # grey levels of change in a row or column: certainly part of a bar, certainly not
_ALIKE, _CARD, _TITLE = 0.8, 0.9995, 0.3  # correlation of frames of one scene, of one still card, and of both

Looks = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Frames:
    """Frames that can be compared regardless of their brightness.

    Attributes:
        units: `N T P`, one row of length 1 per frame, without bars; zeros if the frame shows nothing.
        shown: `N T`, True for frames that show something.
        content: `N P`, 0 in bars at the margins, 1 elsewhere.
        contrast: `N`, root mean square of a typical frame, in grey levels.
    """

    units: Looks
    shown: Mask
    content: Looks
    contrast: Looks


def look(path: str) -> Entry:
    """Decodes five frames from the first to the last: {"look": their small grey pictures} or {"error": reason}."""
    try:
        with on_behalf_of(path):
            pictures = pictures_of(partial(_small, path))
    except UnreadableVideo as error:
        return failed(error)
    return {"look": base64.b64encode(pictures.tobytes()).decode("ascii")}


def _small(path: str, frames_of: Callable[[int], Indices]) -> Tensor:
    """Returns frames of a video, scaled to the size of comparison, uint8 `T S S 3`."""

    def whole(height: int, width: int) -> list[Box]:
        return [Box(0, 0, height, width)]

    return cut_views(path, lambda n: frames_of(n)[None], whole, SIDE).pixels[0]


def pictures_of(read: Callable[[Callable[[int], Indices]], Tensor]) -> NDArray[np.uint8]:
    """Returns five small grey pictures of a video, from its first to its last frame.

    If frames at the beginning or end show nothing or a title, the pictures are five frames between those.

    Args:
        read: receives a function that chooses frame indices from n frames; returns those frames, uint8 RGB `T H W 3`.

    Returns:
        uint8 `T S S`.
    """
    pictures = _pictures(read, 0, 1)
    first, last = _scene(pictures)
    if (first, last) != (0, FRAMES - 1):
        pictures = _pictures(read, first / (FRAMES - 1), last / (FRAMES - 1))
    return pictures


def _pictures(read: Callable[[Callable[[int], Indices]], Tensor], begin: float, end: float) -> NDArray[np.uint8]:
    """Returns evenly spaced small grey pictures between two parts of the length, 0 to 1."""
    frames = read(lambda n: (np.linspace(begin, end, FRAMES) * (n - 1)).round().astype(np.int64))
    small = cut(frames, Box(0, 0, frames.shape[1], frames.shape[2]), SIDE, flip=False)
    return np.tensordot(small.numpy(), [0.299, 0.587, 0.114], 1).round().astype(np.uint8)


def _scene(pictures: NDArray[np.uint8]) -> tuple[int, int]:
    """Returns the indices of the first and last picture of the scene, without flat pictures and titles at the ends."""
    frames = _frames(pictures[None].astype(np.float32))
    shown = np.flatnonzero(frames.shown[0])
    if len(shown) < 2:
        return 0, len(pictures) - 1
    similar = frames.units[0] @ frames.units[0].T
    for before, after in ((1, 0), (0, 1), (1, 1), (2, 0), (0, 2)):
        scene = shown[before : len(shown) - after]
        titles = [*shown[:before], *shown[len(shown) - after :]]
        if len(scene) < COMPARED:
            continue
        moves = _ALIKE <= similar[np.ix_(scene, scene)].min() < _CARD  # otherwise the scene could be the title
        stands = len(titles) < 2 or before == after or similar[np.ix_(titles, titles)].min() >= _CARD
        if moves and stands and similar[np.ix_(titles, scene)].max() < _TITLE:
            return int(scene[0]), int(scene[-1])
    return int(shown[0]), int(shown[-1])


def stack_looks(entries: Iterable[Entry]) -> Looks:
    """Stacks the entries that contain a look: float32 `N T S S`."""
    pictures = [np.frombuffer(base64.b64decode(entry["look"]), np.uint8) for entry in entries]
    return np.array(pictures, np.float32).reshape(len(pictures), FRAMES, SIDE, SIDE)


def is_blank(looks: Looks) -> Mask:
    """Marks videos whose five pictures are one flat grey: bool `N`."""
    return looks.std((1, 2, 3)) < 1


def near_pairs(
    looks: Looks, groups: NDArray[np.int64], lengths: NDArray[np.float64] | None = None
) -> list[tuple[int, int]]:
    """Finds pairs (i, j), i < j, of near-identical videos in different groups.

    Args:
        looks: `N T S S`.
        groups: group of each video, int64 `N`; pairs within a group are not searched for.
        lengths: length of each video, float64 `N 2`, frames and seconds; pairs that differ in both by more than
            `LONGER` times are not copies. None compares no lengths.
    """
    frames = _frames(looks)
    scene = _of_scene(frames)
    pairs: list[tuple[int, int]] = []
    block = max(1, min(1024, 2**25 // max(1, len(looks))))
    for begin in range(0, len(looks), block):
        rows = slice(begin, begin + block)
        apart = groups[rows, None] != groups[None, begin:]
        common, total = np.zeros(apart.shape, np.int8), np.zeros(apart.shape, np.float32)
        worst = np.ones(apart.shape, np.float32)
        for t in range(looks.shape[1]):
            both = frames.shown[rows, t, None] & frames.shown[None, begin:, t]
            similar = frames.units[rows, t] @ frames.units[begin:, t].T
            common += both
            total += similar
            worst = np.minimum(worst, np.where(both, similar, 1))
        found = apart & (common >= COMPARED) & (worst >= SAME_FRAME) & (total >= SAME_PICTURE * common)
        i, j = np.nonzero(np.triu(found))
        if lengths is not None:
            ratio = lengths[i + begin] / np.maximum(lengths[j + begin], 1e-9)
            alike = ((ratio <= LONGER) & (ratio >= 1 / LONGER)).any(1)
            i, j = i[alike], j[alike]
        same = np.zeros(len(i), bool)
        for part in range(0, len(i), 2**14):
            some = slice(part, part + 2**14)
            same[some] = _same_motion(frames, scene, i[some] + begin, j[some] + begin, worst[i[some], j[some]])
        pairs += [(int(a) + begin, int(b) + begin) for a, b in zip(i[same], j[same], strict=True)]
    return pairs


def _frames(looks: Looks) -> _Frames:
    values = looks.reshape(*looks.shape[:2], -1)
    content = _content(looks)
    inside = content > 0.5
    low, middle, high = np.percentile(values, (15, 50, 85), axis=2)
    for i in np.flatnonzero(~inside.all(1)):
        if inside[i].any():
            low[i], middle[i], high[i] = np.percentile(values[i][:, inside[i]], (15, 50, 85), axis=1)
    shown = (high - low >= SPREAD) & (inside.sum(1, keepdims=True) >= SIDE)
    scale = np.maximum(high - low, 1e-6)[..., None] / 2
    units = np.clip((values - middle[..., None]) / scale, -_CLIPPED, _CLIPPED) * content[:, None]
    weight = np.maximum(content.sum(1), 1e-6)[:, None, None]
    units = (units - units.sum(2, keepdims=True) / weight) * content[:, None]
    units /= np.maximum(np.linalg.norm(units, axis=2, keepdims=True), 1e-6)
    units *= shown[..., None]
    deviation = np.where(shown, values.std(2), np.nan)
    contrast = np.zeros(len(looks))
    contrast[shown.any(1)] = np.nanmedian(deviation[shown.any(1)], axis=1)
    return _Frames(units.astype(np.float32), shown, content, contrast.astype(np.float32))


def _content(looks: Looks) -> Looks:
    """Weights `N P`: 0 in bars at the margins, which keep one colour in every frame that shows something, 1 elsewhere.

    The row or column beside a bar is also left out, because it may be part of the bar. There is no sharp limit, because
    a copy of a dark video could fall on the other side of it.
    """
    varied = (looks.max((2, 3)) - looks.min((2, 3)) > _BAR[1])[..., None, None]
    most, least = np.where(varied, looks, -np.inf).max(1), np.where(varied, looks, np.inf).min(1)
    along = []
    for axis in (2, 1):
        change = most.max(axis) - least.min(axis)
        flat = np.clip((_BAR[1] - change) / (_BAR[1] - _BAR[0]), 0, 1) * varied.any((1, 2, 3))[:, None]
        bar = np.zeros_like(flat)
        for direction in (1, -1):
            run = np.minimum.accumulate(flat[:, ::direction], 1)
            run[:, 1:] = np.maximum(run[:, 1:], run[:, :-1])
            bar = np.maximum(bar, run[:, ::direction])
        along.append(1 - bar)
    return (along[0][:, :, None] * along[1][:, None]).reshape(len(looks), -1).astype(np.float32)


def _same_motion(frames: _Frames, scene: Mask, i: NDArray[np.int64], j: NDArray[np.int64], worst: Looks) -> Mask:
    """From pairs whose frames are similar, keeps those with similar motion, or without motion but more similar."""
    both = frames.shown[i] & frames.shown[j]
    used = both & scene[i] & scene[j]
    used = np.where(used.sum(1, keepdims=True) >= COMPARED, used, both)
    alike, motion = _motion(frames, i, j, used)
    least = alike.copy()
    for t in range(both.shape[1]):
        fewer = used.copy()
        fewer[:, t] = False
        left = used[:, t] & (fewer.sum(1) >= COMPARED)
        less, _ = _motion(frames, i[left], j[left], fewer[left])
        least[left] = np.minimum(least[left], less)
    # A title that is shown for long also stands still.
    still = (motion < STILL) & (both.sum(1) - used.sum(1) <= 1)
    return ((alike >= SAME_MOTION) & (least >= SAME_LESS) & (motion > 0)) | (still & (worst >= SAME_STILL))


def _of_scene(frames: _Frames) -> Mask:
    """Keeps frames that resemble the one that most others resemble; the rest are titles and cuts."""
    similar = np.einsum("ntp,nsp->nts", frames.units, frames.units)
    central = np.maximum(similar, 0).sum(2).argmax(1)
    return (similar[np.arange(len(similar)), central] >= 0.5) & frames.shown


def _motion(frames: _Frames, i: NDArray[np.int64], j: NDArray[np.int64], used: Mask) -> tuple[Looks, Looks]:
    """Returns per pair the correlation of the frames minus the mean frame, and the larger motion in grey levels."""
    number = np.maximum(used.sum(1), 1)[:, None, None]
    rows = []
    for videos in (i, j):
        units = frames.units[videos] * used[..., None]
        rows.append((units - units.sum(1, keepdims=True) / number) * used[..., None])
    one, other = (np.sqrt((row**2).sum((1, 2))) for row in rows)
    alike = (rows[0] * rows[1]).sum((1, 2)) / np.maximum(one * other, 1e-9)
    contrast = np.maximum(frames.contrast[i], frames.contrast[j])
    return alike, np.maximum(one, other) / np.sqrt(number[:, 0, 0]) * contrast


def shared_scenes(looks: Looks, groups: NDArray[np.int64]) -> dict[int, int]:
    """Returns for every video that shows the scene of a video in another group: the most similar such video.

    Args:
        looks: `N T S S`.
        groups: group of each video, int64 `N`.
    """
    frames = _frames(looks)
    number = np.maximum(frames.shown.sum(1), 1)[:, None, None]
    means = (looks * frames.shown[..., None, None]).sum(1) / number
    padded = np.pad(means, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = sum(padded[:, y : y + SIDE, x : x + SIDE] for y in range(3) for x in range(3)) / 9
    fine = (means - around) * frames.content.reshape(means.shape)
    fine[frames.content.sum(1) < SIDE * SIDE / 3] = 0  # between wide bars, too few points remain
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


def _parts() -> list[tuple[Mask, float]]:
    """The halves and the margin of a picture, with the correlation that each one must reach."""
    y, x = np.mgrid[:SIDE, :SIDE]
    half = SIDE // 2
    margin = np.minimum(np.minimum(x, SIDE - 1 - x), np.minimum(y, SIDE - 1 - y)) < 2
    return [*((where, SAME_HALF) for where in (y < half, y >= half, x < half, x >= half)), (margin, SAME_MARGIN)]


def _part(fine: Looks, where: Mask) -> tuple[Looks, Mask]:
    """Returns rows of length 1 from one part of the pictures, and marks those without structure there."""
    values = fine[:, where]
    rows, contrast = _unit(values - values.mean(1, keepdims=True))
    return rows, contrast < 0.5


def identical(paths: Iterable[str], workers: int = -1) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """Finds files with the same bytes (for frame folders: the same pictures in order).

    Args:
        paths: files or frame folders.
        workers: threads; -1 is one per core, at most 16.

    Returns:
        groups of two or more paths; and path -> reason for those that could not be read (any more).
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
    with ThreadPoolExecutor(max(1, loader_workers(workers))) as pool:
        for path, found in zip(same_size, pool.map(_attempt, same_size), strict=True):
            if isinstance(found, UnreadableVideo):
                unread[path] = found.reason
            else:
                digests[path] = found
    return groups_of(digests), unread


def groups_of(keys: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Returns the groups of two or more names that have the same key."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, key in keys.items():
        groups[key].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _unit(values: Looks) -> tuple[Looks, Looks]:
    """Scales rows to length 1; also returns their previous root mean square."""
    rows = values.reshape(len(values), -1)
    length = np.linalg.norm(rows, axis=1)
    return rows / np.maximum(length, 1e-6)[:, None], length / np.sqrt(rows.shape[1])


def _files(path: str) -> list[Path]:
    place = Path(path)
    return sorted(p for p in place.iterdir() if p.is_file()) if is_folder(place) else [place]


def _bytes(path: str) -> int:
    with on_behalf_of(path):
        member = find_member(path)
        return member.size if member else sum(file.stat().st_size for file in _files(path))


def _attempt(path: str) -> str | UnreadableVideo:
    try:
        with on_behalf_of(path):
            return _digest(path)
    except UnreadableVideo as error:
        return error


def _digest(path: str) -> str:
    member = find_member(path)
    if member is not None:
        return member.sha256
    digest = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
