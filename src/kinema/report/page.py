"""`render`: runs, their comparison and their features as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kinema import __version__
from kinema.data.manifest import data_name
from kinema.evaluation.comparison import Comparison
from kinema.evaluation.metrics import Metrics
from kinema.evaluation.statistics import FEW
from kinema.evaluation.tested import Tested
from kinema.report import figures
from kinema.report.confusion import MOST, confusion, most_confused
from kinema.report.embedding import NEIGHBOURS, Embedding, chance_purity
from kinema.report.explained import Explained
from kinema.report.facts import about_curves, cost, coverage, protocol, tested_as, versions
from kinema.report.letters import NOTE, needs_note
from kinema.report.markup import by_run, caution, colours, grid, note, page, section, table, tiles
from kinema.report.runs import Run
from kinema.report.seen import faithfulness_table, frames_of_classes, mistakes_and_hits

BARS, GAINS, PAIRS = 40, 12, 15  # lines that a person still reads
SIDE = 3  # runs of which two tables have room beside each other


def render(
    runs: Sequence[Run],
    comparisons: Sequence[Comparison | str],
    embeddings: Sequence[Embedding],
    shown: Sequence[Explained] = (),
    frames: Mapping[str, bytes] | None = None,
) -> str:
    """The page.

    Args:
        runs: at least one.
        comparisons: of every later test with the first one; a sentence where the two cannot be compared.
        embeddings: of the features; empty where nobody asked for them.
        shown: what each run looked at; empty where nobody asked for it.
        frames: class -> JPEG, an example of it, the classes in the order in which they are shown.
    """
    tested = {run.name: run.test for run in runs if run.test is not None}
    metrics = {name: test.metrics for name, test in tested.items()}
    found = [c for c in comparisons if isinstance(c, Comparison)]
    refused = "".join(caution(f"Not compared: {c}") for c in comparisons if isinstance(c, str))
    names = ", ".join(run.name for run in runs)
    inks = colours([run.name for run in runs])
    missing = [sentence for run in runs for sentence in run.missing]
    both = [section("Accuracy", _accuracy(runs, metrics)), section("Comparison", refused, _comparison(found))]
    return page(
        f"Kinema report: {names}",
        (
            f"<h1>Kinema report</h1><p class=lead>{escape(names)}</p>",
            tiles(_tile(run, metrics.get(run.name)) for run in runs),
            section("What is missing", "".join(note(sentence) for sentence in missing)),
            *(both if len(runs) > SIDE else [grid(both)]),
            section("Classes", _classes(tested, metrics, found, inks)),
            section("Examples of classes", frames_of_classes(frames or {}, metrics)),
            section("Confusion", _confusion(tested)),
            section("Mistakes and hits", mistakes_and_hits(shown)),
            section("How far the maps can be believed", faithfulness_table(shown)),
            section("Training", _training(runs, inks)),
            section("Features", _features(embeddings)),
            section("Cost", cost(runs)),
            section("Coverage", coverage(runs, metrics)),
            section("Protocol", protocol(runs)),
            section("Versions", versions(runs)),
            note(f"Written by kinema {__version__}."),
        ),
    )


def _tile(run: Run, m: Metrics | None) -> tuple[str, str, list[str]]:
    if m is None:
        return run.name, "–", ["not tested"]
    low, high = m.top1_interval
    test = tested_as(run)
    known = [
        " ".join(map(str, (data_name(str(test["data"])), test["split"]))) if "data" in test and "split" in test else "",
        f"{test['views']} views" if "views" in test else "",
    ]
    return run.name, f"{100 * m.top1:.1f} %", [
        f"top-1, 95 % interval {100 * low:.1f} to {100 * high:.1f}", str(m.coverage), ", ".join(filter(None, known)),
    ]  # fmt: skip


def _accuracy(runs: Sequence[Run], metrics: Mapping[str, Metrics]) -> str:
    if not metrics:
        return ""
    ms = [metrics.get(run.name) for run in runs]
    top_k = " / ".join(sorted({f"top-{m.k}" for m in ms if m}))
    absent = any(m.coverage.absent for m in metrics.values())
    facts: dict[str, list[Any]] = {
        "top-1, %": [m and f"{100 * m.top1:.1f}" for m in ms],
        "95 % interval": [m and f"{100 * m.top1_interval[0]:.1f} to {100 * m.top1_interval[1]:.1f}" for m in ms],
        f"{top_k}, %": [m and f"{100 * m.topk:.1f}" for m in ms],
        "mean class, %": [m and f"{100 * m.mean_class:.1f}" for m in ms],
        "most frequent label, %": [m and f"{100 * m.majority.share:.1f}" for m in ms],
        "videos expected": [m and m.coverage.expected for m in ms],
        "read": [m and m.coverage.read for m in ms],
        "failed": [m and m.coverage.failed for m in ms],
        "absent": [m and (m.coverage.absent or None) for m in ms],
        "views": [tested_as(run).get("views") for run in runs],
    }
    return by_run([run.name for run in runs], facts) + note(
        "A video that could not be read counts as an error. Intervals: bootstrap over videos, exact where all are "
        "right or none. "
        "Most frequent label: what always naming it would give."
        + (" Absent: more videos that the annotation names; they are left out of every figure." if absent else "")
    )


def _comparison(found: Sequence[Comparison]) -> str:
    if not found:
        return ""
    first = found[0].first.name
    facts: dict[str, list[Any]] = {
        "videos compared": [c.videos for c in found],
        "difference, points": [f"{100 * c.difference.difference:+.1f}" for c in found],
        "95 % interval": [f"{100 * c.difference.low:+.1f} to {100 * c.difference.high:+.1f}" for c in found],
        "McNemar's statistic": [f"{c.mcnemar.statistic:.3f}" for c in found],
        "p": [f"{c.mcnemar.p:.2g}" for c in found],
        "p, exact binomial": [f"{c.mcnemar.p_exact:.2g}" for c in found],
        "both right": [c.mcnemar.table[0][0] for c in found],
        "this one alone right": [c.mcnemar.table[0][1] for c in found],
        f"{first} alone right": [c.mcnemar.table[1][0] for c in found],
        "both wrong": [c.mcnemar.table[1][1] for c in found],
    }
    remarks = "".join(caution(remark + ".") for c in found for remark in c.remarks)
    several = " The p values are not corrected for their number." if len(found) > 1 else ""
    return (
        f"<p>Against <b>{escape(first)}</b>, video by video:</p>"
        + remarks  # before the figures, which they may take the ground from
        + by_run([c.second.name for c in found], facts)
        + note(
            "McNemar's test with Edwards' correction; where the two disagree on fewer than "
            f"{FEW} videos, go by the exact p. The interval of the difference: paired bootstrap over videos." + several
        )
    )


def _classes(
    tested: Mapping[str, Tested], metrics: Mapping[str, Metrics], found: Sequence[Comparison], inks: Mapping[str, str]
) -> str:
    if not metrics:
        return ""
    recalls = {name: {c.label: c.recall for c in m.per_class if c.recall is not None} for name, m in metrics.items()}
    first = next(iter(recalls.values()))
    shown = sorted(first, key=lambda label: (first[label], label))[:BARS]
    title = "Recall, %" + (
        f": the {BARS} lowest of {len(first)} classes of {next(iter(tested))}" if len(first) > BARS else ""
    )
    ordered = {name: {label: values[label] for label in shown if label in values} for name, values in recalls.items()}
    ordered[next(iter(recalls))] = {label: first[label] for label in shown}
    drawn = [f"<h3>{escape(title)}</h3>{figures.bars(ordered, inks)}"]
    for c in found:
        drawn.append(_changes(c) + _hardest(c))
    small = "Where a class has few videos, much of a change is chance." if found else ""
    labels = [label for values in recalls.values() for label in values]
    fonts = note(NOTE) if needs_note([*labels, *tested]) else ""
    return grid(part for part in drawn if part) + fonts + (note(small) if small else "")


def _changes(c: Comparison) -> str:
    changed = [k for k in c.per_class if k.first != k.second]
    kept = changed if len(changed) <= 2 * GAINS else [*changed[:GAINS], *changed[-GAINS:]]
    if not kept:
        return ""
    points = {k.label: 100 * (k.second - k.first) for k in kept}
    which = ", the largest changes" if len(kept) < len(changed) else ""
    title = f"{c.second.name} against {c.first.name}: {len(changed)} of {len(c.per_class)} classes changed{which}"
    return f"<h3>{escape(title)}</h3>{figures.gains(points)}"


def _hardest(c: Comparison) -> str:
    rows = [(" / ".join(p.labels), p.videos, p.first, p.second) for p in c.pairs[:PAIRS]]
    if not rows:
        return ""
    shown = f" (the first {PAIRS} of {len(c.pairs)})" if len(c.pairs) > PAIRS else ""
    title = f"<h3>Hardest pairs: videos of either class taken for the other{shown}</h3>"
    return title + table(("classes", "videos", c.first.name, c.second.name), rows)


def _confusion(tested: Mapping[str, Tested]) -> str:
    if not tested:
        return ""
    labels = {test.result.labels for test in tested.values()}
    parts, cut = [], ""
    alike = len(labels) == 1 and len({test.result.truth for test in tested.values()}) == 1
    answers = [test.result.predictions for test in tested.values()]
    for name, test in tested.items():
        s = test.result
        shown = most_confused(s.truth, answers if alike else [s.predictions], s.labels)
        if len(shown) < len(s.labels):
            cut = f" The {MOST} of {len(s.labels)} classes with the most errors."
        parts.append(confusion(name, s.truth, s.predictions, shown))
    lead = f"<p>Rows: what is shown. Columns: what the network said. Per cent of the row.{cut}</p>"
    return lead + grid(parts)


def _training(runs: Sequence[Run], inks: Mapping[str, str]) -> str:
    histories = {run.name: run.history for run in runs}
    if not any(histories.values()):
        return ""
    curves = (figures.loss_curves, figures.top1_curves, figures.rate_curves)
    facts: dict[str, list[Any]] = {
        "epochs": [len(rows) or None for rows in histories.values()],
        "time, s": [f"{sum(row['seconds'] or 0 for row in rows):.0f}" if rows else None for rows in histories.values()],
        "waiting for data, %": [f"{100 * _waited(rows):.1f}" if rows else None for rows in histories.values()],
    }
    drawn = grid((draw(histories, inks) for draw in curves), small=True)
    return drawn + "".join(map(note, about_curves(runs))) + by_run(list(histories), facts)


def _waited(rows: Sequence[Mapping[str, Any]]) -> float:
    seconds = sum(row["seconds"] or 0 for row in rows)
    return sum((row["data_wait"] or 0) * (row["seconds"] or 0) for row in rows) / max(1e-9, seconds)


def _features(embeddings: Sequence[Embedding]) -> str:
    if not embeddings:
        return ""
    facts: dict[str, list[Any]] = {
        "videos": [len(e.truth) for e in embeddings],
        "unreadable": [e.unread or None for e in embeddings],
        "classes": [len(e.labels) for e in embeddings],
        "neighbours of the same class, %": [f"{100 * e.purity:.1f}" for e in embeddings],
        "by chance, %": [f"{100 * chance_purity(e.truth):.1f}" for e in embeddings],
    }
    classes = sorted({label for e in embeddings for label in e.labels})
    return (
        grid(figures.scatter(f"{e.name}: {e.space}", e.points, e.truth, classes) for e in embeddings)
        + figures.class_legend(classes)
        + by_run([f"{e.name}: {e.space}" for e in embeddings], facts)
        + note(
            "t-SNE of what the network makes of the central clip of each test video: what its head reads, averaged "
            "over time and space, where that is not what the classifier reads; what the classifier reads; and the "
            "logits. Distances between clusters say little; neighbours of the same class: the mean share of the "
            f"{NEIGHBOURS} nearest videos, among the vectors themselves, that show the class of the video."
        )
    )
