"""The figures of the demo's page, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS = ("#2563eb", "#d97706", "#059669")
INK = "#1f2937"


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "kinema"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Loss and accuracy on the training clips, epoch by epoch; one line a network."""
    figure = Figure(figsize=(9.2, 3.0), layout="constrained")
    loss, top1 = figure.subplots(1, 2)
    for (name, rows), colour in zip(histories.items(), COLOURS, strict=False):
        epochs = [row["epoch"] for row in rows]
        loss.plot(epochs, [row["train_loss"] for row in rows], color=colour, label=name, linewidth=2, marker="o", ms=3)
        top1.plot(epochs, [100 * row["train_top1"] for row in rows], color=colour, linewidth=2, marker="o", ms=3)
    for axes, title in ((loss, "training loss"), (top1, "training top-1, %")):
        _bare(axes)
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        axes.set_xlabel("epoch", fontsize=9, color=INK)
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
    top1.set_ylim(0, 102)
    loss.legend(frameon=False, fontsize=9)
    return _svg(figure)


def confusion(matrices: Mapping[str, NDArray[np.int64]], labels: Sequence[str]) -> str:
    """Rows are what is shown, columns what the network said, as shares of the row."""
    side = max(4.4, 0.34 * len(labels) + 1.6)
    figure = Figure(figsize=(side * len(matrices), side), layout="constrained")
    axes_row = np.atleast_1d(figure.subplots(1, len(matrices)))
    for axes, (name, matrix) in zip(axes_row, matrices.items(), strict=True):
        shares = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(range(len(labels)), labels, fontsize=8)
        axes.set_title(name, fontsize=10, color=INK, loc="left")
        for (i, j), share in np.ndenumerate(shares):
            if share >= 0.005:
                ink = "white" if share > 0.55 else INK
                axes.text(j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=6.5, color=ink)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    return _svg(figure)


def pairs(accuracies: Mapping[str, Mapping[str, float]]) -> str:
    """Direction accuracy inside each pair of an action and its reversal; the line is what guessing gives."""
    names = list(next(iter(accuracies.values())))
    figure = Figure(figsize=(9.2, 2.9), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(accuracies)
    for k, ((network, values), colour) in enumerate(zip(accuracies.items(), COLOURS, strict=False)):
        places = np.arange(len(names)) + (k - (len(accuracies) - 1) / 2) * width
        bars = axes.bar(places, [100 * values[n] for n in names], width * 0.92, color=colour, label=network)
        axes.bar_label(bars, fmt="%.0f", fontsize=8, color=INK, padding=1)
    _bare(axes)
    axes.axhline(50, color="#6b7280", linewidth=1, linestyle="--")
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(0, 112)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel("%", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=9, ncols=len(accuracies), loc="upper center", bbox_to_anchor=(0.5, 1.16))
    return _svg(figure)


def scores(ranked: Sequence[tuple[str, float]]) -> str:
    """The best labels of one prediction as bars."""
    figure = Figure(figsize=(4.6, 0.34 * len(ranked) + 0.3), layout="constrained")
    axes = figure.subplots()
    places = range(len(ranked))[::-1]
    axes.barh(places, [s for _, s in ranked], color=[COLOURS[0]] + ["#bfdbfe"] * (len(ranked) - 1), height=0.7)
    for place, (_, score) in zip(places, ranked, strict=True):
        axes.text(score + 0.02, place, f"{100 * score:.1f} %", va="center", fontsize=9, color=INK)
    axes.set_yticks(places, [label for label, _ in ranked], fontsize=9)
    axes.set_xlim(0, 1.2)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.tick_params(length=0)
    return _svg(figure)
