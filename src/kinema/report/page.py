"""`render`: runs, their comparison and their features as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kinema import __version__
from kinema.data.manifest import data_name
from kinema.evaluation.calibration import BINS, calibration
from kinema.evaluation.comparison import Comparison
from kinema.evaluation.latency import Latency
from kinema.evaluation.many import ManyComparison
from kinema.evaluation.metrics import Metrics
from kinema.evaluation.multi_label import MultiLabelMetrics
from kinema.evaluation.set_comparison import SetComparison
from kinema.evaluation.set_many import ManySets
from kinema.evaluation.statistics import FEW
from kinema.evaluation.tested import Tested
from kinema.report import figures, sets
from kinema.report.confusion import MOST, confusion, most_confused
from kinema.report.embedding import NEIGHBOURS, Embedding, chance_purity
from kinema.report.explained import Explained
from kinema.report.facts import about_curves, cost, coverage, protocol, tested_as, versions
from kinema.report.letters import NOTE, needs_note
from kinema.report.many import grid_of_tests, groups
from kinema.report.markup import (
    by_run,
    caution,
    colours,
    environment,
    grid,
    joined,
    note,
    part,
    subtitle,
    table,
    tiles,
)
from kinema.report.runs import Run
from kinema.report.seen import faithfulness_table, frames_of_classes, mistakes_and_hits
from kinema.report.trade_off import Counted, trade_off
from kinema.training.module import VAL_MAP

BARS, GAINS, PAIRS = 40, 12, 15  # lines that a person still reads
SIDE = 3  # runs of which two tables have room beside each other


def render(
    runs: Sequence[Run],
    comparisons: Sequence[Comparison | SetComparison | str],
    embeddings: Sequence[Embedding],
    shown: Sequence[Explained] = (),
    frames: Mapping[str, bytes] | None = None,
    *,
    many: ManyComparison | ManySets | None = None,
    costs: Sequence[Counted] = (),
    times: Sequence[Latency | None] = (),
) -> str:
    """The page. Where videos have several labels, mAP stands in the place of accuracies.

    Args:
        runs: at least one; their tests are all of one label per video, or all of several.
        comparisons: of every later test with the first one; a sentence where the two cannot be compared.
        embeddings: of the features; empty where nobody asked for them.
        shown: what each run looked at; empty where nobody asked for it.
        frames: class -> JPEG, an example of it, the classes in the order in which they are shown.
        many: every two of more than two tests, and groups; None where there are fewer.
        costs: one per run; empty where nothing was counted.
        times: one per run; empty where nothing was measured.
    """
    tested = {run.name: run.test for run in runs if run.test is not None}
    metrics = {name: test.metrics for name, test in tested.items() if not test.result.multi_label}
    set_metrics = {name: test.set_metrics for name, test in tested.items() if test.result.multi_label}
    all_metrics: dict[str, Metrics | MultiLabelMetrics] = {**metrics, **set_metrics}
    found = [c for c in comparisons if isinstance(c, Comparison)]
    found_sets = [c for c in comparisons if isinstance(c, SetComparison)]
    refused = joined(caution(f"Not compared: {c}") for c in comparisons if isinstance(c, str))
    names = ", ".join(run.name for run in runs)
    inks = colours([run.name for run in runs])
    several = [sets.classes(tested, set_metrics, found_sets, inks)] if set_metrics else []
    costs, times = costs or [None] * len(runs), times or [None] * len(runs)
    return (
        environment()
        .get_template("report.html")
        .render(
            title=f"Kinema report: {names}",
            names=names,
            tiles=tiles(_tile(run, all_metrics.get(run.name)) for run in runs),
            missing=joined(note(sentence) for run in runs for sentence in run.missing),
            beside=len(runs) <= SIDE,
            accuracy=sets.accuracy(runs, set_metrics) if set_metrics else _accuracy(runs, metrics),
            comparison=joined([refused, _comparison(found), sets.comparison(found_sets)]),
            sections=[
                ("Groups", groups(many)),
                ("Every two runs", grid_of_tests(many)),
                ("Accuracy and cost", trade_off(runs, all_metrics, costs, times, inks)),
                ("Classes", joined([_classes(tested, metrics, found, inks), *several])),
                ("Examples of classes", frames_of_classes(frames or {}, metrics)),
                ("Confusion", Markup("") if set_metrics else _confusion(tested)),
                ("Calibration", _calibration(tested, inks)),
                ("Mistakes and hits", mistakes_and_hits(shown)),
                ("Verdicts on the explanation methods", faithfulness_table(shown)),
                ("Training", _training(runs, inks)),
                ("Features", _features(embeddings)),
                ("Cost", cost(runs, costs, times)),
                ("Coverage", coverage(runs, all_metrics)),
                ("Protocol", protocol(runs)),
                ("Versions", versions(runs)),
            ],
            version=__version__,
        )
    )


def _tile(run: Run, m: Metrics | MultiLabelMetrics | None) -> tuple[str, str, list[str]]:
    if m is None:
        return run.name, "–", ["not tested"]
    if isinstance(m, MultiLabelMetrics):
        what, figure, (low, high) = "mAP", m.mean_ap, m.mean_ap_interval
    else:
        what, figure, (low, high) = "top-1", m.top1, m.top1_interval
    test = tested_as(run)
    known = [
        " ".join(map(str, (data_name(str(test["data"])), test["split"]))) if "data" in test and "split" in test else "",
        f"{test['views']} views" if "views" in test else "",
    ]
    return run.name, f"{100 * figure:.1f} %", [
        f"{what}, 95 % interval {100 * low:.1f} to {100 * high:.1f}",
        str(m.coverage), ", ".join(filter(None, known)),
    ]  # fmt: skip


def _accuracy(runs: Sequence[Run], metrics: Mapping[str, Metrics]) -> Markup:
    if not metrics:
        return Markup("")
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
        "A video that could not be read counts as an error. Intervals of top-1: Wilson's. "
        "Most frequent label: the accuracy of always predicting it."
        + (" Absent: further videos in the annotation; they are left out of every figure." if absent else "")
    )


def _comparison(found: Sequence[Comparison]) -> Markup:
    if not found:
        return Markup("")
    first = found[0].first.name
    facts: dict[str, list[Any]] = {
        "videos compared": [c.videos for c in found],
        "difference, points": [f"{100 * c.difference.difference:+.1f}" for c in found],
        "95 % interval": [f"{100 * c.difference.low:+.1f} to {100 * c.difference.high:+.1f}" for c in found],
        "McNemar's statistic": [f"{c.mcnemar.statistic:.3f}" for c in found],
        "p": [f"{c.mcnemar.p:.2g}" for c in found],
        "p, exact binomial": [f"{c.mcnemar.p_exact:.2g}" for c in found],
        "both right": [c.mcnemar.table[0][0] for c in found],
        "only this one right": [c.mcnemar.table[0][1] for c in found],
        f"only {first} right": [c.mcnemar.table[1][0] for c in found],
        "both wrong": [c.mcnemar.table[1][1] for c in found],
    }
    remarks = joined(caution(remark + ".") for c in found for remark in c.remarks)
    several = (
        " These p values are not corrected for their number; those in the comparison of all pairs are."
        if len(found) > 1
        else ""
    )
    return (
        part("against", first)
        + remarks  # before the figures, which they may take the ground from
        + by_run([c.second.name for c in found], facts)
        + note(
            "McNemar's test with Edwards' correction; if the two disagree on fewer than "
            f"{FEW} videos, use the exact p. The interval of the difference: paired bootstrap over videos." + several
        )
    )


def _classes(
    tested: Mapping[str, Tested], metrics: Mapping[str, Metrics], found: Sequence[Comparison], inks: Mapping[str, str]
) -> Markup:
    if not metrics:
        return Markup("")
    recalls = {name: {c.label: c.recall for c in m.per_class if c.recall is not None} for name, m in metrics.items()}
    first = next(iter(recalls.values()))
    shown = sorted(first, key=lambda label: (first[label], label))[:BARS]
    title = "Recall, %" + (
        f": the {BARS} lowest of {len(first)} classes of {next(iter(tested))}" if len(first) > BARS else ""
    )
    ordered = {name: {label: values[label] for label in shown if label in values} for name, values in recalls.items()}
    ordered[next(iter(recalls))] = {label: first[label] for label in shown}
    drawn = [subtitle(title) + figures.bars(ordered, inks)]
    for c in found:
        drawn.append(_changes(c) + _hardest(c))
    small = "In a class with few videos, changes are largely due to chance." if found else ""
    labels = [label for values in recalls.values() for label in values]
    fonts = [note(NOTE)] if needs_note([*labels, *tested]) else []
    return joined([grid(one for one in drawn if one), *fonts, *([note(small)] if small else [])])


def _changes(c: Comparison) -> Markup:
    changed = [k for k in c.per_class if k.first != k.second]
    kept = changed if len(changed) <= 2 * GAINS else [*changed[:GAINS], *changed[-GAINS:]]
    if not kept:
        return Markup("")
    points = {k.label: 100 * (k.second - k.first) for k in kept}
    which = ", the largest changes" if len(kept) < len(changed) else ""
    title = f"{c.second.name} against {c.first.name}: {len(changed)} of {len(c.per_class)} classes changed{which}"
    return subtitle(title) + figures.gains(points)


def _hardest(c: Comparison) -> Markup:
    rows = [(" / ".join(p.labels), p.videos, p.first, p.second) for p in c.pairs[:PAIRS]]
    if not rows:
        return Markup("")
    shown = f" (the first {PAIRS} of {len(c.pairs)})" if len(c.pairs) > PAIRS else ""
    title = f"Hardest pairs: videos of either class classified as the other{shown}"
    return subtitle(title) + table(("classes", "videos", c.first.name, c.second.name), rows)


def _confusion(tested: Mapping[str, Tested]) -> Markup:
    if not tested:
        return Markup("")
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
    lead = f"Rows: true classes. Columns: predicted classes. Per cent of the row.{cut}"
    return part("paragraph", lead) + grid(parts)


def _calibration(tested: Mapping[str, Tested], inks: Mapping[str, str]) -> Markup:
    found = {name: calibration(test.result) for name, test in tested.items()}
    known = {name: one for name, one in found.items() if one is not None}
    if not known:
        return Markup("")
    ones = list(known.values())
    facts: dict[str, list[Any]] = {
        "expected calibration error, points": [f"{100 * one.ece:.1f}" for one in ones],
        "mean confidence, %": [f"{100 * one.confidence:.1f}" for one in ones],
        "accuracy on readable videos, %": [f"{100 * one.accuracy:.1f}" for one in ones],
        "predictions": [one.predictions for one in ones],
    }
    drawn = grid((figures.reliability(name, one, inks[name]) for name, one in known.items()), small=True)
    what = f"Predictions in {BINS} bins of their confidence, which is the score of the predicted label"
    if any(test.result.multi_label for test in tested.values()):
        what = f"Every label of every video is a prediction with its score as confidence, in {BINS} bins"
    small = (
        f"{what}: the share that is right, with Wilson's 95 % interval. Below the dashed line the scores are too high. "
        "The expected calibration error is the mean distance of the bins from that line, weighted by their "
        "predictions. Unreadable videos are left out."
    )
    return joined([drawn, by_run(list(known), facts), note(small)])


def _training(runs: Sequence[Run], inks: Mapping[str, str]) -> Markup:
    histories = {run.name: run.history for run in runs}
    if not any(histories.values()):
        return Markup("")
    several = any(run.card.get("multi_label") for run in runs)
    hits = "highest score is a true label" if several else "top-1"
    drawings = [figures.loss_curves(histories, inks), figures.top1_curves(histories, inks, hits)]
    if any(row.get(VAL_MAP) is not None for rows in histories.values() for row in rows):
        drawings.append(figures.map_curves(histories, inks))
    drawings.append(figures.rate_curves(histories, inks))
    facts: dict[str, list[Any]] = {
        "epochs": [len(rows) or None for rows in histories.values()],
        "time, s": [f"{sum(row['seconds'] or 0 for row in rows):.0f}" if rows else None for rows in histories.values()],
        "waiting for data, %": [f"{100 * _waited(rows):.1f}" if rows else None for rows in histories.values()],
    }
    drawn = grid(drawings, small=True)
    return drawn + joined(map(note, about_curves(runs))) + by_run(list(histories), facts)


def _waited(rows: Sequence[Mapping[str, Any]]) -> float:
    seconds = sum(row["seconds"] or 0 for row in rows)
    return sum((row["data_wait"] or 0) * (row["seconds"] or 0) for row in rows) / max(1e-9, seconds)


def _features(embeddings: Sequence[Embedding]) -> Markup:
    if not embeddings:
        return Markup("")
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
            "t-SNE of features of the central clip of each test video, from up to three positions: the input of the "
            "head, averaged over time and space, if it differs from the input of the classifier; the input of the "
            "classifier; and the logits. Distances between clusters mean little. Neighbours of the same class: mean "
            f"share of the {NEIGHBOURS} nearest videos, among the vectors themselves, with the class of the video."
        )
    )
