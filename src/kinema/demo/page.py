"""The page of the demo: a single HTML file without external files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kinema.evaluation.cost import Cost
from kinema.evaluation.latency import Latency, Ratio
from kinema.evaluation.metrics import Coverage
from kinema.evaluation.result import TestResult
from kinema.evaluation.statistics import Difference, McNemar, PairAccuracy
from kinema.recognizer import Prediction
from kinema.report import figures
from kinema.report.confusion import confusion
from kinema.report.markup import by_run, colours, environment, grid, image, table, tiles


@dataclass(frozen=True)
class Contestant:
    """One network of the demo with its results.

    Attributes:
        name: name of the model.
        history: the rows of its `metrics.csv`.
        test: result on the split `test`.
        speed: result on the split `speed`.
        pairs: direction accuracy in the reversal pairs of `test`.
        cost: parameters and MACs.
        latency: timings.
        seconds: duration of the training.
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
    """The content of the page.

    Attributes:
        contestants: the networks, the proposed one first.
        difference: accuracy of the first minus that of the second on `test`.
        mcnemar: McNemar's test of this difference.
        sheet: contact sheet of the data, PNG.
        strip: the frames of the predicted clip, PNG.
        prediction: prediction of the first network for one file.
        file: name of that file on the page.
        truth: its label.
        protocol: names and values of the settings.
        environment: machine and versions.
        ratio: time of the first network divided by that of the second.
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
    """Returns the page as HTML."""
    first, second = story.contestants
    inks = colours([c.name for c in story.contestants])
    histories = {c.name: c.history for c in story.contestants}
    shares = {c.name: {" / ".join(p): v for p, v in c.pairs.per_pair.items()} for c in story.contestants}
    test = first.test
    return (
        environment(__package__)
        .get_template("demo.html")
        .render(
            title="Kinema demo",
            first=first.name,
            second=second.name,
            tiles=tiles(_tile(c) for c in story.contestants),
            sheet=image(story.sheet.read_bytes(), "png", "contact sheet of the generated actions"),
            results=_results(story),
            difference=_difference(story),
            coverage=str(test.metrics.coverage),
            views=str(test.views),
            direction=figures.bars(shares, colours(list(shares)), guess=0.5),
            training=grid([figures.loss_curves(histories, inks), figures.top1_curves(histories, inks)]),
            confusions=grid(
                confusion(c.name, c.test.truth, c.test.predictions, c.test.labels) for c in story.contestants
            ),
            file=story.file,
            truth=story.truth,
            strip=image(story.strip.read_bytes(), "png", "frames of the clip"),
            scores=grid([figures.scores(story.prediction.top_k)]),
            costs=_costs(story),
            ratio=story.ratio,
            facts=table(
                ("", ""), [(k, str(v)) for k, v in {**story.protocol, **story.environment}.items()], numeric=False
            ),
        )
    )


def _tile(c: Contestant) -> tuple[str, str, list[str]]:
    m = c.test.metrics
    return c.name, f"{100 * c.pairs.overall:.1f} %", [
        f"direction in the pairs, {c.pairs.videos} videos",
        f"{100 * m.top1:.1f} % top-1, 95 % interval {100 * m.top1_interval[0]:.1f} to {100 * m.top1_interval[1]:.1f}",
    ]  # fmt: skip


def _results(story: Story) -> Markup:
    tests = [c.test.metrics for c in story.contestants]
    speeds = [c.speed.metrics for c in story.contestants]
    facts: dict[str, list[Any]] = {
        "top-1, %": [f"{100 * m.top1:.1f}" for m in tests],
        "95 % interval": [f"{100 * m.top1_interval[0]:.1f} to {100 * m.top1_interval[1]:.1f}" for m in tests],
        f"top-{tests[0].k}, %": [f"{100 * m.topk:.1f}" for m in tests],
        "mean class, %": [f"{100 * m.mean_class:.1f}" for m in tests],
        "direction in pairs, %": [f"{100 * c.pairs.overall:.1f}" for c in story.contestants],
        f"always predicting “{tests[0].majority.label}”, %": [f"{100 * m.majority.share:.1f}" for m in tests],
        "expected / read / failed": [_coverage(m.coverage) for m in tests],
        "split speed: top-1, %": [f"{100 * m.top1:.1f}" for m in speeds],
        "its expected / read / failed": [_coverage(m.coverage) for m in speeds],
    }
    return by_run([c.name for c in story.contestants], facts)


def _coverage(coverage: Coverage) -> str:
    return f"{coverage.expected} / {coverage.read} / {coverage.failed}"


def _difference(story: Story) -> str:
    d, m = story.difference, story.mcnemar
    a, b = (c.name for c in story.contestants)
    return (
        f"{a} minus {b}: {100 * d.difference:+.1f} points (95 % interval {100 * d.low:+.1f} to {100 * d.high:+.1f}); "
        f"McNemar's statistic {m.statistic:.1f}, p = {m.p:.2g}, exact p = {m.p_exact:.2g}."
    )


def _costs(story: Story) -> Markup:
    costs, latencies = [c.cost for c in story.contestants], [c.latency for c in story.contestants]
    facts: dict[str, list[Any]] = {
        "parameters": [f"{c.params / 1e6:.3f} M" for c in costs],
        "MACs per clip": [f"{c.macs / 1e6:.1f} M" for c in costs],
        "FLOPs": [f"{c.flops / 1e6:.1f} M" for c in costs],
        "latency p50, ms": [f"{m.p50_ms:.1f}" for m in latencies],
        "latency p95, ms": [f"{m.p95_ms:.1f}" for m in latencies],
        "clips / s": [f"{m.clips_per_s:.1f}" for m in latencies],
        "training, s": [f"{c.seconds:.0f}" for c in story.contestants],
    }
    return by_run([c.name for c in story.contestants], facts)
