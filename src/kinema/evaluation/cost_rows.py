"""The rows of `kinema cost`: counts of networks and, if requested, their times in interleaved rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kinema.data.views import Protocol, parse_views
from kinema.errors import KinemaError
from kinema.evaluation.cost import Cost, count
from kinema.evaluation.latency import Latency, Network, Ratio, measure


@dataclass(frozen=True)
class CostRow:
    """The cost of a network with one batch size.

    Attributes:
        model: its name.
        classes: number of outputs.
        cost: counts of one view.
        views: clips times crops per video, the factor for the operations of a test.
        params_ratio: parameters divided by those of the baseline; None without a baseline.
        macs_ratio: MACs divided by those of the baseline.
        latency: timings; None if nothing was timed.
        latency_ratio: for each pass, the time divided by that of the baseline.
    """

    model: str
    classes: int
    cost: Cost
    views: int = 1
    params_ratio: float | None = None
    macs_ratio: float | None = None
    latency: Latency | None = None
    latency_ratio: Mapping[str, Ratio] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, without those that were not requested."""
        total = {"views": self.views, "macs_of_views": self.views * self.cost.macs,
                 "flops_of_views": self.views * self.cost.flops}  # fmt: skip
        found: dict[str, Any] = {"model": self.model, "classes": self.classes, **self.cost.to_dict(), **total}
        if self.macs_ratio is not None:
            found["relative"] = {"params": self.params_ratio, "macs": self.macs_ratio}
        if self.latency is not None:
            found["latency"] = self.latency.to_dict()
        if self.latency_ratio is not None:
            found["relative"] |= {name: asdict(ratio) for name, ratio in self.latency_ratio.items()}
        return found


@dataclass(frozen=True)
class Timed:
    """Settings of the timing.

    Attributes:
        batches: batch sizes, each measured separately.
        repeats: number of timed rounds.
        backward: also time a training step.
        device: device of the networks.
    """

    batches: Sequence[int] = (1,)
    repeats: int = 20
    backward: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.batches or min(self.batches) < 1:
            raise KinemaError(f"--batch {','.join(map(str, self.batches))}: give numbers of at least 1, such as 1,32")
        if self.repeats < 1:
            raise KinemaError(f"--repeats {self.repeats}: give at least 1")


def cost_rows(
    models: Sequence[str], *, num_classes: int = 400, frames: int | None = None, size: int | None = None,
    options: Mapping[str, Any] | None = None, views: Protocol = "1x1", timed: Timed | None = None,
    relative_to: str | None = None,
) -> list[CostRow]:  # fmt: skip
    """Counts networks, and times them.

    Args:
        models: names of networks.
        num_classes: outputs of each.
        frames: T; None is the default of each network.
        size: height and width in pixels; None is the crop of each network.
        options: further options of all of them.
        views: `CLIPSxCROPS` per video in a test.
        timed: settings of the timing; None for no timing.
        relative_to: the baseline; it becomes the first row if it is not in `models`.

    Returns:
        For each batch size one row per network; without `timed`, one row per network.

    Raises:
        KinemaError: a network is unknown, one of them lacks an option, or the views are invalid.
        RunError: there is not enough memory.
    """
    clips, crops = parse_views(views)
    names = list(models) if relative_to is None or relative_to in models else [relative_to, *models]
    given = dict(options or {})
    costs = [count(m, num_classes=num_classes, frames=frames, size=size, options=given) for m in names]
    base = None if relative_to is None else names.index(relative_to)
    rows = [
        CostRow(
            name, num_classes, cost, clips * crops,
            None if base is None else cost.params / costs[base].params,
            None if base is None else cost.macs / costs[base].macs,
        )
        for name, cost in zip(names, costs, strict=True)
    ]  # fmt: skip
    if timed is None:
        return rows
    networks = [Network(r.model, num_classes, r.cost.frames, r.cost.size, given) for r in rows]
    found = []
    for batch in timed.batches:
        rounds = measure(networks, batch=batch, repeats=timed.repeats, backward=timed.backward, device=timed.device)
        found += [
            CostRow(
                r.model, r.classes, r.cost, r.views, r.params_ratio, r.macs_ratio, rounds.latency(i),
                None if base is None else rounds.ratio(i, base),
            )
            for i, r in enumerate(rows)
        ]  # fmt: skip
    return found
