"""The back-step: from a class, step by step, to the channels that feed it (thesis, equations 7.4 and 7.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kinema.explain.pyramid.kernels import Kernel, LocalKernel
from kinema.explain.pyramid.origins import NOTHING
from kinema.explain.pyramid.plan import CLASS, Column, Columns

Mode = Literal["feature", "layer", "group"]
Start = Literal["activations", "weights"]


def relevance(kernel: Kernel | LocalKernel, means: Tensor, parents: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
    """Computes the relevance of each input channel of a layer for some of its outputs.

    The relevance is the mean of the kernel times the mean of the activations, `p_i = mean(W[j, i]) mean(a_i)`, scaled
    to [0, 1] over the input channels. Grouped kernels are zero-inflated to all inputs: the zeros are the lower end of
    the scale, but only channels of the output's own group can be chosen. If all p are equal nothing is chosen, except
    the only input of a channel-wise kernel.

    Args:
        kernel: kernel of the layer.
        means: C_in, the mean of each input channel over time, height and width.
        parents: int64 P, output channels.
        mode: `feature`: each output separately. `layer`: p is averaged over all given outputs. `group`: p is averaged
            over the outputs in the same group of the convolution.

    Returns:
        float P C_in in [0, 1], NaN if nothing is chosen, and bool P C_in: the inputs that an output can see.

    Source: thesis, sections 7.5.2 to 7.5.4.
    """
    rows, seen = kernel.rows(parents)
    products = rows * means.to(rows)
    if mode == "feature":
        return _scaled(products, seen), seen
    groups = kernel.group_of(parents) if mode == "group" else torch.zeros_like(parents)
    result = torch.empty_like(products)
    for group in groups.unique():
        members = groups == group
        result[members] = _scaled(products[members].mean(0, keepdim=True), seen[members].any(0, keepdim=True))
    return result, seen


def _scaled(products: Tensor, seen: Tensor) -> Tensor:
    low = torch.where(seen, products, torch.inf).amin(1, keepdim=True)
    high = torch.where(seen, products, -torch.inf).amax(1, keepdim=True)
    low = torch.where(seen.all(1, keepdim=True), low, low.clamp_max(0))
    span = high - low
    scaled = torch.where(span > 0, (products - low) / span, torch.nan)
    return torch.where(seen.sum(1, keepdim=True) == 1, 1.0, scaled)


def class_relevance(kernel: Kernel, means: Tensor, target: int, start: Start) -> Tensor:
    """Computes the relevance of each input of the classifier for a class.

    Args:
        kernel: kernel of the classifier.
        means: F, its inputs.
        target: index of the class.
        start: `activations`: weight times input, scaled to [0, 1] over the inputs. `weights`: the weights scaled over
            all classes and inputs, independent of the clip, as in the authors' released code.

    Returns:
        F in [0, 1], NaN if nothing is chosen.
    """
    if start == "activations":
        return relevance(kernel, means, torch.tensor([target], device=means.device), "feature")[0][0]
    low, high = kernel.weights.amin(), kernel.weights.amax()
    return torch.where(high > low, (kernel.weights[target] - low) / (high - low), torch.nan)


@dataclass
class Found:
    """The result of a back-step.

    Attributes:
        origins: origins of the nodes, in the order of their columns; the first, `NOTHING`, is the class.
        columns: name of the column of each node.
        scores: scores of the nodes.
        links: (parent, child, strength): indices of nodes and the relevance of the child, 0 to 1.
    """

    origins: list[int]
    columns: list[str]
    scores: list[float]
    links: list[tuple[int, int, float]]


class BackStep:
    """All steps of one pyramid.

    Args:
        columns: columns of the network.
        near: the columns within reach, nearest first, see `Columns.within`.
        means: number of a layer -> mean of each of its input channels.
        kernel: returns the kernel of the layer with a number.
        threshold: theta, 0 to 1.
        mode: see `relevance`.
    """

    def __init__(
        self, columns: Columns, near: dict[str, Column], means: dict[int, Tensor],
        kernel: Callable[[int], Kernel | LocalKernel], threshold: float, mode: Mode,
    ) -> None:  # fmt: skip
        self._columns, self._near, self._means, self._kernel = columns, near, means, kernel
        self._threshold, self._mode = threshold, mode
        count = len(columns.provenance.origins)
        self._levels = torch.zeros(count, dtype=torch.int64)  # height of an origin's column; 0 if it is out of reach
        for column in near.values():
            self._levels[list(column.origins)] = column.level
        self._scores = torch.full((count,), -1.0, dtype=torch.float64)  # scores of the origins chosen so far
        self._links: list[tuple[Tensor, Tensor, Tensor]] = []

    def run(self, target: int, score: float, start: Start) -> Found:
        """Walks back from a class.

        Args:
            target: index of the class.
            score: score of the class, for its node.
            start: see `class_relevance`.
        """
        number = self._columns.provenance.classifier
        kernel = self._kernel(number)
        assert isinstance(kernel, Kernel)
        scaled = class_relevance(kernel, self._means[number], target, start)[None]
        inputs = self._columns.provenance.layers[number].inputs
        self._link(torch.tensor([NOTHING]), 0, inputs, scaled, torch.ones_like(scaled, dtype=torch.bool))
        deepest = max(column.level for column in self._near.values())
        for name, column in self._near.items():
            if name != CLASS and column.level < deepest:
                self._step(column)
        return self._collected(score)

    def _chosen(self, column: Column) -> list[int]:
        """Returns the chosen origins of a column, by channel."""
        origins = [origin for origin in column.origins if self._scores[origin] >= 0]
        return sorted(origins, key=lambda origin: self._columns.name(origin)[1])

    def _step(self, column: Column) -> None:
        """Goes from the chosen channels of a column to the channels that feed them."""
        parents: dict[int, list[tuple[int, int]]] = {}  # layer -> (origin, output channel)
        same: list[tuple[int, int]] = []
        for origin in self._chosen(column):
            source = self._columns.source(origin)
            same += [(origin, child) for child in source.same]
            for own in source.own:
                parents.setdefault(own.layer, []).append((origin, own.channel))
        if same:
            pairs = torch.tensor(same)
            self._add(pairs[:, 0], pairs[:, 1], torch.ones(len(pairs)), column.level)
        for number, given in parents.items():
            inputs = self._columns.provenance.layers[number].inputs
            if not inputs.any():
                continue  # it reads the clip itself
            pairs = torch.tensor(given)
            means = self._means[number]
            scaled, seen = relevance(self._kernel(number), means, pairs[:, 1].to(means.device), self._mode)
            self._link(pairs[:, 0], column.level, inputs, scaled, seen)

    def _link(self, parents: Tensor, level: int, inputs: Tensor, scaled: Tensor, seen: Tensor) -> None:
        kept = (scaled >= self._threshold) & seen  # false for NaN
        parent, channel = kept.nonzero().cpu().unbind(1)
        self._add(parents[parent], inputs[channel], scaled[kept].cpu(), level)

    def _add(self, parents: Tensor, children: Tensor, strengths: Tensor, level: int) -> None:
        """Adds the links to channels that are further from the class and within reach."""
        kept = self._levels[children] > level
        parents, children, strengths = parents[kept], children[kept], strengths[kept].double()
        self._scores.scatter_reduce_(0, children, strengths, "amax")
        self._links.append((parents, children, strengths))

    def _collected(self, score: float) -> Found:
        origins, columns = [NOTHING], [CLASS]
        for name, column in self._near.items():
            chosen = self._chosen(column)
            origins += chosen
            columns += [name] * len(chosen)
        scores = self._scores[origins].tolist()
        number = torch.zeros(len(self._scores), dtype=torch.int64)
        number[origins] = torch.arange(len(origins))
        parents, children, strengths = (torch.cat(parts) for parts in zip(*self._links, strict=True))
        # A channel that a layer reads several times is linked once, with its largest strength.
        pairs, where = torch.unique(number[parents] * len(origins) + number[children], return_inverse=True)
        strongest = torch.zeros(len(pairs), dtype=torch.float64).scatter_reduce_(0, where, strengths, "amax")
        ends = ((pairs // len(origins)).tolist(), (pairs % len(origins)).tolist())
        return Found(origins, columns, [score, *scores[1:]], list(zip(*ends, strongest.tolist(), strict=True)))
