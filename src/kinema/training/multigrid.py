"""Multigrid training: smaller clips in larger batches, at the same cost a step (thesis, section 4.4.1, figure 4.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import floor, sqrt
from statistics import mode
from typing import Literal, get_args

from kinema.errors import KinemaError, unknown
from kinema.text import plural

Cycles = Literal["none", "long", "short", "both"]
RateAt = Literal["full", "first"]

_LONG = (8, 4, 2, 1)  # times the clips of the full batch
_SHORT = (4, 2, 1)


@dataclass(frozen=True)
class Multigrid:
    """A schedule of clip shapes.

    Attributes:
        cycles: `none`, `long` (four shapes within an epoch), `short` (another size every step), or `both`.
        full_epochs: the last so many epochs take every clip at the full shape, so that the weights end on what is
            tested. Figure 4.6 has none; the paper behind it (Wu et al., A Multigrid Method for Efficiently Training
            Video Models, CVPR 2020) ends so.
        rate_at: the phase of the long cycle that `optim.lr` belongs to; the rates of the others follow from the linear
            scaling rule. `full`: the last phase, at the full shape, so that the first has 8 times `optim.lr`. `first`:
            the first phase, so that the last, and with it the `full_epochs`, has an eighth of `optim.lr` ("an initial
            learning rate of 0.1, halved at each cycle": SRTG, section 4.2). No effect without a long cycle.
        sub_batches: BatchNorm normalises every `batch` clips by themselves, so that its statistics do not change with
            the size of the batch.
    """

    cycles: Cycles = "none"
    full_epochs: int = 0
    rate_at: RateAt = "full"
    sub_batches: bool = True

    def __post_init__(self) -> None:
        for name, allowed in (("cycles", Cycles), ("rate_at", RateAt)):
            if getattr(self, name) not in get_args(allowed):
                raise unknown(f"multigrid.{name}", str(getattr(self, name)), get_args(allowed))
        if self.full_epochs < 0:
            raise KinemaError(f"multigrid.full_epochs is {self.full_epochs}: give 0 or more")
        if self.full_epochs and self.cycles == "none":
            raise KinemaError(
                f"multigrid.full_epochs is {self.full_epochs}, but every epoch has the full shape where "
                "multigrid.cycles is none: remove it, or give multigrid.cycles"
            )

    @property
    def full_rate(self) -> float:
        """Factor of the learning rate at the full shape."""
        return 1 / _LONG[0] if self.rate_at == "first" and self.cycles in ("long", "both") else 1.0


@dataclass(frozen=True)
class BatchShape:
    """The batch of one step.

    Attributes:
        clips: in the batch.
        frames: of each clip.
        crop: height and width in pixels.
        rate: factor of the learning rate. It follows the long cycle alone: half the batch, half the rate.
    """

    clips: int
    frames: int
    crop: int
    rate: float = 1.0


@dataclass(frozen=True)
class Steps:
    """The steps of a whole training.

    Attributes:
        usual: of an epoch.
        last: of each of the last epochs.
        epochs: of the training.
        full_epochs: how many of them are the last.
    """

    usual: tuple[BatchShape, ...]
    last: tuple[BatchShape, ...]
    epochs: int
    full_epochs: int = 0

    def of(self, epoch: int) -> tuple[BatchShape, ...]:
        """The steps of an epoch, from 0; after the end of the training, those at the full shape."""
        return self.usual if epoch < self.epochs - self.full_epochs else self.last

    def before(self, epoch: int) -> int:
        """How many steps lie before an epoch; before epoch `epochs`, all of the training."""
        first = min(epoch, self.epochs - self.full_epochs)
        return first * len(self.usual) + (epoch - first) * len(self.last)

    def at(self, step: int) -> tuple[int, int]:
        """The epoch of a step of the training, and which of that epoch's steps it is, all from 0."""
        first = self.epochs - self.full_epochs
        if step < self.before(first):
            return divmod(step, len(self.usual))
        epoch, step = divmod(step - self.before(first), len(self.last))
        return first + epoch, step


def long_shapes(batch: int, frames: int, crop: int) -> tuple[BatchShape, ...]:
    """The four shapes of a long cycle: (8B, T/4, H/sqrt 2), (4B, T/2, H/sqrt 2), (2B, T/2, H), (B, T, H).

    Frames are rounded down, to 1 at least; crops to the nearest even number (half-way: up), to 2 at least. The full
    crop stays as it is. 16 frames of 224 pixels give 4 of 158, 8 of 158, 8 of 224 and 16 of 224.

    Args:
        batch: B.
        frames: T.
        crop: H, in pixels.
    """
    divided = ((4, sqrt(2)), (2, sqrt(2)), (2, 1.0), (1, 1.0))
    return tuple(
        BatchShape(times * batch, max(1, frames // t), _even(crop, side), float(times))
        for times, (t, side) in zip(_LONG, divided, strict=True)
    )


def short_shapes(shape: BatchShape) -> tuple[BatchShape, ...]:
    """The three shapes of a short cycle: (4B, H/2), (2B, H/sqrt 2), (B, H), with frames and rate as they are.

    Args:
        shape: gives B and H; 224 pixels give 112, 158 and 224 (rounding as for `long_shapes`).
    """
    return tuple(
        replace(shape, clips=times * shape.clips, crop=_even(shape.crop, side))
        for times, side in zip(_SHORT, (2.0, sqrt(2), 1.0), strict=True)
    )


def plan(multigrid: Multigrid, *, samples: int, batch: int, frames: int, crop: int) -> tuple[BatchShape, ...]:
    """The steps of one epoch, in order; their clips are `samples` together, each sample once.

    `long` runs through its four shapes once an epoch, each for the same number of steps; `short` changes the shape
    every step; `both` runs short cycles within each of the four. What such an even schedule leaves over is less than
    one more step of each: it becomes further steps, at most one of each shape and the largest batches first, and at the
    very end a smaller batch of the full shape. The full shape occurs whenever there are `batch` samples. One clip alone
    joins the last batch of the full shape, since BatchNorm cannot normalise a single value.

    Args:
        multigrid: which cycles.
        samples: clips of an epoch.
        batch: B, clips a step at the full shape.
        frames: T.
        crop: H, in pixels.

    Raises:
        KinemaError: no samples, or a batch, a number of frames or a crop below 1.
    """
    for name, value in (("samples", samples), ("batch", batch), ("frames", frames), ("crop", crop)):
        if value < 1:
            raise KinemaError(f"a schedule of batches with {name} {value}: give at least 1")
    full = BatchShape(batch, frames, crop)
    bases = long_shapes(batch, frames, crop) if multigrid.cycles in ("long", "both") else (full,)
    short = multigrid.cycles in ("short", "both")
    cycles = [short_shapes(base) if short else (base,) for base in bases]
    steps = _fill(cycles, samples)
    if full not in steps and samples >= batch:
        steps = [*_fill(cycles, samples - batch), full]
    rest = samples - sum(step.clips for step in steps)
    if rest == 1 and full in steps:
        last = len(steps) - 1 - steps[::-1].index(full)
        steps[last] = replace(full, clips=batch + 1)
    elif rest:
        steps.append(replace(full, clips=rest))
    return _scaled(steps, multigrid.full_rate)


def all_steps(multigrid: Multigrid, *, epochs: int, samples: int, batch: int, frames: int, crop: int) -> Steps:
    """The steps of a whole training, by `plan`.

    Args:
        multigrid: which cycles, and how many epochs at the full shape after them.
        epochs: of the training.
        samples: clips of an epoch.
        batch: B, clips a step at the full shape.
        frames: T.
        crop: H, in pixels.

    Raises:
        KinemaError: as `plan`.
    """
    usual, last = (
        plan(grid, samples=samples, batch=batch, frames=frames, crop=crop) for grid in (multigrid, Multigrid())
    )
    return Steps(usual, _scaled(last, multigrid.full_rate), epochs, multigrid.full_epochs)


def _scaled(steps: Sequence[BatchShape], factor: float) -> tuple[BatchShape, ...]:
    return tuple(replace(step, rate=step.rate * factor) for step in steps)


def _fill(cycles: Sequence[Sequence[BatchShape]], samples: int) -> list[BatchShape]:
    """As many whole steps as `samples` allow, phase after phase; less than a full batch is left over."""
    short = len(cycles[0])
    each = [sum(cycle[i].clips for cycle in cycles) for i in range(short)]  # clips of step i of all phases together
    whole, left = divmod(samples, sum(each))
    steps = whole * short
    while left >= each[steps % short]:
        left -= each[steps % short]
        steps += 1
    phases = [[cycle[i % short] for i in range(steps)] for cycle in cycles]
    for phase, cycle in zip(phases, cycles, strict=True):
        further = cycle[steps % short :] if phase is phases[-1] else (cycle[steps % short],)
        for shape in further:
            if shape.clips <= left:
                phase.append(shape)
                left -= shape.clips
    return [shape for phase in phases for shape in phase]


def phases(plan: Sequence[BatchShape]) -> list[tuple[str, int, int]]:
    """The phases of an epoch: runs of steps with the same number of frames and the same rate.

    Returns:
        (name, first step, last step) of each; both steps belong to it and count from 0.
    """
    found = []
    for (frames, rate), run in groupby(enumerate(plan), key=lambda step: (step[1].frames, step[1].rate)):
        steps = list(run)
        sizes = "/".join(str(crop) for crop in sorted({shape.crop for _, shape in steps}))
        found.append((f"{plural(frames, 'frame')} of {sizes} pixels, rate x{rate:g}", steps[0][0], steps[-1][0]))
    return found


def describe(steps: Steps) -> list[str]:
    """A training as lines to print: an epoch's shapes with their steps and clips, the sum, and the last epochs.

    A batch that is smaller or one clip larger than the others of its shape is not told apart.
    """
    lines = _describe_epoch(steps.usual)
    if steps.full_epochs:
        last = "epoch" if steps.full_epochs == 1 else f"{steps.full_epochs} epochs"
        lines += [f"the last {last}:", *_describe_epoch(steps.last)]
    return lines


def _describe_epoch(plan: Sequence[BatchShape]) -> list[str]:
    sizes: dict[tuple[int, int, float], list[int]] = {}
    for step in plan:
        sizes.setdefault((step.frames, step.crop, step.rate), []).append(step.clips)
    samples = sum(step.clips for step in plan)
    lines = [
        f"{len(clips)} x {plural(mode(clips), 'clip')} of {plural(frames, 'frame')} of {crop}x{crop} pixels, "
        f"rate x{rate:g}: {plural(sum(clips), 'clip')}, {sum(clips) / samples:.1%} of all"
        for (frames, crop, rate), clips in sizes.items()
    ]
    pixels = sum(step.clips * step.frames * step.crop**2 for step in plan)
    full = max(step.frames for step in plan) * max(step.crop for step in plan) ** 2
    share = f"{pixels / (samples * full):.1%} of the pixels of full clips"
    return [*lines, f"{plural(len(plan), 'step')}, {plural(samples, 'clip')}, {share}"]


def _even(crop: int, divisor: float) -> int:
    return crop if divisor == 1 else max(2, 2 * floor(crop / divisor / 2 + 0.5))
