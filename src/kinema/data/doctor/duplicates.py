"""Files that show the same: identical bytes, near-identical pictures (a second encoding, say), or the same scene.

All but identical bytes is decided on five small grey pictures per video, between its first and its last frame.

What clips of many sources have in common says nothing about them. So frames at the ends that show one colour (black
or white, a fade) or a title are passed over when the pictures are taken; frames without contrast are not compared;
each frame is scaled to one contrast, with bright spots such as a logo clipped; and bars at the margins have no
weight.

Near-identical are two videos with at least three frames to compare, of which each pair is alike, and whose motion,
which is what is left when the mean frame is taken away, is alike too, also when any one of the frames is left out.
Motion tells two clips of one fixed camera apart, and a clip from its own reversal. Videos of clearly different length
are no copies. A shorter part of a longer video is not recognised.

The thresholds were set on 322 clips, 300 of surveillance cameras and 22 of one person in one room, and on copies of
108 of them (`benchmarks/duplicates.py`): smaller, heavily compressed, border cut off, a twentieth of the beginning or
of the end cut off. 97 % of the copies were found (the border is the hardest: 92 %), of copies of clips with fades at
both ends 79 %. Of the 51681 pairs of different clips none was called near-identical; with black, white or blue ends,
fades, titles, a logo or bars in all clips at most 3 were, all of one camera and nearly the same action. On 150
generated clips, changed likewise, one pair in 15 times 11175 was, and 246 of 250 copies were found.

The same scene is a correlation of the fine structure of the mean pictures (each point less the mean of the nine
around it: skies and floors are alike everywhere), as a whole, in every half and along the margin. Its thresholds were
set on the 300 clips of surveillance cameras: of the pairs that one camera took, four fifths were found, some of which
the data's own list of sources has as two; no pair of two scenes was above 0.58. The parts count because a horizon and
a person who stands still are alike in scenes with plain backgrounds: of 3.3 million pairs of drawn scenes one reached
0.86 as a whole, and 18 more than 0.81. None of the 18 passes by its parts, but 207 of the 209 pairs of one camera do.
Where bars leave less than a third of the picture, no scene is compared.
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
SAME_MOTION, SAME_LESS = 0.76, 0.45  # of all frames, and when any one of them is left out
SAME_HALF, SAME_MARGIN = 0.6, 0.75
STILL, SAME_STILL = 1.0, 0.998  # grey levels of motion below which only pictures are compared, and more strictly
COMPARED = 3  # frames with something on them that two videos must have in common
LONGER = 1.25  # times as long
SPREAD = 6  # grey levels between the dark and the light parts of a frame below which it shows nothing
_CLIPPED = 2.5  # spreads from the median beyond which a pixel, such as one of a logo, counts no more
_BAR = (2, 8)  # grey levels of change in a row or column: certainly part of a bar, certainly not
_ALIKE, _CARD, _TITLE = 0.8, 0.9995, 0.3  # correlation of frames of one scene, of one still card, and of both

Looks = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Frames:
    """Frames that can be compared whatever their brightness.

    Attributes:
        units: `N T P`, each frame a row of length 1 without bars, or zeros where it shows nothing.
        shown: `N T`, frames that show something.
        content: `N P`, 0 in bars at the margins, 1 elsewhere.
        contrast: `N`, root mean square of a usual frame in grey levels.
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
    """Frames of a video, scaled to the size in which they are compared, uint8 `T S S 3`."""

    def whole(height: int, width: int) -> list[Box]:
        return [Box(0, 0, height, width)]

    return cut_views(path, lambda n: frames_of(n)[None], whole, SIDE).pixels[0]


def pictures_of(read: Callable[[Callable[[int], Indices]], Tensor]) -> NDArray[np.uint8]:
    """Five small grey pictures of a video, from its first to its last frame.

    Where frames at the beginning or end show nothing, or a title, they are of five frames between those.

    Args:
        read: called with what chooses frames of n; gives them, uint8 RGB `T H W 3`.

    Returns:
        uint8 `T S S`.
    """
    pictures = _pictures(read, 0, 1)
    first, last = _scene(pictures)
    if (first, last) != (0, FRAMES - 1):
        pictures = _pictures(read, first / (FRAMES - 1), last / (FRAMES - 1))
    return pictures


def _pictures(read: Callable[[Callable[[int], Indices]], Tensor], begin: float, end: float) -> NDArray[np.uint8]:
    """Between two parts of the length, 0 to 1."""
    frames = read(lambda n: (np.linspace(begin, end, FRAMES) * (n - 1)).round().astype(np.int64))
    small = cut(frames, Box(0, 0, frames.shape[1], frames.shape[2]), SIDE, flip=False)
    return np.tensordot(small.numpy(), [0.299, 0.587, 0.114], 1).round().astype(np.uint8)


def _scene(pictures: NDArray[np.uint8]) -> tuple[int, int]:
    """The first and the last of the pictures that show the scene, less flat ones and titles at the ends."""
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
        moves = _ALIKE <= similar[np.ix_(scene, scene)].min() < _CARD  # else the scene could be the title
        stands = len(titles) < 2 or before == after or similar[np.ix_(titles, titles)].min() >= _CARD
        if moves and stands and similar[np.ix_(titles, scene)].max() < _TITLE:
            return int(scene[0]), int(scene[-1])
    return int(shown[0]), int(shown[-1])


def stack_looks(entries: Iterable[Entry]) -> Looks:
    """float32 `N T S S` from entries that hold a look."""
    pictures = [np.frombuffer(base64.b64decode(entry["look"]), np.uint8) for entry in entries]
    return np.array(pictures, np.float32).reshape(len(pictures), FRAMES, SIDE, SIDE)


def is_blank(looks: Looks) -> Mask:
    """Videos whose five pictures are one flat grey: bool `N`."""
    return looks.std((1, 2, 3)) < 1


def near_pairs(
    looks: Looks, groups: NDArray[np.int64], lengths: NDArray[np.float64] | None = None
) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of near-identical videos that are in different groups.

    Args:
        looks: `N T S S`.
        groups: of each video, int64 `N`; pairs within a group are not looked for.
        lengths: of each video, float64 `N 2`, frames and seconds; pairs that differ in both by more than `LONGER` times
            are no copies. None compares no lengths.
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
    """0 in bars at the margins, which keep one colour in every frame that shows something, and 1 elsewhere: `N P`.

    The row or column beside a bar is left out too: it may be part of the bar. There is no sharp limit, because a copy
    of a dark video would fall on the other side of it.
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
    """Of pairs whose frames are alike, those that move alike, or stand still and are the more alike."""
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
    # A title that lasts stands still too.
    still = (motion < STILL) & (both.sum(1) - used.sum(1) <= 1)
    return ((alike >= SAME_MOTION) & (least >= SAME_LESS) & (motion > 0)) | (still & (worst >= SAME_STILL))


def _of_scene(frames: _Frames) -> Mask:
    """Frames that resemble the one that most others resemble: what is left is no title and no cut."""
    similar = np.einsum("ntp,nsp->nts", frames.units, frames.units)
    central = np.maximum(similar, 0).sum(2).argmax(1)
    return (similar[np.arange(len(similar)), central] >= 0.5) & frames.shown


def _motion(frames: _Frames, i: NDArray[np.int64], j: NDArray[np.int64], used: Mask) -> tuple[Looks, Looks]:
    """Of pairs, the correlation of what is left without the mean frame, and the larger motion in grey levels."""
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
    """For every video that shows the scene of one in another group: that one, or of several the most similar.

    Args:
        looks: `N T S S`.
        groups: of each video, int64 `N`.
    """
    frames = _frames(looks)
    number = np.maximum(frames.shown.sum(1), 1)[:, None, None]
    means = (looks * frames.shown[..., None, None]).sum(1) / number
    padded = np.pad(means, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = sum(padded[:, y : y + SIDE, x : x + SIDE] for y in range(3) for x in range(3)) / 9
    fine = (means - around) * frames.content.reshape(means.shape)
    fine[frames.content.sum(1) < SIDE * SIDE / 3] = 0  # between wide bars there are too few points to judge by
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
    """The halves and the margin of a picture, with the correlation that each must have."""
    y, x = np.mgrid[:SIDE, :SIDE]
    half = SIDE // 2
    margin = np.minimum(np.minimum(x, SIDE - 1 - x), np.minimum(y, SIDE - 1 - y)) < 2
    return [*((where, SAME_HALF) for where in (y < half, y >= half, x < half, x >= half)), (margin, SAME_MARGIN)]


def _part(fine: Looks, where: Mask) -> tuple[Looks, Mask]:
    """Rows of length 1 from one part of the pictures, and which of them have no structure there."""
    values = fine[:, where]
    rows, contrast = _unit(values - values.mean(1, keepdims=True))
    return rows, contrast < 0.5


def identical(paths: Iterable[str], workers: int = -1) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """Files that hold the same bytes (of frame folders: the same pictures in order).

    Args:
        paths: of files or frame folders.
        workers: threads; -1 is one per core, at most 16.

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
    with ThreadPoolExecutor(max(1, loader_workers(workers))) as pool:
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
