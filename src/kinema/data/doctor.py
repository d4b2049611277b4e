"""The doctor: looks through a data set before the first training step and says what is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from kinema.data.checks import Infos, check_files, check_labels
from kinema.data.duplicates import identical, is_blank, look, near_pairs, stack_looks
from kinema.data.index import probe_all, remembered
from kinema.data.manifest import Manifest, Sample, survey
from kinema.data.report import Finding, Report, SplitSummary
from kinema.data.video import VideoInfo


def examine(data: str | Path, *, deep: bool = True, frames: int = 8, workers: int | None = None) -> Report:
    """Examines a data set: manifest, labels, splits, files, duplicates.

    What was learnt of a file is cached (`kinema.data.index`): a second examination takes only as long as the listing.

    Args:
        data: the folder or CSV, as for `read_manifest`.
        deep: also decode five frames of every file, from the first to the last: finds files that break off or show
            nothing, and near-identical ones in different splits.
        frames: that a clip needs; shorter videos are listed.
        workers: threads that examine files; None is one a core.

    Raises:
        KinemaError: there is nothing to examine (no such folder, no video in it, a CSV without its columns).
    """
    found = survey(data)
    manifest = found.manifest
    findings = [*found.findings, *check_labels(manifest)]
    absent = {path for f in found.findings if f.code == "no-file" for path in f.paths}
    files = [path for path in dict.fromkeys(s.path for s in manifest.samples) if path not in absent]
    broken: dict[str, str] = {}
    infos: dict[str, VideoInfo] = {}
    for path, answer in probe_all(files, manifest.source, workers=workers).items():
        if isinstance(answer, VideoInfo):
            infos[path] = answer
        else:
            broken[path] = answer.reason
    looks: dict[str, dict[str, Any]] = {}
    if deep:
        looks = remembered("looks", infos, manifest.source, look, workers=workers)
        broken |= {path: entry["error"] for path, entry in looks.items() if "error" in entry}
    if broken:
        message = f"{len(broken)} of {len(files)} files cannot be read: replace or remove them"
        lines = tuple(f"{path}: {reason}" for path, reason in sorted(broken.items()))
        findings.append(Finding("error", "unreadable", message, lines))
    infos = {path: info for path, info in infos.items() if path not in broken}
    findings += check_files(manifest, infos, frames)
    findings += _check_identical(manifest, files, workers)
    findings += _check_looks(manifest, {path: looks[path] for path in infos if path in looks})
    splits = {name: manifest.split(name).samples for name in manifest.splits} or {"all": manifest.samples}
    return Report(
        source=manifest.source,
        splits={name: _summary(samples, infos) for name, samples in splits.items()},
        findings=tuple(sorted(findings, key=lambda f: f.severity)),
        held_out=manifest.held_out,
        looked=deep,
        files=len(files),
    )


def _check_identical(manifest: Manifest, files: list[str], workers: int | None) -> list[Finding]:
    """Equal bytes: in two splits or under two labels they falsify figures; within a split they only weigh double."""
    splits, labels = _members(manifest)
    across, within, torn = [], [], []
    for group in identical(files, workers):
        line = " = ".join(f"{path} ({'/'.join(sorted(splits[path]))})" for path in group)
        if len(set().union(*(labels[path] for path in group))) > 1:
            torn.append(line + ": " + " or ".join(sorted(set().union(*(labels[path] for path in group)))))
        if len(set().union(*(splits[path] for path in group))) > 1:
            across.append(line)
        else:
            within.append(line)
    shared = [f"{path}: {', '.join(sorted(names))}" for path, names in splits.items() if len(names) > 1]
    found = []
    if across:
        message = f"{len(across)} groups of identical files are in more than one split: keep each in one split"
        found.append(Finding("error", "identical-across-splits", message, tuple(across)))
    if torn:
        message = f"{len(torn)} groups of identical files have more than one label: keep the right one"
        found.append(Finding("error", "identical-with-other-label", message, tuple(torn)))
    if within:
        message = f"{len(within)} groups of identical files are in the same split: keep one of each"
        found.append(Finding("warning", "identical-in-split", message, tuple(within)))
    if shared:
        message = f"parts of {len(shared)} videos are in more than one split: the splits share people and scenes"
        found.append(Finding("warning", "video-in-two-splits", message, tuple(shared)))
    return found


def _check_looks(manifest: Manifest, looks: Mapping[str, dict[str, Any]]) -> list[Finding]:
    """Videos that show nothing, and near-identical ones across splits."""
    if not looks:
        return []
    splits, _ = _members(manifest)
    paths = list(looks)
    pictures = stack_looks(looks.values())
    found = []
    blank = tuple(path for path, empty in zip(paths, is_blank(pictures), strict=True) if empty)
    if blank:
        message = f"{len(blank)} videos show one flat colour: replace or remove them"
        found.append(Finding("warning", "blank", message, blank))
    names = sorted({"/".join(sorted(splits[path])) for path in paths})
    groups = np.array([names.index("/".join(sorted(splits[path]))) for path in paths], np.int64)
    copies = {frozenset(pair) for group in identical(paths) for pair in _pairs(group)}
    pairs = [(paths[i], paths[j]) for i, j in near_pairs(pictures, groups)]
    near = [pair for pair in pairs if frozenset(pair) not in copies and not splits[pair[0]] & splits[pair[1]]]
    if near:
        message = f"{len(near)} pairs of near-identical videos are in different splits: look at them, keep one of each"
        lines = tuple(" ~ ".join(f"{path} ({'/'.join(sorted(splits[path]))})" for path in pair) for pair in near)
        found.append(Finding("warning", "near-identical", message, lines))
    return found


def _pairs(group: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(a, b) for i, a in enumerate(group) for b in group[i + 1 :]]


def _members(manifest: Manifest) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """The splits and the labels of every file."""
    splits: dict[str, set[str]] = defaultdict(set)
    labels: dict[str, set[str]] = defaultdict(set)
    for sample in manifest.samples:
        splits[sample.path].add(sample.split or "no split")
        labels[sample.path].add(sample.label)
    return splits, labels


def _summary(samples: tuple[Sample, ...], infos: Infos) -> SplitSummary:
    readable = [(s, infos[s.path]) for s in samples if s.path in infos]
    seconds = [max(0.0, min(s.end or i.duration, i.duration) - (s.start or 0)) for s, i in readable]
    rates = [i.fps for _, i in readable]
    lengths = [i.frames for _, i in readable]
    sides = [min(i.width, i.height) for _, i in readable]
    return SplitSummary(
        samples=len(samples),
        classes=dict(sorted(Counter(s.label for s in samples).items())),
        hours=sum(seconds) / 3600,
        fps=(min(rates), median(rates), max(rates)) if rates else None,
        frames=(min(lengths), round(median(lengths)), max(lengths)) if lengths else None,
        short_side=(min(sides), round(median(sides)), max(sides)) if sides else None,
    )
