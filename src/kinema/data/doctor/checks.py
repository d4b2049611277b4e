"""The checks of the doctor, except duplicates: labels and splits, and single files compared with the others."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from math import ceil
from statistics import median

import numpy as np
import numpy.typing as npt

from kinema.data.findings import Finding
from kinema.data.label_order import plain
from kinema.data.label_remarks import name_labels
from kinema.data.manifest import Manifest, Sample
from kinema.data.reading.info import part_frames
from kinema.data.splits import training_split
from kinema.data.video import VideoInfo
from kinema.text import plural

IMBALANCE = 10  # ratio of training videos in the largest and the smallest class
TINY = 64  # pixels on the short side
STRETCHED = 3  # long side over short side
OUTLIER_SIZE = 3  # times larger or smaller than the median short side
OUTLIER_RATE = 2.5  # times faster or slower than the median frame rate
SLOWEST = 5  # frames per second
_SINGULAR, _PLURAL = {"are": "is", "have": "has"}, {"are": "are", "have": "have"}

Infos = Mapping[str, VideoInfo]
Times = Mapping[str, npt.NDArray[np.float64]]


def check_labels(manifest: Manifest) -> list[Finding]:
    """Checks labels: too few, only in some splits, easily confused, left and right without a flip map, unbalanced."""
    found = []
    if len(manifest.labels) == 1:
        message = f"there is only one class ({manifest.labels[0]!r}): add videos of another class"
        found.append(Finding("error", "one-class", message))
    found += _check_splits(manifest)
    for label, other in _look_alikes(manifest.labels):
        message = f"the labels {label!r} and {other!r} differ only in case, spaces, punctuation or zeros: merge them"
        found.append(Finding("warning", "similar-labels", message))
    handed = {a: b for a, b in _handed(manifest.labels) if a not in manifest.flip_map}
    if handed:
        message = "training mirrors clips, but no flip map says which labels are exchanged: write flip_map.json beside "
        message += f"the data, {json.dumps(handed, ensure_ascii=False)}, or train with augment.flip 0"
        found.append(Finding("warning", "no-flip-map", message, tuple(f"{a} <-> {b}" for a, b in handed.items())))
    found += _check_balance(manifest)
    return found


def check_files(manifest: Manifest, infos: Infos, frames: int, times: Times | None = None) -> list[Finding]:
    """Checks files: too short for a clip, part outside the video, tiny, elongated, or outliers in size or frame rate.

    Args:
        manifest: the samples.
        infos: information on the readable files.
        frames: number of frames of a clip.
        times: times of the frames of variable-rate files of which samples are parts, float64 [frames] seconds; a file
            that is not included is assumed to have a constant rate.
    """
    readable = [(s, infos[s.path]) for s in manifest.samples if s.path in infos]
    found: list[Finding] = []

    def report(severity: str, code: str, message: str, entries: list[tuple[str, str]]) -> None:
        if entries:
            lines = tuple(dict.fromkeys(f"{path}: {what}" for path, what in entries))
            several = len(lines) > 1
            text = message.format(n=plural(len(lines), "video"), **(_PLURAL if several else _SINGULAR))
            found.append(Finding("error" if severity == "error" else "warning", code, text, lines))

    outside = [(s, i) for s, i in readable if (s.start or 0) >= i.duration]
    report(
        "error",
        "start-outside",
        "{n} {have} a part that starts after the end of the video: correct start and end (in seconds)",
        [(s.path, f"start {s.start:g} s of {i.duration:.2f} s") for s, i in outside],
    )
    late = [(s, i) for s, i in readable if s.end is not None and s.end > i.duration + _rounding(i)]
    report(
        "warning",
        "end-outside",
        "{n} {have} a part that ends after the end of the video: the part is shortened",
        [(s.path, f"end {s.end:g} s of {i.duration:.2f} s") for s, i in late],
    )
    report(
        "warning",
        "too-short",
        f"{{n}} {{have}} fewer frames than a clip ({frames}): clips are completed as clip.pad says",
        [(s.path, f"{n} frames") for s, i in readable if 0 < (n := _frames(s, i, times or {})) < frames],
    )
    files = sorted({i.path: i for _, i in readable}.items())
    report(
        "warning",
        "tiny",
        f"{{n}} {{have}} a short side below {TINY} pixels: too small to recognise much",
        [(p, _size(i)) for p, i in files if _short(i) < TINY],
    )
    report(
        "warning",
        "stretched",
        f"{{n}} {{have}} a long side over {STRETCHED} times the short side: a square crop shows only a small part",
        [(p, _size(i)) for p, i in files if max(i.width, i.height) > STRETCHED * _short(i)],
    )
    if not files:
        return found
    side = median(_short(i) for _, i in files)
    report(
        "warning",
        "odd-size",
        f"{{n}} {{are}} {OUTLIER_SIZE} times larger or smaller than the rest (median short side {side:g})",
        [(p, _size(i)) for p, i in files if not side / OUTLIER_SIZE <= _short(i) <= side * OUTLIER_SIZE],
    )
    rate = median(i.fps for _, i in files)
    low, high = max(SLOWEST, rate / OUTLIER_RATE), rate * OUTLIER_RATE
    report(
        "warning",
        "odd-rate",
        f"{{n}} {{are}} far slower or faster than the rest (below {low:.3g} or above {high:.3g} fps, "
        f"median {rate:.3g})",
        [(p, f"{i.fps:.4g} fps") for p, i in files if not low <= i.fps <= high],
    )
    return found


def _check_splits(manifest: Manifest) -> list[Finding]:
    """Checks splits: a tested label must be trained; a label in a single split makes its metrics wrong."""
    splits = manifest.splits
    if len(splits) < 2:
        return []
    train = training_split(manifest)
    places: dict[str, set[str]] = defaultdict(set)
    for sample in manifest.samples:
        if sample.split is not None:
            for label in manifest.labels_of(sample):
                places[label].add(sample.split)
    found = []
    for split in splits:
        alone = tuple(sorted(label for label, where in places.items() if where == {split}))
        if alone:
            message = f"{_labels(alone)} only in split {split!r}: move some videos to the other splits"
            found.append(Finding("error", "label-in-one-split", message, alone))
    if train is not None:
        for split in splits:
            untrained = tuple(sorted(k for k, w in places.items() if split in w and train not in w and len(w) > 1))
            if split != train and untrained:
                message = f"{_labels(untrained)} in split {split!r} but not in {train!r}: "
                message += f"{'they' if untrained[1:] else 'it'} can never be correct there"
                found.append(Finding("error", "label-not-trained", message, untrained))
            missing = tuple(sorted(k for k, w in places.items() if split not in w and train in w and len(w) > 1))
            if missing:
                message = f"{_labels(missing)} not in split {split!r}: its metrics say nothing about "
                message += "them" if missing[1:] else "it"
                found.append(Finding("warning", "label-not-in-split", message, missing))
    return found


def _check_balance(manifest: Manifest) -> list[Finding]:
    train = training_split(manifest)
    samples = manifest.samples if train is None else manifest.split(train).samples
    counts = Counter(label for s in samples for label in manifest.labels_of(s)).most_common()
    if len(counts) < 2 or counts[0][1] < IMBALANCE * counts[-1][1]:
        return []
    (most, many), (least, few) = counts[0], counts[-1]
    message = f"{most!r} has {many} training videos but {least!r} has {few}: add some, or use mean-class accuracy"
    return [Finding("warning", "imbalance", message, tuple(f"{label}: {n}" for label, n in reversed(counts)))]


def _look_alikes(labels: tuple[str, ...]) -> list[tuple[str, str]]:
    first: dict[str, str] = {}
    pairs = []
    for label in labels:
        if first.setdefault(plain(label), label) != label:
            pairs.append((first[plain(label)], label))
    return pairs


def _handed(labels: tuple[str, ...]) -> list[tuple[str, str]]:
    """Finds pairs of labels that become each other if `left` and `right` are exchanged, each pair once."""
    known = {label.lower(): label for label in labels}
    swap = {"left": "right", "right": "left"}
    pairs = []
    for label in labels:
        swapped = re.sub(r"(?<![a-z])(left|right)(?![a-z])", lambda m: swap[m[0]], label.lower())
        other = known.get(swapped)
        if other is not None and swapped != label.lower() and label < other:
            pairs.append((label, other))
    return pairs


def parts_of_variable(manifest: Manifest, infos: Infos) -> list[str]:
    """Finds the files of which a part is a sample and whose frames must be counted by their times."""
    parts = {s.path for s in manifest.samples if s.start is not None or s.end is not None}
    return [path for path, info in infos.items() if info.variable_rate and path in parts]


def _frames(sample: Sample, info: VideoInfo, times: Times) -> int:
    """Returns how many different frames a sample shows; 0 if it is outside the video."""
    if sample.start is None and sample.end is None:
        return info.frames
    if info.path in times:
        return len(part_frames(times[info.path], sample.start, sample.end, info.duration))
    # The same rule for frames of equal length, without listing all of them: count the midpoints inside the part.
    start = max(sample.start or 0.0, 0.0)
    end = info.duration if sample.end is None else min(sample.end, info.duration)
    if end <= start:
        return 0
    low, high = (min(max(ceil(at * info.fps - 0.5), 0), info.frames) for at in (start, end))
    return max(1, high - low)


def _rounding(info: VideoInfo) -> float:
    """Returns the seconds by which the end of a part may exceed the video: one and a half frames."""
    return min(1.5 / info.fps, 0.1) if info.variable_rate else 1.5 / info.fps


def _labels(names: tuple[str, ...]) -> str:
    return f"{name_labels(names)} {'are' if names[1:] else 'is'}"


def _short(info: VideoInfo) -> int:
    return min(info.width, info.height)


def _size(info: VideoInfo) -> str:
    return f"{info.width} x {info.height}"
