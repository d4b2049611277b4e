"""Sanity checks: rank correlations show whether a map depends on the learned weights and on the class.

Source: Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.faithful import Figure, figure
from kinema.explain.randomise import cascade

MapOf = Callable[[nn.Module, Tensor, int], Tensor]
"""A method: network, clip 1 3 T H W, class -> map T H W."""


@dataclass(frozen=True)
class Sanity:
    """Rank correlations, -1 to 1, of the maps with those of another network or class; 1 means no change.

    Attributes:
        randomised: part that was randomised last, from the classifier down -> correlation with the map of that network.
        other_class: correlation with the map of another class of the same network.
    """

    randomised: Mapping[str, Figure]
    other_class: Figure

    @property
    def untrained(self) -> Figure:
        """The correlation with the map of the fully randomised network."""
        return list(self.randomised.values())[-1]


def sanity(
    model: nn.Module, clips: Tensor, targets: Sequence[int], others: Sequence[int], methods: Mapping[str, MapOf], *,
    seed: int = 0, batch: int = 8,
) -> dict[str, Sanity]:  # fmt: skip
    """Compares the maps of methods with those for a network whose weights are randomised from the top down.

    Args:
        model: a network with `feature_maps` and `classifier`; it is left unchanged.
        clips: N 3 T H W, normalised.
        targets: per clip the explained class.
        others: per clip another class.
        methods: name -> method.
        seed: seed of the randomisation.
        batch: clips per forward pass when the statistics of BatchNorm are recomputed.

    Returns:
        Name of the method -> its correlations.

    Raises:
        KinemaError: as for `cascade`, or `others` contains the explained class.
    """
    if len(targets) != len(clips) or len(others) != len(clips) or any(map(int.__eq__, targets, others)):
        raise KinemaError("others contains the explained class itself: give another class for each clip")
    plain = {name: _maps(of, model, clips, targets) for name, of in methods.items()}
    other = {name: _compared(plain[name], _maps(of, model, clips, others)) for name, of in methods.items()}
    random: dict[str, dict[str, Figure]] = {name: {} for name in methods}
    for part, twin in cascade(model, clips, seed=seed, batch=batch):
        for name, of in methods.items():
            random[name][part] = _compared(plain[name], _maps(of, twin, clips, targets))
    return {name: Sanity(random[name], other[name]) for name in methods}


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Returns Spearman's rank correlation of two maps of the same shape, -1 to 1.

    A constant map has no order: its correlation is 0 with any other map, and 1 with another constant map.
    """
    ranks = [rankdata(m.detach().double().cpu().numpy().ravel()) for m in (a, b)]
    x, y = (r - r.mean() for r in ranks)
    size = np.sqrt((x @ x) * (y @ y))
    if size == 0:
        return float(not x.any() and not y.any())
    return float(x @ y / size)


def _maps(method: MapOf, model: nn.Module, clips: Tensor, targets: Sequence[int]) -> list[Tensor]:
    return [method(model, clip[None], target) for clip, target in zip(clips, targets, strict=True)]


def _compared(a: Sequence[Tensor], b: Sequence[Tensor]) -> Figure:
    return figure(torch.tensor([rank_correlation(x, y) for x, y in zip(a, b, strict=True)], dtype=torch.float64))
