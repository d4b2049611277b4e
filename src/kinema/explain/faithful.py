"""Faithfulness of maps: deletion, insertion, pointing and mass, compared with a random map and a centre bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.evaluation.statistics import bootstrap_interval, paired_bootstrap
from kinema.explain.controls import centre_maps, random_maps
from kinema.explain.perturbation import Baseline, check_inputs, perturbation_curves
from kinema.explain.pointing import default_tolerance, mass_on_mask, pointing_hits

RANDOM, CENTRE = "random", "centre"


@dataclass(frozen=True)
class Figure:
    """A mean over clips with its 95 % bootstrap interval.

    Attributes:
        mean: mean over the clips.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Row:
    """The result for one method.

    Attributes:
        deletion: area under the deletion curve, 0 to 1; smaller is better.
        insertion: area under the insertion curve, 0 to 1; larger is better.
        gain: insertion minus deletion, -1 to 1.
        over_random: gain minus that of the random map on the same clips; None for the random map itself.
        over_centre: gain minus that of the centre bias on the same clips; None for the centre bias itself.
        pointing: share of the clips in which the maximum is on the limb; None without masks.
        mass: share of the map on the limb; None without masks.
    """

    deletion: Figure
    insertion: Figure
    gain: Figure
    over_random: Figure | None
    over_centre: Figure | None
    pointing: Figure | None
    mass: Figure | None


@dataclass(frozen=True)
class Faithfulness:
    """The figures of all methods, the random map and the centre bias.

    Attributes:
        rows: name of the method -> its figures; `random` and `centre` come last.
        clips: number of clips.
        masked: number of clips with a mask that is not empty.
        baseline: baseline of deletion and insertion.
        steps: number of steps of deletion and insertion.
        tolerance: tolerance of pointing in pixels.
    """

    rows: Mapping[str, Row]
    clips: int
    masked: int
    baseline: str
    steps: int
    tolerance: int

    def beats_controls(self, method: str) -> tuple[bool, bool]:
        """Returns True if the gain of a method exceeds those of both controls, with zero outside the intervals."""
        row = self.rows[method]
        over_random, over_centre = (f is not None and f.low > 0 for f in (row.over_random, row.over_centre))
        return over_random, over_centre

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Returns column titles and rows of text."""
        titles = ["method", "deletion", "insertion", "ins - del", "over random", "over centre", "pointing", "mass"]
        rows = []
        for name, row in self.rows.items():
            figures = (
                row.deletion, row.insertion, row.gain, row.over_random, row.over_centre, row.pointing, row.mass,
            )  # fmt: skip
            rows.append([name, *("–" if f is None else str(f) for f in figures)])
        return titles, rows

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def faithfulness(
    model: nn.Module, clips: Tensor, targets: Sequence[int], maps: Tensor | Mapping[str, Tensor], *,
    masks: Tensor | None = None, baseline: Baseline = "blur", steps: int = 10, tolerance: int | None = None,
    batch: int = 8, seed: int = 0,
) -> Faithfulness:  # fmt: skip
    """Measures maps on the clips that they explain, and compares them with a random map and a spot in the centre.

    Deletion replaces the voxels of a clip by the baseline, the ones with the largest map values first, and records the
    softmax score of the class. Insertion starts from the baseline and restores the voxels in the same order. The
    intervals are those of the mean over clips: they cover other clips of the same kind, but not another training of the
    network.

    Args:
        model: clips N 3 T H W -> logits N K, K at least 2; it runs in evaluation mode and is left unchanged.
        clips: N 3 T H W, normalised.
        targets: per clip the class that its maps explain.
        maps: N T H W of one method, or name of the method -> N T H W; not negative.
        masks: bool N T H W, the known location of the evidence, such as `kinema.puppets.limb_masks`; with None,
            pointing and mass are not measured.
        baseline: `blur`, `freeze` or `mean`, see `kinema.explain.perturbation.baseline_clips`.
        steps: number of equal parts of the voxels that are deleted or inserted one after another.
        tolerance: largest distance in pixels of a hit from the mask; None is 1/16 of the shorter side.
        batch: clips per forward pass.
        seed: seed of the random map and of the order of equal values.

    Returns:
        One row per method, and one each for the random map and the spot in the centre.

    Raises:
        KinemaError: shapes do not match, a class or a baseline does not exist, a method is named like a control, or a
            map has negative values.
    """
    named = {"map": maps} if isinstance(maps, Tensor) else dict(maps)
    shape = (len(clips), *clips.shape[2:])
    for name in (RANDOM, CENTRE):
        if name in named:
            raise KinemaError(f"maps contains {name!r}, the name of a control: give the method another name")
    for values in named.values():
        check_inputs(clips, targets, values)
    named |= {RANDOM: random_maps(shape, seed), CENTRE: centre_maps(shape)}
    gains: dict[str, np.ndarray] = {}
    areas = {}
    for name, values in named.items():
        curves = perturbation_curves(
            model, clips, targets, values, baseline=baseline, steps=steps, batch=batch, seed=seed
        )
        deletion, insertion = (area.double().numpy() for area in curves.areas)
        areas[name], gains[name] = (deletion, insertion), insertion - deletion
    rows = {}
    for name, values in named.items():
        hits = mass = None
        if masks is not None:
            hits = _seen(pointing_hits(values.cpu(), masks.cpu(), tolerance))
            mass = _seen(mass_on_mask(values.cpu(), masks.cpu()))
        rows[name] = Row(
            figure(areas[name][0]), figure(areas[name][1]), figure(gains[name]),
            None if name == RANDOM else difference(gains[RANDOM], gains[name]),
            None if name == CENTRE else difference(gains[CENTRE], gains[name]), hits, mass,
        )  # fmt: skip
    masked = 0 if masks is None else int(masks.flatten(1).any(1).sum())
    reach = default_tolerance(*clips.shape[3:]) if tolerance is None else tolerance
    return Faithfulness(rows, len(clips), masked, baseline, steps, reach)


def figure(values: np.ndarray | Tensor | Sequence[float]) -> Figure:
    """Returns the mean of values, one per clip, with its bootstrap interval."""
    array = np.asarray(values, dtype=np.float64)
    return Figure(float(array.mean()), *bootstrap_interval(array))


def difference(control: np.ndarray, values: np.ndarray) -> Figure:
    """Returns the mean difference from a control on the same clips, with its paired bootstrap interval."""
    found = paired_bootstrap(control, values)
    return Figure(found.difference, found.low, found.high)


def _seen(values: Tensor) -> Figure | None:
    """Returns the figure over the clips that have a mask."""
    there = values[~values.isnan()]
    return figure(there.double().numpy()) if len(there) else None
