"""The demo's page: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from kinema.evaluation.cost import Cost
from kinema.evaluation.latency import Latency, Ratio
from kinema.evaluation.metrics import Coverage
from kinema.evaluation.result import TestResult
from kinema.evaluation.statistics import Difference, McNemar, PairAccuracy
from kinema.recognizer import Prediction
from kinema.report import figures
from kinema.report.confusion import confusion
from kinema.report.markup import by_run, colours, grid, note, page, section, table, tiles


@dataclass(frozen=True)
class Contestant:
    """One network of the demo and all that was measured of it.

    Attributes:
        name: of the model.
        history: the rows of its `metrics.csv`.
        test: result on the split `test`.
        speed: result on the split `speed`.
        pairs: direction accuracy inside the reversal pairs of `test`.
        cost: counts.
        latency: timings.
        seconds: of training.
    """

    name: str
    history: Sequence[Mapping[str, Any]]
    test: TestResult
    speed: TestResult
    pairs: PairAccuracy
    cost: Cost
    latency: Latency
    seconds: float


@dataclass(frozen=True)
class Story:
    """Everything the page tells.

    Attributes:
        contestants: the networks, the proposed one first.
        difference: accuracy of the first minus that of the second on `test`.
        mcnemar: the test of whether they differ.
        sheet: contact sheet of the data, PNG.
        strip: the frames that the predicted clip is made of, PNG.
        prediction: of the first network on one file.
        file: that file, as it is named on the page.
        truth: its label.
        protocol: names and values of what was fixed.
        environment: machine and versions.
        ratio: time of the first network over that of the second.
    """

    contestants: Sequence[Contestant]
    difference: Difference
    mcnemar: McNemar
    sheet: Path
    strip: Path
    prediction: Prediction
    file: str
    truth: str
    protocol: Mapping[str, Any]
    environment: Mapping[str, Any]
    ratio: Ratio


def write_page(story: Story, path: Path) -> None:
    """Writes the page to `path`."""
    path.write_text(render(story), encoding="utf-8")


def render(story: Story) -> str:
    """The page as text."""
    first, second = story.contestants
    inks = colours([c.name for c in story.contestants])
    histories = {c.name: c.history for c in story.contestants}
    parts = [
        f"<h1>Kinema demo</h1><p class=lead>{escape(first.name)}, which sees motion, and {escape(second.name)}, which "
        f"averages frames, trained for the same number of epochs on the same generated clips. Five pairs of actions "
        f"are each other played backwards, and the test holds the exact reversal of every such clip: a network that "
        f"ignores order is right in half of them, whatever it has learned.</p>",
        tiles(_tile(c) for c in story.contestants),
        "<h2>The clips</h2><p>Eight evenly spaced frames of one test clip of each action.</p>",
        f"<img src='{_png(story.sheet)}' alt='contact sheet of the generated actions'>",
        grid((_accuracy(story), _direction(story))),
        "<h2>Training</h2>",
        grid([figures.loss_curves(histories, inks), figures.top1_curves(histories, inks)]),
        "<h2>Confusion</h2><p>Rows: what is shown. Columns: what the network said. Per cent of the row.</p>",
        grid(_confusion(c) for c in story.contestants),
        f"<h2>One file</h2><p><code>kinema predict</code> on <code>{escape(story.file)}</code>, which shows "
        f"<b>{escape(story.truth)}</b>; the frames that {escape(first.name)} saw:</p>"
        f"<img src='{_png(story.strip)}' alt='frames of the clip'>{grid([figures.scores(story.prediction.top_k)])}",
        f"<h2>Cost</h2>{_costs(story)}",
        f"<h2>Protocol and versions</h2>{_facts({**story.protocol, **story.environment})}",
    ]
    return page("Kinema demo", parts)


def _tile(c: Contestant) -> tuple[str, str, list[str]]:
    m = c.test.metrics
    return c.name, f"{100 * c.pairs.overall:.1f} %", [
        f"direction inside pairs, {c.pairs.videos} videos",
        f"{100 * m.top1:.1f} % top-1, 95 % interval {100 * m.top1_interval[0]:.1f} to {100 * m.top1_interval[1]:.1f}",
    ]  # fmt: skip


def _confusion(c: Contestant) -> str:
    return confusion(c.name, c.test.truth, c.test.predictions, c.test.labels)


def _accuracy(story: Story) -> str:
    test = story.contestants[0].test
    small = f"Coverage: {test.metrics.coverage}. A video that cannot be read counts as an error. Views: {test.views}."
    return section("Accuracy on the test split", _results(story), f"<p>{_difference(story)}</p>", note(small))


def _direction(story: Story) -> str:
    shares = {c.name: {" / ".join(p): v for p, v in c.pairs.per_pair.items()} for c in story.contestants}
    lead = "<p>Per cent of the videos of each pair; the line is what guessing gives.</p>"
    return section("Direction inside the reversal pairs", lead, figures.bars(shares, colours(list(shares)), guess=0.5))


def _results(story: Story) -> str:
    tests = [c.test.metrics for c in story.contestants]
    speeds = [c.speed.metrics for c in story.contestants]
    facts: dict[str, list[Any]] = {
        "top-1, %": [f"{100 * m.top1:.1f}" for m in tests],
        "95 % interval": [f"{100 * m.top1_interval[0]:.1f} to {100 * m.top1_interval[1]:.1f}" for m in tests],
        f"top-{tests[0].k}, %": [f"{100 * m.topk:.1f}" for m in tests],
        "mean class, %": [f"{100 * m.mean_class:.1f}" for m in tests],
        "direction in pairs, %": [f"{100 * c.pairs.overall:.1f}" for c in story.contestants],
        f"always “{tests[0].majority.label}”, %": [f"{100 * m.majority.share:.1f}" for m in tests],
        "expected / read / failed": [_coverage(m.coverage) for m in tests],
        "split speed: top-1, %": [f"{100 * m.top1:.1f}" for m in speeds],
        "its expected / read / failed": [_coverage(m.coverage) for m in speeds],
    }
    return by_run([c.name for c in story.contestants], facts)


def _coverage(coverage: Coverage) -> str:
    return f"{coverage.expected} / {coverage.read} / {coverage.failed}"


def _difference(story: Story) -> str:
    d, m = story.difference, story.mcnemar
    a, b = (escape(c.name) for c in story.contestants)
    return (
        f"{a} is {100 * d.difference:+.1f} points from {b} (95 % interval {100 * d.low:+.1f} to {100 * d.high:+.1f}); "
        f"McNemar's statistic {m.statistic:.1f}, p = {m.p:.2g}, exact p = {m.p_exact:.2g}."
    )


def _costs(story: Story) -> str:
    costs, latencies = [c.cost for c in story.contestants], [c.latency for c in story.contestants]
    facts: dict[str, list[Any]] = {
        "parameters": [f"{c.params / 1e6:.3f} M" for c in costs],
        "MACs of a clip": [f"{c.macs / 1e6:.1f} M" for c in costs],
        "FLOPs": [f"{c.flops / 1e6:.1f} M" for c in costs],
        "latency p50, ms": [f"{m.p50_ms:.1f}" for m in latencies],
        "latency p95, ms": [f"{m.p95_ms:.1f}" for m in latencies],
        "clips / s": [f"{m.clips_per_s:.1f}" for m in latencies],
        "training, s": [f"{c.seconds:.0f}" for c in story.contestants],
    }
    (first, second), ratio = (escape(c.name) for c in story.contestants), story.ratio
    compared = (
        f"<p>{first} takes {ratio.median:.2f} times as long as {second} where the two take turns (the middle half of "
        f"the turns: {ratio.low:.2f} to {ratio.high:.2f}).</p>"
    )
    return (
        by_run([c.name for c in story.contestants], facts)
        + compared
        + note(
            "1 MAC = 2 FLOPs; convolutions and linear layers of one view are counted. Latency: one clip at a time, one "
            "network after the other; on a machine that does other things compare by the turns."
        )
    )


def _facts(facts: Mapping[str, Any]) -> str:
    return table(("", ""), [(k, str(v)) for k, v in facts.items()], numeric=False)


def _png(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
