"""Chooses the pictures of a folder that are the frames of its video: one sequence, by the pattern of the names."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from kinema.data.clutter import is_clutter
from kinema.errors import UnreadableVideo

_SUFFIXES = (".jpg", ".jpeg", ".png")
_DEPICTIONS = frozenset(  # words in names of pictures that are derived from frames or represent a video
    (
        "flow", "flowx", "flowy", "optical", "opticalflow", "depth", "disparity", "disp", "mask", "masks", "seg",
        "segmentation", "semantic", "instance", "label", "labels", "gt", "groundtruth", "annotation", "heatmap",
        "saliency", "pose", "skeleton", "keypoints", "normal", "normals", "edge", "edges", "thermal", "infrared", "ir",
        "thumb", "thumbs", "thumbnail", "preview", "cover", "poster",
    )
)  # fmt: skip
_COLOUR = frozenset(("rgb", "color", "colour"))
_LONG = 3  # beside a sequence of this many frames, a single picture with another pattern is left out

# A time counts as one number, because its last part restarts every second or minute.
_CLOCK = re.compile(
    r"(?<!\d)(?:"
    r"\d{4}[-_.]\d\d[-_.]\d\d[-_.t ]+\d\d[-_.:h]\d\d[-_.:m]\d\d(?:[.,]\d+)?"  # 2024-01-31_12-00-59.5
    r"|\d\d[-.:h][0-5]\d[-.:m][0-5]\d(?:[.,]\d+)?"  # 12-00-59
    r"|\d{8}[-_t ]?\d{6}(?:[.,]\d+)?"  # 20240131_120059
    r"|\d{9,10}\.\d+"  # seconds since 1970
    r")(?!\d)"
)


@dataclass(frozen=True)
class FrameSequence:
    """The frames of a folder.

    Attributes:
        names: names of the frames, in the order of their numbers.
        left_out: other JPEG and PNG files of the folder, sorted.
        gaps: (first, last) number of every run of numbers that are missing between the first and the last frame.
    """

    names: tuple[str, ...]
    left_out: tuple[str, ...]
    gaps: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Name:
    name: str
    pattern: tuple[str, ...]  # texts between the numbers, without the suffix
    numbers: tuple[int | Decimal, ...]
    timed: bool

    @property
    def words(self) -> frozenset[str]:
        return frozenset(word for text in self.pattern for word in re.findall(r"[^\W\d_]+", text))

    @property
    def depicts(self) -> bool:
        """True for names of derived pictures, such as the two directions of optical flow, often a single letter."""
        component = len(self.numbers) == 1 and self.words and self.words <= {"x", "y", "u", "v"}
        return bool(component or self.words & _DEPICTIONS)

    @property
    def png(self) -> bool:
        return self.name.lower().endswith(".png")


def pictures(folder: Path) -> list[str]:
    """Returns the names of the JPEG and PNG files directly inside a folder, unordered."""
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name.lower().endswith(_SUFFIXES) and entry.is_file()]
    return [entry.name for entry in found if not is_clutter(entry.name)]


def frame_sequence(folder: Path) -> FrameSequence:
    """Chooses the frames among the pictures of a folder (see `choose`).

    Raises:
        UnreadableVideo: the folder contains no picture, or more than one possible sequence.
        OSError: the folder cannot be listed.
    """
    return choose(folder, pictures(folder))


def choose(folder: str | Path, names: Iterable[str]) -> FrameSequence:
    """Chooses the frames among the names of pictures.

    Names form one sequence if they differ only in one number (`img_00001.jpg`, `v1_0001.jpg`, `frame (1).jpg`), or in
    several numbers that form a time (`2024-01-31_12-00-59.png`). Case and padding do not matter. Of several sequences

    - one whose name contains `rgb` or `color` is preferred,
    - those whose names contain words for optical flow, depth, mask, thumbnail … are left out,
    - pictures without a number are left out, and so is a single picture with another pattern beside three or more.

    Args:
        folder: the folder, for messages.
        names: names of the JPEG and PNG files of one folder.

    Raises:
        UnreadableVideo: there is no picture; two sequences remain; two pictures have the same number; or several
            pictures have no number, so that their order is unknown.
    """
    names = sorted(names)
    if not names:
        raise UnreadableVideo(folder, "the folder contains no JPEG or PNG frames")
    sequences = _preferred(_sequences([_parsed(name) for name in names]))
    first, *others = sequences
    if others:
        if not any(s[0].numbers for s in sequences):
            reason = f"the names of its {len(sequences)} pictures ({first[0].name}, {others[0][0].name}, …) have no "
            raise UnreadableVideo(folder, reason + "number, so their order is unknown: number them")
        raise _ambiguous(folder, first[0].name, others[0][0].name)
    for one, other in pairwise(first):
        if one.numbers == other.numbers:
            raise _ambiguous(folder, one.name, other.name)
    chosen = {entry.name for entry in first}
    return FrameSequence(
        names=tuple(entry.name for entry in first),
        left_out=tuple(name for name in names if name not in chosen),
        gaps=_gaps(first),
    )


def _ambiguous(folder: str | Path, one: str, other: str) -> UnreadableVideo:
    reason = f"the pictures could be more than one sequence, such as {one} and {other}: put each into its own folder"
    return UnreadableVideo(folder, reason)


def _parsed(name: str) -> _Name:
    stem = unicodedata.normalize("NFC", name.rpartition(".")[0]).casefold()
    pattern: list[str] = []
    numbers: list[int | Decimal] = []
    at = 0
    clock = _CLOCK.search(stem)
    for digits in re.finditer(r"\d+" if clock is None else rf"{re.escape(clock[0])}|\d+", stem):
        pattern.append(stem[at : digits.start()])
        at = digits.end()
        numbers.append(int(digits[0]) if digits[0].isdecimal() else _seconds(digits[0]))
    return _Name(name, (*pattern, stem[at:]), tuple(numbers), clock is not None)


def _seconds(clock: str) -> Decimal:
    """Converts a time to a number with the same order: the digits of date and time, with the fraction of a second."""
    whole, _, fraction = re.fullmatch(r"(.*?)([.,](\d+))?", clock).groups()  # type: ignore[union-attr]
    if re.fullmatch(r"(\d\d[.])?\d\d[.]\d\d", clock):  # 12.00.59, whose last part is not a fraction
        whole, fraction = clock, ""
    return Decimal(f"{re.sub(r'[^0-9]', '', whole)}.{fraction or 0}")


def _sequences(names: Sequence[_Name]) -> list[list[_Name]]:
    """Returns every possible sequence, each in the order of its numbers."""
    patterns: dict[tuple[str, ...], list[_Name]] = defaultdict(list)
    for entry in names:
        patterns[entry.pattern].append(entry)
    parts = [p for group in patterns.values() for of_kind in _by_kind(group) for p in _by_field(of_kind)]
    return [sorted(part, key=lambda entry: (entry.numbers, entry.name)) for part in parts]


def _by_kind(entries: list[_Name]) -> list[list[_Name]]:
    """Separates JPEG and PNG if both have a picture with the same number."""
    kinds = [[entry for entry in entries if entry.png is png] for png in (False, True)]
    numbers = [{entry.numbers for entry in kind} for kind in kinds]
    return kinds if numbers[0] & numbers[1] else [entries]


def _by_field(entries: list[_Name]) -> list[list[_Name]]:
    """Splits names that differ in several numbers: several sequences if one of the numbers restarts in each."""
    fields = list(zip(*(entry.numbers for entry in entries), strict=True))
    varying = [i for i, values in enumerate(fields) if len(set(values)) > 1]
    if len(varying) < 2:
        return [entries]
    seconds = _as_seconds(entries, varying)
    if seconds is not None:
        return [seconds]
    options = []
    for field in varying:
        groups: dict[tuple[int | Decimal, ...], list[_Name]] = defaultdict(list)
        for entry in entries:
            groups[entry.numbers[:field] + entry.numbers[field + 1 :]].append(entry)
        options.append((field, sorted(groups.values(), key=len, reverse=True)))
    field, (longest, *others) = min(reversed(options), key=lambda option: len(option[1]))
    if len(longest) == 1:
        return [entries]
    running = {entry.numbers[field] for entry in longest}
    again = [entry.numbers[field] in running for other in others for entry in other]
    return [longest, *others] if sum(again) >= len(again) / 2 else [entries]


def _as_seconds(entries: list[_Name], varying: list[int]) -> list[_Name] | None:
    """Joins two numbers if they are a decimal that grows evenly: `0.00`, `0.04` …, but not `shot1.0001`."""
    first = varying[0]
    if varying != [first, first + 1] or entries[0].pattern[first + 1] != "." or entries[0].timed:
        return None
    read = []
    for entry in entries:
        digits = list(re.finditer(r"\d+", entry.name))
        seconds = Decimal(entry.name[digits[first].start() : digits[first + 1].end()])
        read.append(replace(entry, numbers=(seconds,), timed=True))
    values = sorted(Decimal(entry.numbers[0]) for entry in read)
    steps = sorted(b - a for a, b in pairwise(values))
    return read if steps[-1] < 2 * steps[len(steps) // 2] else None


def _preferred(sequences: list[list[_Name]]) -> list[list[_Name]]:
    """Keeps the sequences that can be the video: without derived pictures, pictures without number and single ones."""

    def keep(found: list[list[_Name]], good: Callable[[list[_Name]], bool]) -> list[list[_Name]]:
        return [s for s in found if good(s)] or found

    kept = keep(sequences, lambda s: bool(s[0].numbers))
    kept = keep(kept, lambda s: not s[0].depicts)
    kept = keep(kept, lambda s: bool(s[0].words & _COLOUR))
    longest = max(map(len, kept))
    return keep(kept, lambda s: len(s) > 1 or longest < _LONG)


def _gaps(entries: Sequence[_Name]) -> tuple[tuple[int, int], ...]:
    """Returns missing numbers as runs; none if the numbers are times or have no regular step."""
    if len(entries) < 3 or entries[0].timed:
        return ()
    fields = list(zip(*(entry.numbers for entry in entries), strict=True))
    varying = [values for values in fields if len(set(values)) > 1]
    if len(varying) != 1:
        return ()
    numbers = [int(value) for value in varying[0]]
    steps = [b - a for a, b in pairwise(numbers)]
    step, times = Counter(steps).most_common(1)[0]
    if 2 * times < len(steps):
        return ()
    return tuple((n + step, n + s - step) for n, s in zip(numbers, steps, strict=False) if s > step and s % step == 0)
