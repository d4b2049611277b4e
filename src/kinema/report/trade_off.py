"""Accuracy against what it costs: MACs, parameters and, where it was measured, time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kinema.errors import KinemaError
from kinema.evaluation.cost import Cost, count, environment
from kinema.evaluation.latency import Latency, Network, measure
from kinema.evaluation.metrics import Metrics
from kinema.evaluation.multi_label import MultiLabelMetrics
from kinema.report import figures
from kinema.report.markup import grid, joined, note
from kinema.report.runs import Run
from kinema.text import plural

Counted = Cost | str | None  # a sentence where a network cannot be counted, None where it is not known


def counts(runs: Sequence[Run]) -> list[Counted]:
    """What one view costs in each run; a network of several runs is counted once."""
    known: dict[str, Counted] = {}
    found = []
    for run in runs:
        key = json.dumps([run.architecture, run.clip.get("crop")], sort_keys=True, default=str)
        if key not in known:
            known[key] = _count(run)
        found.append(known[key])
    return found


def latencies(
    runs: Sequence[Run], costs: Sequence[Counted], device: str, repeats: int = 20,
    measured: Callable[..., Any] = measure,
) -> list[Latency | None]:  # fmt: skip
    """The time that one clip takes in each run, all networks by turns; a network of several runs is measured once.

    Args:
        runs: of the page.
        costs: what `counts` gave of them.
        device: where the networks run.
        repeats: rounds that count.
        measured: `kinema.evaluation.latency.measure`, or what stands for it.

    Raises:
        RunError: the memory does not suffice.
    """
    networks = [_network(run, cost) for run, cost in zip(runs, costs, strict=True)]
    different: list[Network] = []
    for network in networks:
        if network is not None and network not in different:
            different.append(network)
    if not different:
        return [None] * len(runs)
    rounds = measured(different, repeats=repeats, device=device, memory=False)
    return [None if network is None else rounds.latency(different.index(network)) for network in networks]


def trade_off(
    runs: Sequence[Run], metrics: Mapping[str, Metrics | MultiLabelMetrics], costs: Sequence[Counted],
    times: Sequence[Latency | None], inks: Mapping[str, str],
) -> Markup:  # fmt: skip
    """Accuracy against MACs of a view, parameters and milliseconds, one figure each (SRTG figure 6, thesis 4.7, 5.7).

    Args:
        runs: of the page.
        metrics: name -> figures, of those that are tested.
        costs: what `counts` gave.
        times: what `latencies` gave; None where nothing was measured.
        inks: run -> colour.

    Returns:
        Nothing where fewer than two runs have both.
    """
    known = [
        (run.name, metrics[run.name], cost, time)
        for run, cost, time in zip(runs, costs, times, strict=True)
        if run.name in metrics and isinstance(cost, Cost)
    ]
    if len(known) < 2:
        return Markup("")
    points = {name: _figure(m) for name, m, _, _ in known}
    several = isinstance(known[0][1], MultiLabelMetrics)
    what, kind = ("mAP", "bootstrap over videos") if several else ("top-1", "Wilson's")
    unit, by = ("G", 1e9) if max(c.macs for _, _, c, _ in known) >= 1e9 else ("M", 1e6)
    drawn = [
        figures.trade_off(f"MACs per view, {unit}", {name: c.macs / by for name, _, c, _ in known}, points, inks, what),
        figures.trade_off("parameters, M", {name: c.params / 1e6 for name, _, c, _ in known}, points, inks, what),
    ]
    timed = {name: time.p50_ms for name, _, _, time in known if time is not None}
    small = (
        f"Vertical lines: 95 % interval ({kind}); the axis of the cost is logarithmic, and runs of nearly the same "
        "cost stand beside each other."
    )
    if timed:
        drawn.append(figures.trade_off("median time per clip, ms", timed, points, inks, what))
        place = environment()
        machine = place.get("gpu", place["cpu"])
        small += (
            f" Time: one clip at a time, the networks interleaved, on {machine}, "
            f"{plural(int(place['threads']), 'thread')}, torch {place['torch']}."
        )
    return joined([grid(drawn, small=True), note(small)])


def _figure(m: Metrics | MultiLabelMetrics) -> tuple[float, float, float]:
    """Top-1 or mAP with the ends of its interval."""
    return (m.mean_ap, *m.mean_ap_interval) if isinstance(m, MultiLabelMetrics) else (m.top1, *m.top1_interval)


def _count(run: Run) -> Counted:
    if run.architecture is None:
        return None
    options = dict(run.architecture.get("options", {}))
    classes = options.pop("num_classes", 400)
    try:
        return count(str(run.architecture["name"]), num_classes=classes, size=run.clip.get("crop"), options=options)
    except KinemaError as error:
        return str(error)


def _network(run: Run, cost: Counted) -> Network | None:
    if run.architecture is None or not isinstance(cost, Cost):
        return None
    options = dict(run.architecture.get("options", {}))
    classes, frames = options.pop("num_classes", 400), options.pop("frames", cost.frames)
    return Network(str(run.architecture["name"]), int(classes), int(frames or cost.frames), cost.size, options)
