"""The doctor: examines a data set before the first training step and reports its problems."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from kinema.data.doctor.checks import Infos, check_files, check_labels, parts_of_variable
from kinema.data.doctor.diagnosis import Diagnosis, SplitSummary
from kinema.data.doctor.duplicates import identical, is_blank, look, near_pairs, shared_scenes, stack_looks
from kinema.data.doctor.frame_folders import check_frame_folders
from kinema.data.doctor.index import Entry, probe_all, remembered, times_all
from kinema.data.findings import Finding
from kinema.data.manifest import Manifest, survey
from kinema.data.sources import UNREACHABLE
from kinema.data.video import VideoInfo
from kinema.text import plural


def examine(data: str | Path, *, deep: bool = True, frames: int = 8, workers: int = -1) -> Diagnosis:
    """Examines a data set: manifest, labels, splits, files, duplicates.

    Results per file are cached (`kinema.data.doctor.index`): a second examination takes only as long as listing the
    files.

    Args:
        data: the folder, CSV or catalogue, as for `read_manifest`.
        deep: also decode five frames of every file, from the first to the last; this finds files that break off or show
            nothing, and near-identical files in different splits.
        frames: number of frames of a clip; shorter videos are listed.
        workers: processes that examine files; -1 is one per core, at most 16, and 0 examines them in this one.

    Returns:
        Statistics of every split, and the findings, errors first.

    Raises:
        KinemaError: there is nothing to examine (no such folder, no video in it, a CSV without its columns).
    """
    found = survey(data)
    manifest = found.manifest
    # Paths that cannot be reached are reported with the other unreadable files below.
    findings = [*(f for f in found.findings if f.code != UNREACHABLE), *check_labels(manifest)]
    absent = {path for f in found.findings if f.code == "no-file" for path in f.paths}
    files = [path for path in dict.fromkeys(s.path for s in manifest.samples) if path not in absent]
    broken: dict[str, str] = {}
    infos: dict[str, VideoInfo] = {}
    for path, answer in probe_all(files, manifest.source, workers=workers).items():
        if isinstance(answer, VideoInfo):
            infos[path] = answer
        else:
            broken[path] = answer.reason
    looks: dict[str, Entry] = {}
    if deep:
        looks = remembered("looks", infos, manifest.source, look, workers=workers)
        broken |= {path: entry["error"] for path, entry in looks.items() if "error" in entry}
    infos = {path: info for path, info in infos.items() if path not in broken}
    copies, lost = identical(infos, workers)
    broken |= lost
    if broken:
        message = f"{len(broken)} of {plural(len(files), 'file')} cannot be read: replace or remove"
        lines = tuple(f"{path}: {reason}" for path, reason in sorted(broken.items()))
        findings.append(Finding("error", "unreadable", message, lines))
    infos = {path: info for path, info in infos.items() if path not in broken}
    times = times_all(parts_of_variable(manifest, infos), manifest.source, workers=workers)
    findings += check_files(manifest, infos, frames, times)
    findings += check_frame_folders(infos)
    findings += _check_identical(manifest, copies)
    findings += _check_looks(manifest, {path: looks[path] for path in infos if path in looks}, infos, copies)
    splits = {name: manifest.split(name).samples for name in manifest.splits} or {"all": manifest.samples}
    return Diagnosis(
        source=manifest.source,
        splits={name: _summary(replace(manifest, samples=samples), infos) for name, samples in splits.items()},
        findings=tuple(sorted(findings, key=lambda f: f.severity)),
        held_out=manifest.held_out,
        looked=deep,
        files=len(files),
        labels=manifest.labels,
        order=manifest.order,
    )


def _check_identical(manifest: Manifest, copies: list[tuple[str, ...]]) -> list[Finding]:
    """Reports equal bytes: in two splits or under two labels they falsify results; within a split they count twice."""
    splits, labels = _members(manifest)
    across, within, torn = (list[tuple[str, tuple[str, ...]]]() for _ in range(3))  # a line, and a video to show
    for group in copies:
        line = _line(group, " = ", splits)
        names = sorted(set().union(*(labels[path] for path in group)))
        if len(names) > 1:
            torn.append((f"{line}: {' or '.join(names)}", group[:1]))
        if len(set().union(*(splits[path] for path in group))) > 1:
            across.append((line, group[:1]))
        elif len(names) == 1:
            within.append((line, group[:1]))
    shared = [f"{path}: {', '.join(sorted(names))}" for path, names in splits.items() if len(names) > 1]
    found = []
    if across:
        message = f"identical files are in different splits ({plural(len(across), 'group')}): keep each in one split"
        found.append(Finding("error", "identical-across-splits", message, *_columns(across)))
    if torn:
        message = f"identical files have different labels ({plural(len(torn), 'group')}): keep the correct label"
        found.append(Finding("error", "identical-with-other-label", message, *_columns(torn)))
    if within:
        message = f"identical files are in the same split ({plural(len(within), 'group')}): keep one of each"
        found.append(Finding("warning", "identical-in-split", message, *_columns(within)))
    if shared:
        message = f"parts of one video are in different splits ({plural(len(shared), 'video')}): keep each in one split"
        found.append(Finding("warning", "video-in-two-splits", message, tuple(shared)))
    return found


def _check_looks(
    manifest: Manifest, looks: Mapping[str, Entry], infos: Infos, copies: list[tuple[str, ...]]
) -> list[Finding]:
    """Reports videos that show nothing, and near-identical ones (that are not exact copies) in different splits."""
    if not looks:
        return []
    splits, _ = _members(manifest)
    paths = list(looks)
    pictures = stack_looks(looks.values())
    found = []
    blank = tuple(path for path, empty in zip(paths, is_blank(pictures), strict=True) if empty)
    if blank:
        message = f"{plural(len(blank), 'video')} with only one flat colour: replace or remove"
        found.append(Finding("warning", "blank", message, blank, tuple((path,) for path in blank)))
    where = ["/".join(sorted(splits[path])) for path in paths]
    groups = np.unique(where, return_inverse=True)[1]
    lengths = np.array([(infos[path].frames, infos[path].duration) for path in paths])
    copied = {path: number for number, group in enumerate(copies) for path in group}
    near = [
        (a, b)
        for a, b in ((paths[i], paths[j]) for i, j in near_pairs(pictures, groups, lengths))
        if not splits[a] & splits[b] and (a not in copied or copied[a] != copied.get(b))
    ]
    if near:
        message = f"near-identical videos are in different splits ({plural(len(near), 'pair')}): check them, keep one"
        lines = tuple(_line(pair, " ~ ", splits) for pair in near)
        found.append(Finding("warning", "near-identical", message, lines, tuple(near)))
    told = {path for group in (*near, *copies) for path in group}
    tested = {i for i, path in enumerate(paths) if splits[path] != {"train"}}
    scenes = {i: j for i, j in shared_scenes(pictures, groups).items() if i in tested and paths[i] not in told}
    if scenes:
        message = (
            f"{len(scenes)} of {plural(len(tested), 'video')} outside train "
            f"{'shows' if len(scenes) == 1 else 'show'} a scene that another split also shows"
        )
        message += ": the test then rewards knowing the place, so split by camera or source if possible"
        pairs = tuple((paths[i], paths[j]) for i, j in scenes.items())
        lines = tuple(_line(pair, " ~ ", splits) for pair in pairs)
        found.append(Finding("warning", "same-scene", message, lines, pairs))
    return found


def _columns(rows: list[tuple[str, tuple[str, ...]]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return tuple(line for line, _ in rows), tuple(videos for _, videos in rows)


def _line(paths: tuple[str, ...], between: str, splits: Mapping[str, set[str]]) -> str:
    return between.join(f"{path} ({'/'.join(sorted(splits[path]))})" for path in paths)


def _members(manifest: Manifest) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Returns the splits and the labels of every file."""
    splits: dict[str, set[str]] = defaultdict(set)
    labels: dict[str, set[str]] = defaultdict(set)
    for sample in manifest.samples:
        splits[sample.path].add(sample.split or "no split")
        labels[sample.path].add(sample.label)
    return splits, labels


def _summary(part: Manifest, infos: Infos) -> SplitSummary:
    readable = [(s, infos[s.path]) for s in part.samples if s.path in infos]
    seconds = [max(0.0, min(s.end or i.duration, i.duration) - (s.start or 0)) for s, i in readable]
    rates = [i.fps for _, i in readable]
    lengths = [i.frames for _, i in readable]
    sides = [min(i.width, i.height) for _, i in readable]
    return SplitSummary(
        samples=len(part.samples),
        classes=dict(sorted(Counter(label for s in part.samples for label in part.labels_of(s)).items())),
        hours=sum(seconds) / 3600,
        fps=(min(rates), median(rates), max(rates)) if rates else None,
        frames=(min(lengths), round(median(lengths)), max(lengths)) if lengths else None,
        short_side=(min(sides), round(median(sides)), max(sides)) if sides else None,
    )
