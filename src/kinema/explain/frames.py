"""The contribution of each frame of a clip to the score of a class: Shapley values against a clip without information.

Source: Shapley, A value for n-person games, 1953; sampled permutations: Castro, Gómez and Tejada, Computers &
Operations Research 36(5), 2009.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import factorial

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.activations import check_logits, one_clip, undisturbed
from kinema.explain.class_weights import check_target, scores_of
from kinema.explain.methods import Asked, Finding, Findings, each_class, register
from kinema.explain.perturbation import Baseline, baseline_clips

EXACT = 8  # largest number of frames for which all subsets are evaluated

Members = tuple[bool, ...]  # whether each frame is shown


def frame_values(
    model: nn.Module, clip: Tensor, target: int, *, baseline: Baseline = "blur", samples: int = 32, seed: int = 0,
    batch: int = 8,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Computes the Shapley value of every frame for the softmax score of a class.

    A subset of the frames is shown at its positions; the other frames are those of the baseline. The value of a frame
    is the increase of the score when it is added, averaged over all orders in which the frames may be added. For up to
    8 frames all 2^T subsets are evaluated; for more, random orders are drawn, each with its reverse, whose errors
    partly cancel.

    Args:
        model: clips N 3 T H W -> logits N K, with a `classifier`; left unchanged.
        clip: float `1 3 T H W` or `3 T H W`, normalised.
        target: index of the class.
        baseline: `blur`, `mean` or `freeze`, see `baseline_clips`.
        samples: number of orders for more than 8 frames, even and at least 4; each costs T - 1 forward passes.
        seed: seed of the orders. The random generators of PyTorch are not used.
        batch: clips per forward pass.

    Returns:
        float64 T on the CPU, the values; their sum is the score of the clip minus that of the baseline, for drawn
        orders too. float64 T, their standard errors from the spread over the pairs of orders; zeros up to 8 frames.

    Raises:
        KinemaError: the class or baseline does not exist, there are several clips, a number is out of range, or the
            output of the network is not N K logits.
    """
    target = check_target(model, target)
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 4 or samples % 2:
        raise KinemaError(f"samples is {samples!r}: give an even number, 4 or more")
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise KinemaError(f"batch is {batch!r}: give at least 1")
    x = one_clip(model, clip)
    game = _Game(model, x, baseline_clips(x.float(), baseline).to(x.dtype), target, batch)
    return _exact(game) if game.frames <= EXACT else _sampled(game, samples, seed)


@register("frames", ["baseline", "samples", "seed", "batch"])
def _frames(asked: Asked) -> Findings:
    """Computes `frame_values`; the map shows the frames that raise the score, relative to the largest value."""

    def find(target: int) -> Finding:
        values, errors = frame_values(asked.model, asked.clip, target, **asked.options)
        raised = values.clamp_min(0)
        level = raised / torch.where(raised.amax() > 0, raised.amax(), 1.0)
        map = level.float()[:, None, None].expand(asked.clip.shape[2:]).contiguous()
        return Finding(target, map, details={"values": values.tolist(), "errors": errors.tolist()})

    return each_class(asked, find)


class _Game:
    """The scores of subsets of the frames, each computed once."""

    def __init__(self, model: nn.Module, clip: Tensor, base: Tensor, target: int, batch: int) -> None:
        self.model, self.clip, self.base, self.target, self.batch = model, clip, base, target, batch
        self.frames = clip.shape[2]
        self.scores: dict[Members, float] = {}

    def look(self, subsets: Iterable[Members]) -> None:
        """Computes the scores of subsets."""
        new = [members for members in dict.fromkeys(subsets) if members not in self.scores]
        with undisturbed(self.model), torch.inference_mode(False), torch.no_grad():
            for begin in range(0, len(new), self.batch):
                group = new[begin : begin + self.batch]
                shown = torch.tensor(group, device=self.clip.device)[:, None, :, None, None]
                logits = self.model(torch.where(shown, self.clip, self.base))
                check_logits(self.model, logits, len(group))
                scores = scores_of(self.model, logits)[:, self.target]
                self.scores |= zip(group, scores.tolist(), strict=True)


def _exact(game: _Game) -> tuple[Tensor, Tensor]:
    t = game.frames
    everything = [tuple(bool(number >> i & 1) for i in range(t)) for number in range(2**t)]
    game.look(everything)
    values = torch.zeros(t, dtype=torch.float64)
    for members in everything:
        size = sum(members)
        for frame in range(t):
            if not members[frame]:
                joined = (*members[:frame], True, *members[frame + 1 :])
                share = factorial(size) * factorial(t - size - 1) / factorial(t)
                values[frame] += share * (game.scores[joined] - game.scores[members])
    return values, torch.zeros_like(values)


def _sampled(game: _Game, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    t, draw = game.frames, torch.Generator().manual_seed(seed)
    pairs = []
    for _ in range(samples // 2):
        order = torch.randperm(t, generator=draw).tolist()
        pairs.append((_along(game, order) + _along(game, order[::-1])) / 2)
    found = torch.stack(pairs)
    return found.mean(0), found.std(0) / len(pairs) ** 0.5


def _along(game: _Game, order: list[int]) -> Tensor:
    """Returns the increase of the score with each frame when the frames are added in an order."""
    members, path = [False] * game.frames, [(False,) * game.frames]
    for frame in order:
        members[frame] = True
        path.append(tuple(members))
    game.look(path)
    gains = torch.zeros(game.frames, dtype=torch.float64)
    for before, after, frame in zip(path[:-1], path[1:], order, strict=True):
        gains[frame] = game.scores[after] - game.scores[before]
    return gains
