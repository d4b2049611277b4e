"""The demo's page: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.demo import figures
from kinema.evaluation.cost import Cost
from kinema.evaluation.latency import Latency
from kinema.evaluation.metrics import Coverage, confusion_matrix
from kinema.evaluation.runner import TestResult
from kinema.evaluation.statistics import Difference, McNemar, PairAccuracy
from kinema.recognizer import Prediction


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


def write_page(story: Story, path: Path) -> None:
    """Writes the page to `path`."""
    path.write_text(render(story), encoding="utf-8")


def render(story: Story) -> str:
    """The page as text."""
    first, second = story.contestants
    labels = first.test.labels
    matrices = {c.name: _confusion(c.test) for c in story.contestants}
    pair_values = {c.name: {" / ".join(p): v for p, v in c.pairs.per_pair.items()} for c in story.contestants}
    coverage = first.test.metrics.coverage
    parts = [
        f"<h1>Kinema demo</h1><p class=lead>{escape(first.name)}, which sees motion, and {escape(second.name)}, which "
        f"averages frames, trained for the same number of epochs on the same generated clips. Five pairs of actions "
        f"are each other played backwards, and the test holds the exact reversal of every such clip: a network that "
        f"ignores order is right in half of them, whatever it has learned.</p>",
        _tiles(story),
        "<h2>The clips</h2><p>Eight evenly spaced frames of one test clip of each action.</p>",
        f"<img src='{_png(story.sheet)}' alt='contact sheet of the generated actions'>",
        f"<h2>Accuracy on the test split</h2>{_results(story)}",
        f"<p>{_difference(story)}</p>"
        f"<p class=note>Coverage: {coverage}. A video that cannot be read counts as an error. "
        f"Views: {escape(str(first.test.views))}.</p>",
        f"<h2>Direction inside the reversal pairs</h2>{figures.pairs(pair_values)}",
        f"<h2>Training</h2>{figures.curves({c.name: c.history for c in story.contestants})}",
        f"<h2>Confusion</h2><p>Rows: what is shown. Columns: what the network said. Per cent of the row.</p>"
        f"<div class=wide>{figures.confusion(matrices, labels)}</div>",
        f"<h2>One file</h2><p><code>kinema predict</code> on <code>{escape(story.file)}</code>, which shows "
        f"<b>{escape(story.truth)}</b>; the frames that {escape(first.name)} saw:</p>"
        f"<img src='{_png(story.strip)}' alt='frames of the clip'>{figures.scores(story.prediction.top_k)}",
        f"<h2>Cost</h2>{_costs(story)}",
        f"<h2>Protocol and versions</h2>{_facts({**story.protocol, **story.environment})}",
    ]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>Kinema demo</title>{_STYLE}"
    return f"{head}<main>{''.join(parts)}</main></html>\n"


def _confusion(result: TestResult) -> NDArray[np.int64]:
    """Of the videos that could be read."""
    read = np.array([error is None for error in result.errors])
    return confusion_matrix(result.targets[read], result.scores[read].argmax(1), len(result.labels))


def _tiles(story: Story) -> str:
    tiles = []
    for c in story.contestants:
        m = c.test.metrics
        tiles.append(
            f"<div class=tile><div class=name>{escape(c.name)}</div><div class=big>{100 * c.pairs.overall:.1f} %</div>"
            f"<div>direction inside pairs, {c.pairs.videos} videos</div>"
            f"<div class=mid>{100 * m.top1:.1f} % top-1</div>"
            f"<div>95 % interval {100 * m.top1_interval[0]:.1f} to {100 * m.top1_interval[1]:.1f}</div></div>"
        )
    return f"<div class=tiles>{''.join(tiles)}</div>"


def _results(story: Story) -> str:
    rows = []
    for c in story.contestants:
        m, s = c.test.metrics, c.speed.metrics
        rows.append(
            (c.name, f"{100 * m.top1:.1f} [{100 * m.top1_interval[0]:.1f}, {100 * m.top1_interval[1]:.1f}]",
             f"{100 * m.topk:.1f}", f"{100 * m.mean_class:.1f}", f"{100 * c.pairs.overall:.1f}",
             _coverage(m.coverage), f"{100 * s.top1:.1f} ({_coverage(s.coverage)})")
        )  # fmt: skip
    majority = story.contestants[0].test.metrics.majority
    rows.append((f"always “{majority.label}”", f"{100 * majority.share:.1f}", "", "", "", "", ""))
    head = ("network", "top-1, % [95 %]", f"top-{story.contestants[0].test.metrics.k}, %", "mean class, %",
            "direction in pairs, %", "expected / read / failed", "split speed: top-1, %")  # fmt: skip
    return _table(head, rows)


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
    head = (
        "network",
        "parameters",
        "MACs of a clip",
        "FLOPs",
        "latency p50, ms",
        "p95, ms",
        "clips / s",
        "training, s",
    )
    rows = [
        (c.name, f"{c.cost.params / 1e6:.3f} M", f"{c.cost.macs / 1e6:.1f} M", f"{c.cost.flops / 1e6:.1f} M",
         f"{c.latency.p50_ms:.1f}", f"{c.latency.p95_ms:.1f}", f"{c.latency.clips_per_s:.1f}", f"{c.seconds:.0f}")
        for c in story.contestants
    ]  # fmt: skip
    return _table(head, rows) + (
        "<p class=note>1 MAC = 2 FLOPs; convolutions and linear layers of one view are counted. "
        "Latency: one clip at a time, in the same run on this machine.</p>"
    )


def _facts(facts: Mapping[str, Any]) -> str:
    return _table(("", ""), [(k, str(v)) for k, v in facts.items()], numeric=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: bool = True) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if numeric and i else ''}>{escape(value)}</{tag}>" for i, value in enumerate(row)
        )

    header = f"<tr>{cells('th', head)}</tr>" if any(head) else ""
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<div class=wide><table>{header}{body}</table></div>"


def _png(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


_STYLE = """<meta name=viewport content='width=device-width'><style>
body{margin:0;background:#f8fafc;color:#1f2937;font:15px/1.55 system-ui,sans-serif}
main{max-width:980px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:30px;margin:0 0 6px}h2{font-size:19px;margin:38px 0 8px}
.lead{font-size:16px;color:#374151;max-width:75ch}.note{color:#6b7280;font-size:13px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:16px;margin:22px 0}
.tile{background:#fff;border:1px solid #e5e7eb;border-radius:10px;padding:16px 20px}
.tile:first-child{border-top:3px solid #2563eb}.tile:last-child{border-top:3px solid #d97706}
.name{font-weight:600}.big{font-size:38px;font-weight:700;line-height:1.25}.mid{font-weight:600;margin-top:8px}
img{max-width:100%;border-radius:8px;border:1px solid #e5e7eb;background:#fff}svg{max-width:100%;height:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;background:#fff;font-size:14px;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid #e5e7eb;padding:6px 12px;text-align:left;vertical-align:top}
th{font-size:12px;color:#6b7280}
.n{text-align:right;white-space:nowrap}code{background:#eef2f7;padding:1px 5px;border-radius:4px}
</style>"""
