"""The sections of a page that differ where a video may have several labels: mAP in the place of accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kinema.evaluation.multi_label import MultiLabelMetrics
from kinema.evaluation.set_comparison import SetComparison
from kinema.evaluation.tested import Tested
from kinema.evaluation.thresholded import THRESHOLD, at_threshold
from kinema.report import figures
from kinema.report.letters import NOTE, needs_note
from kinema.report.markup import by_run, caution, grid, joined, note, part, subtitle, table
from kinema.report.runs import Run

BARS, GAINS = 40, 12  # lines that a person still reads


def accuracy(runs: Sequence[Run], metrics: Mapping[str, MultiLabelMetrics]) -> Markup:
    """The mAP of each run with its coverage, and how good its predictions are at the threshold.

    Args:
        runs: of the page.
        metrics: name -> figures, of those that are tested.
    """
    ms = [metrics.get(run.name) for run in runs]
    cut = [
        None if run.test is None
        else at_threshold(run.test.result.truth_sets, run.test.result.scores, run.test.result.labels)
        for run in runs
    ]  # fmt: skip
    absent = any(m.coverage.absent for m in metrics.values())
    facts: dict[str, list[Any]] = {
        "mAP, %": [m and f"{100 * m.mean_ap:.1f}" for m in ms],
        "95 % interval": [m and f"{100 * m.mean_ap_interval[0]:.1f} to {100 * m.mean_ap_interval[1]:.1f}" for m in ms],
        "classes that occur": [m and f"{m.classes_tested} of {len(m.per_class)}" for m in ms],
        "mAP of a random order, %": [m and f"{100 * m.chance:.1f}" for m in ms],
        "highest score is a true label, %": [m and f"{100 * m.hit1:.1f}" for m in ms],
        f"precision from {THRESHOLD:g} on, %": [c and (_percent(c.precision) or "no label predicted") for c in cut],
        f"recall from {THRESHOLD:g} on, %": [c and _percent(c.recall) for c in cut],
        f"F1 from {THRESHOLD:g} on, %": [c and _percent(c.f1) for c in cut],
        "all labels right, %": [c and _percent(c.exact) for c in cut],
        "videos expected": [m and m.coverage.expected for m in ms],
        "read": [m and m.coverage.read for m in ms],
        "failed": [m and m.coverage.failed for m in ms],
        "absent": [m and (m.coverage.absent or None) for m in ms],
        "views": [_views(run) for run in runs],
    }
    return by_run([run.name for run in runs], facts) + note(
        "A video that could not be read is never retrieved, and its labels count as missed. The mAP is the mean over "
        "the classes that occur in the test; its interval is a bootstrap over videos. With a few videos per class the "
        "mAP is higher than that of a large test; the interval corrects for it, and can lie below the mAP. Precision, "
        f"recall and F1 are of all labels together: a label is predicted where its score is at least {THRESHOLD:g}."
        + (" Absent: more videos that the annotation names; they are left out of every figure." if absent else "")
    )


def comparison(found: Sequence[SetComparison]) -> Markup:
    """Every later run against the first.

    Args:
        found: of the runs that can be compared.
    """
    if not found:
        return Markup("")
    facts: dict[str, list[Any]] = {
        "videos compared": [c.videos for c in found],
        "classes that occur": [c.classes for c in found],
        "mAP of the first, %": [f"{100 * c.first.mean_ap:.1f}" for c in found],
        "mAP, %": [f"{100 * c.second.mean_ap:.1f}" for c in found],
        "difference, points": [f"{100 * c.difference.difference:+.1f}" for c in found],
        "95 % interval": [f"{100 * c.difference.low:+.1f} to {100 * c.difference.high:+.1f}" for c in found],
        "p": [f"{c.difference.p:.2g}" for c in found],
    }
    several = " These p are not corrected for their number; those of every two runs are." if len(found) > 1 else ""
    return (
        part("against", found[0].first.name)
        + joined(caution(remark + ".") for c in found for remark in c.remarks)
        + by_run([c.second.name for c in found], facts)
        + note(f"Interval and p of the difference: paired bootstrap over videos.{several}")
    )


def classes(
    tested: Mapping[str, Tested], metrics: Mapping[str, MultiLabelMetrics], found: Sequence[SetComparison],
    inks: Mapping[str, str],
) -> Markup:  # fmt: skip
    """Average precision per class as bars, changes between runs, and a table per run with the number of videos.

    Args:
        tested: name -> test.
        metrics: name -> figures, of the same.
        found: every later run against the first.
        inks: run -> colour.
    """
    if not metrics:
        return Markup("")
    first_name, first = next(iter(metrics.items()))
    known = {c.label: c.average_precision for c in first.per_class if c.average_precision is not None}
    shown = sorted(known, key=lambda label: (known[label], label))[:BARS]
    cut = f": the {BARS} lowest of {len(known)} classes of {first_name}" if len(known) > BARS else ""
    parts: list[Markup] = []
    if shown:
        named = {c.label: f"{c.label} ({c.videos})" for c in first.per_class}
        values = {
            name: {
                named[c.label]: c.average_precision
                for c in sorted(m.per_class, key=lambda c: shown.index(c.label) if c.label in shown else BARS)
                if c.label in shown and c.average_precision is not None
            }
            for name, m in metrics.items()
        }
        parts.append(subtitle(f"Average precision, % (videos that show the class){cut}") + figures.bars(values, inks))
    parts += [_changes(c) for c in found]
    parts += [_table(test, metrics[name], shown) for name, test in tested.items()]
    fonts = [note(NOTE)] if needs_note([*known, *tested]) else []
    small = [note("Where a class has few videos, much of a change is chance.")] if found else []
    return joined([grid(one for one in parts if one), *fonts, *small, *map(_without, metrics.items())])


def _table(test: Tested, m: MultiLabelMetrics, shown: Sequence[str]) -> Markup:
    precisions = {c.label: c for c in m.per_class}
    counts = {
        c.label: c for c in at_threshold(test.result.truth_sets, test.result.scores, test.result.labels).per_class
    }
    rows = [
        (label, counts[label].videos, precisions[label].failed or None, _percent(precisions[label].average_precision),
         counts[label].predicted, _percent(counts[label].precision), _percent(counts[label].recall))
        for label in shown
        if label in counts
    ]  # fmt: skip
    head = ("class", "videos", "unreadable", "AP, %", "predicted", "precision, %", "recall, %")
    kept = [i for i, name in enumerate(head) if name != "unreadable" or any(row[i] for row in rows)]
    return subtitle(test.name) + table([head[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _changes(c: SetComparison) -> Markup:
    changed = [k for k in c.per_class if k.first != k.second]
    kept = changed if len(changed) <= 2 * GAINS else [*changed[:GAINS], *changed[-GAINS:]]
    if not kept:
        return Markup("")
    which = ", the largest changes" if len(kept) < len(changed) else ""
    title = f"{c.second.name} against {c.first.name}: {len(changed)} of {c.classes} classes changed{which}"
    return subtitle(title) + figures.gains({k.label: 100 * (k.second - k.first) for k in kept}, "average precision")


def _without(entry: tuple[str, MultiLabelMetrics]) -> Markup:
    name, m = entry
    labels = [c.label for c in m.per_class if not c.videos]
    if not labels:
        return Markup("")
    number = "1 class" if len(labels) == 1 else f"{len(labels)} classes"
    named = ", ".join(labels[:GAINS]) + (", …" if labels[GAINS:] else "")
    return note(f"{name}: {number} without a video in the test: {named}. They are not in the mAP.")


def _views(run: Run) -> str | None:
    test = {} if run.test is None else run.test.document.get("test", {})
    return test.get("views") if isinstance(test, Mapping) else None


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}"
