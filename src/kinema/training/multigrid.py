"""Multigrid training: smaller clips in larger batches, at the same cost per step (thesis, section 4.4.1, fig. 4.6)."""

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

_LONG = (8, 4, 2, 1)  # multiples of the full batch
_SHORT = (4, 2, 1)


@dataclass(frozen=True)
class Multigrid:
    """Settings of a schedule of clip shapes.

    Attributes:
        cycles: `none`, `long` (four shapes within an epoch), `short` (another size at every step), or `both`.
        full_epochs: number of epochs at the end in which every clip has the full shape, so that training ends at the
            shape that is tested. Figure 4.6 has none; the paper behind it (Wu et al., A Multigrid Method for
            Efficiently Training Video Models, CVPR 2020) ends in this way.
        rate_at: phase of the long cycle whose rate is `optim.lr`; the rates of the other phases follow from the linear
            scaling rule. `full`: the last phase, at the full shape, so that the first phase has 8 times `optim.lr`.
            `first`: the first phase, so that the last one and the `full_epochs` have an eighth of `optim.lr` ("an
            initial learning rate of 0.1, halved at each cycle": SRTG, section 4.2). No effect without a long cycle.
        sub_batches: let BatchNorm normalise every `batch` clips separately, so that its statistics do not depend on
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
                f"multigrid.full_epochs is {self.full_epochs}, but every epoch has the full shape when "
                "multigrid.cycles is none: remove it, or set multigrid.cycles"
            )

    @property
    def full_rate(self) -> float:
        """Factor of the learning rate at the full shape."""
        return 1 / _LONG[0] if self.rate_at == "first" and self.cycles in ("long", "both") else 1.0


@dataclass(frozen=True)
class BatchShape:
    """The shape of one step's batch.

    Attributes:
        clips: number of clips in the batch.
        frames: number of frames of each clip.
        crop: height and width of each clip, in pixels.
        rate: factor of the learning rate. Only the long cycle changes it: half the batch, half the rate.
    """

    clips: int
    frames: int
    crop: int
    rate: float = 1.0


@dataclass(frozen=True)
class Steps:
    """The steps of a whole training.

    Attributes:
        usual: steps of an epoch.
        last: steps of each of the last epochs.
        epochs: number of epochs of the training.
        full_epochs: number of last epochs, at the full shape.
    """

    usual: tuple[BatchShape, ...]
    last: tuple[BatchShape, ...]
    epochs: int
    full_epochs: int = 0

    def of(self, epoch: int) -> tuple[BatchShape, ...]:
        """Returns the steps of an epoch, counted from 0; after the end of the training, those at the full shape."""
        return self.usual if epoch < self.epochs - self.full_epochs else self.last

    def before(self, epoch: int) -> int:
        """Returns the number of steps before an epoch; before epoch `epochs`, that of the whole training."""
        first = min(epoch, self.epochs - self.full_epochs)
        return first * len(self.usual) + (epoch - first) * len(self.last)

    def at(self, step: int) -> tuple[int, int]:
        """Returns the epoch of a step of the training, and the step within that epoch; all count from 0."""
        first = self.epochs - self.full_epochs
        if step < self.before(first):
            return divmod(step, len(self.usual))
        epoch, step = divmod(step - self.before(first), len(self.last))
        return first + epoch, step


def long_shapes(batch: int, frames: int, crop: int) -> tuple[BatchShape, ...]:
    """Returns the four shapes of a long cycle: (8B, T/4, H/sqrt 2), (4B, T/2, H/sqrt 2), (2B, T/2, H), (B, T, H).

    Frames are rounded down, to at least 1. Crops are rounded to the nearest even number (half-way: up), to at least 2.
    The full crop stays as it is. For example, 16 frames of 224 pixels give 4 of 158, 8 of 158, 8 of 224 and 16 of 224.

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
    """Returns the three shapes of a short cycle: (4B, H/2), (2B, H/sqrt 2), (B, H), with unchanged frames and rate.

    Args:
        shape: gives B and H; 224 pixels give 112, 158 and 224 (rounding as for `long_shapes`).
    """
    return tuple(
        replace(shape, clips=times * shape.clips, crop=_even(shape.crop, side))
        for times, side in zip(_SHORT, (2.0, sqrt(2), 1.0), strict=True)
    )


def plan(multigrid: Multigrid, *, samples: int, batch: int, frames: int, crop: int) -> tuple[BatchShape, ...]:
    """Plans the steps of one epoch, in order; their clips sum to `samples`, and each sample occurs once.

    `long` runs through its four shapes once per epoch, with the same number of steps each. `short` changes the shape at
    every step. `both` runs short cycles within each of the four phases.

    The samples that such an even schedule leaves over are fewer than one more step of each shape needs. They become
    further steps, at most one per shape and the largest batches first, and at the very end a smaller batch of the full
    shape. The full shape occurs whenever there are `batch` samples. A single remaining clip joins the last batch of the
    full shape, because BatchNorm cannot normalise a single value.

    Args:
        multigrid: settings; `cycles` is used.
        samples: number of clips per epoch.
        batch: B, clips per step at the full shape.
        frames: T.
        crop: H, in pixels.

    Raises:
        KinemaError: no samples, or a batch, a number of frames or a crop below 1.
    """
    for name, value in (("samples", samples), ("batch", batch), ("frames", frames), ("crop", crop)):
        if value < 1:
            raise KinemaError(f"{name} is {value} in a schedule of batches: give at least 1")
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
    """Plans the steps of a whole training with `plan`.

    Args:
        multigrid: settings: the cycles, and the number of epochs at the full shape after them.
        epochs: number of epochs of the training.
        samples: number of clips per epoch.
        batch: B, clips per step at the full shape.
        frames: T.
        crop: H, in pixels.

    Raises:
        KinemaError: the same as `plan`.
    """
    usual, last = (
        plan(grid, samples=samples, batch=batch, frames=frames, crop=crop) for grid in (multigrid, Multigrid())
    )
    return Steps(usual, _scaled(last, multigrid.full_rate), epochs, multigrid.full_epochs)


def _scaled(steps: Sequence[BatchShape], factor: float) -> tuple[BatchShape, ...]:
    return tuple(replace(step, rate=step.rate * factor) for step in steps)


def _fill(cycles: Sequence[Sequence[BatchShape]], samples: int) -> list[BatchShape]:
    """Makes as many whole steps as `samples` allow, phase by phase; less than a full batch is left over."""
    short = len(cycles[0])
    each = [sum(cycle[i].clips for cycle in cycles) for i in range(short)]  # clips of step i, summed over all phases
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
    """Finds the phases of an epoch: runs of steps with the same number of frames and the same rate.

    Returns:
        (name, first step, last step) per phase; the steps are inclusive and count from 0.
    """
    found = []
    for (frames, rate), run in groupby(enumerate(plan), key=lambda step: (step[1].frames, step[1].rate)):
        steps = list(run)
        sizes = "/".join(str(crop) for crop in sorted({shape.crop for _, shape in steps}))
        found.append((f"{plural(frames, 'frame')} of {sizes} pixels, rate x{rate:g}", steps[0][0], steps[-1][0]))
    return found


def describe(steps: Steps) -> list[str]:
    """Describes a training in lines to print: an epoch's shapes with their steps and clips, the sum, the last epochs.

    A batch that is smaller, or one clip larger, than the others of its shape is not shown separately.
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
