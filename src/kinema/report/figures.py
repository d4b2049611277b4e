"""Figures as SVG text, drawn for a narrow screen: about 460 pixels wide, with letters that can be read at that size."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from kinema.evaluation.calibration import Calibration
from kinema.report.letters import Letters
from kinema.report.markup import COLOURS, part
from kinema.training.module import VAL_MAP

CLASS_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#6b7280", "#a3a30f",
                 "#17becf")  # fmt: skip
INK, PALE = "#1f2937", "#e5e7eb"
History = Sequence[Mapping[str, Any]]  # the rows of a `metrics.csv`

_WIDTH = 4.8  # inches of 96 pixels
_RASTER = 1500  # points from which on a scatter is a picture inside the SVG
_BESIDE = 7  # points between two marks of the same cost
_CLOSE = 0.03  # of the width of an axis: marks that lie closer hide each other
_MARKED = 40  # epochs up to which each has its mark
# A person's own settings, such as a Chinese font for all figures, have not the letters that `Letters` counts on.
_own_style = matplotlib.rc_context(
    {
        "font.family": ["sans-serif"], "font.sans-serif": matplotlib.rcParamsDefault["font.sans-serif"],
        "text.usetex": False, "svg.fonttype": "none", "svg.hashsalt": "kinema",
    }
)  # fmt: skip


@_own_style
def loss_curves(histories: Mapping[str, History], colours: Mapping[str, str]) -> Markup:
    """Training loss, epoch by epoch; one line a run."""
    axes, letters = _axes(2.6, "training loss"), Letters()
    for i, (name, rows) in enumerate(histories.items()):
        _line(axes, rows, "train_loss", 1, color=colours[name], marker=_mark(i), label=letters(name))
    axes.set_ylim(bottom=0)
    _legend_below(axes, len(histories))
    return _svg(axes, letters)


@_own_style
def top1_curves(histories: Mapping[str, History], colours: Mapping[str, str], what: str = "top-1") -> Markup:
    """Top-1 on the training clips and, dashed, on the validation videos where there are any."""
    validated = any(row.get("val_top1") is not None for rows in histories.values() for row in rows)
    axes = _axes(2.6, f"{what}, %: training clips" + (", dashed: validation videos" if validated else ""))
    for i, (name, rows) in enumerate(histories.items()):
        _line(axes, rows, "train_top1", 100, color=colours[name], marker=_mark(i))
        _line(axes, rows, "val_top1", 100, color=colours[name], marker=_mark(i), linestyle="--")
    axes.set_ylim(0, 102)
    return _svg(axes)


@_own_style
def map_curves(histories: Mapping[str, History], colours: Mapping[str, str]) -> Markup:
    """Mean average precision on the validation videos, of trainings with several labels per video."""
    axes = _axes(2.6, "mAP, %: validation videos")
    for i, (name, rows) in enumerate(histories.items()):
        _line(axes, rows, VAL_MAP, 100, color=colours[name], marker=_mark(i), linestyle="--")
    axes.set_ylim(0, 102)
    return _svg(axes)


@_own_style
def rate_curves(histories: Mapping[str, History], colours: Mapping[str, str]) -> Markup:
    """Learning rate of the last step of each epoch."""
    axes = _axes(2.6, "learning rate of an epoch's last step")
    for i, (name, rows) in enumerate(histories.items()):
        _line(axes, rows, "lr", 1, color=colours[name], marker=_mark(i))
    axes.set_ylim(bottom=0)
    return _svg(axes)


@_own_style
def bars(
    values: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], *, guess: float | None = None
) -> Markup:
    """Shares as horizontal bars in per cent, a group per label and in it a bar per run.

    Args:
        values: run -> label -> share, 0 to 1; the labels of the first run, in its order from the top.
        colours: run -> colour.
        guess: share that chance gives, as a line.
    """
    labels = list(next(iter(values.values())))
    runs = len(values)
    axes, letters = _axes(len(labels) * (0.13 * runs + 0.1) + 0.5), Letters()
    for i, (name, shares) in enumerate(values.items()):
        places = np.arange(len(labels)) + (i - (runs - 1) / 2) * 0.8 / runs
        widths = [100 * shares.get(label, math.nan) for label in labels]
        drawn = axes.barh(places, widths, 0.8 / runs * 0.92, color=colours[name], label=letters(name))
        axes.bar_label(drawn, labels=[_short(w) for w in widths], fontsize=8.5, color=INK, padding=2)
    axes.invert_yaxis()
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.grid(axis="y", visible=False)
    axes.set_yticks(range(len(labels)), list(map(letters, labels)), fontsize=8.5)
    axes.set_xlim(0, 109)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.margins(y=0.01)
    if guess is not None:
        axes.axvline(100 * guess, color="#6b7280", linewidth=1, linestyle="--")
    if runs > 1:
        axes.legend(frameon=False, fontsize=8.5, ncols=min(3, runs), loc="lower center", bbox_to_anchor=(0.45, 1.0))
    return _svg(axes, letters)


@_own_style
def gains(points: Mapping[str, float], what: str = "recall") -> Markup:
    """Differences in points, to the right in green where a class gained, to the left in red where it lost.

    Args:
        points: label -> difference.
        what: differs.
    """
    axes, letters = _axes(len(points) * 0.21 + 0.45, f"change of {what}, points"), Letters()
    values = list(points.values())
    drawn = axes.barh(range(len(values)), values, 0.72, color=["#059669" if v > 0 else "#dc2626" for v in values])
    axes.bar_label(drawn, labels=[_short(v, "+") for v in values], fontsize=8.5, color=INK, padding=2)
    axes.invert_yaxis()
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(values)), list(map(letters, points)), fontsize=8.5)
    axes.margins(x=0.14, y=0.01)
    return _svg(axes, letters)


@_own_style
def scores(ranked: Sequence[tuple[str, float]]) -> Markup:
    """The best labels of one prediction as bars."""
    axes, letters = _axes(0.34 * len(ranked) + 0.3), Letters()
    places = range(len(ranked))[::-1]
    axes.barh(places, [s for _, s in ranked], color=[COLOURS[0]] + ["#bfdbfe"] * (len(ranked) - 1), height=0.7)
    for place, (_, score) in zip(places, ranked, strict=True):
        axes.text(score + 0.02, place, f"{100 * score:.1f} %", va="center", fontsize=9, color=INK)
    axes.set_yticks(places, [letters(label) for label, _ in ranked], fontsize=9)
    axes.set_xlim(0, 1.2)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    return _svg(axes, letters)


@_own_style
def scatter(title: str, points: NDArray[np.floating[Any]], truth: Sequence[str], labels: Sequence[str]) -> Markup:
    """Points of the plane in the colours and shapes of their classes, which `class_legend` explains.

    Args:
        title: above the figure.
        points: N 2.
        truth: N labels.
        labels: the classes, in the order of their colours.
    """
    letters = Letters()
    axes = _axes(4.4, letters(title))
    names = np.array(truth, dtype=object)
    for i, label in enumerate(labels):
        own = points[names == label]
        dots = axes.scatter(own[:, 0], own[:, 1], s=16, color=CLASS_COLOURS[i % 10], linewidths=0, alpha=0.8,
                            marker=("o", "^", "s")[i // 10 % 3])  # fmt: skip
        dots.set_rasterized(len(points) > _RASTER)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_color(PALE)
    axes.spines[:].set_visible(True)
    return _svg(axes, letters)


@_own_style
def trade_off(
    cost: str, costs: Mapping[str, float], shares: Mapping[str, tuple[float, float, float]],
    colours: Mapping[str, str], what: str = "top-1",
) -> Markup:  # fmt: skip
    """Accuracy over a cost, one point with its interval per run.

    Args:
        cost: what it is, in which unit.
        costs: run -> cost, above 0; the axis is logarithmic.
        shares: run -> accuracy and the ends of its interval, 0 to 1.
        colours: run -> colour.
        what: the accuracy is: top-1 or mAP.
    """
    axes, letters = _axes(2.9, f"{what}, % over {cost}"), Letters()
    places, figure = _clusters(list(costs.values())), axes.get_figure(root=True)
    assert figure is not None
    for i, (name, value) in enumerate(costs.items()):
        share, low, high = shares[name]
        # Runs of one network cost the same: they stand beside each other, or their intervals would hide one another.
        place = places[:i].count(places[i]) - (places.count(places[i]) - 1) / 2
        beside = ScaledTranslation(place * _BESIDE / 72, 0, figure.dpi_scale_trans)
        drawn = axes.errorbar(
            [value], [100 * share], [[100 * max(0.0, share - low)], [100 * max(0.0, high - share)]],
            fmt=_mark(i), color=colours[name], markersize=6, linewidth=1.2, label=letters(name),
        )  # fmt: skip
        for artist in drawn.get_children():
            artist.set_transform(artist.get_transform() + beside)
    axes.set_xscale("log")
    few = max(costs.values()) < 4 * min(costs.values())  # then powers of ten give no label, or one
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if few else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15, y=0.12)
    axes.set_xlabel(cost, fontsize=8.5, color=INK)
    _legend_below(axes, len(costs))
    return _svg(axes, letters)


@_own_style
def reliability(title: str, found: Calibration, colour: str) -> Markup:
    """How often predictions are right over how confident they are; the diagonal is what confidences promise.

    Args:
        title: above the figure.
        found: the calibration of a test.
        colour: of the bars.
    """
    letters = Letters()
    axes = _axes(2.6, letters(title))
    for one in found.bins:
        if one.accuracy is None or one.interval is None:
            continue
        middle = (one.low + one.high) / 2
        axes.bar(100 * middle, 100 * one.accuracy, 90 * (one.high - one.low), color=colour, alpha=0.75)
        axes.plot([100 * middle] * 2, [100 * end for end in one.interval], color=INK, linewidth=1)
    axes.plot([0, 100], [0, 100], color="#6b7280", linewidth=1, linestyle="--")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 102)
    axes.set_xlabel("confidence, %", fontsize=8.5, color=INK)
    axes.set_ylabel("right, %", fontsize=8.5, color=INK)
    return _svg(axes, letters)


def class_legend(labels: Sequence[str]) -> Markup:
    """The colours and shapes that `scatter` gives to classes, as HTML."""
    return part("legend", [(label, CLASS_COLOURS[i % 10], "●▲■"[i // 10 % 3]) for i, label in enumerate(labels)])


def _axes(height: float, title: str = "") -> Axes:
    axes = Figure(figsize=(_WIDTH, height), layout="constrained").subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8.5)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title, fontsize=9.5, color=INK, loc="left")
    return axes


def _clusters(costs: Sequence[float]) -> list[int]:
    """The number of the cluster of each cost: those whose marks would lie on each other on a logarithmic axis."""
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    wide = _CLOSE * math.log(costs[order[-1]] / costs[order[0]])
    found = [0] * len(costs)
    for before, i in pairwise(order):
        found[i] = found[before] + (math.log(costs[i] / costs[before]) > wide)
    return found


def _legend_below(axes: Axes, runs: int) -> None:
    if runs > 1:
        axes.legend(frameon=False, fontsize=8.5, ncols=min(3, runs), loc="upper center", bbox_to_anchor=(0.45, -0.22))


def _short(percent: float, sign: str = "") -> str:
    """With one decimal, where there is one."""
    return "" if math.isnan(percent) else f"{percent:{sign}.1f}".removesuffix(".0")


def _mark(i: int) -> str:
    """The mark of a run; another one where the colours start again."""
    return ("o", "^", "s", "D")[i // len(COLOURS) % 4]


def _line(axes: Axes, rows: History, key: str, factor: float, **style: Any) -> None:
    values = [math.nan if row.get(key) is None else factor * row[key] for row in rows]
    if not all(map(math.isnan, values)):
        (line,) = axes.plot([row["epoch"] for row in rows], values, linewidth=1.8, markersize=3, **style)
        if len(rows) > _MARKED:
            line.set_markevery(len(rows) // _MARKED + 1)
    axes.set_xlabel("epoch", fontsize=8.5, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _svg(axes: Axes, letters: Letters | None = None) -> Markup:
    buffer = io.StringIO()
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return Markup(text if letters is None else letters.restore(text))
