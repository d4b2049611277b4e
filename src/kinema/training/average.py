"""The moving average of a network's weights."""

from __future__ import annotations

from itertools import chain

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MovingAverage(AveragedModel):
    """An exponential moving average of all parameters and buffers, in evaluation mode.

    PyTorch's own update asks the device twice per step whether it is the first one; this class counts on the host.

    Args:
        model: the network that is averaged.
        decay: weight of the old average in the new one, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._blend = get_ema_multi_avg_fn(decay)
        super().__init__(model, multi_avg_fn=self._blend, use_buffers=True)
        self.requires_grad_(False).eval()
        self._begun: bool | None = None  # unknown before the first step: a checkpoint may be loaded

    def update_parameters(self, model: nn.Module) -> None:
        """Updates the average with the current weights; the first call copies them."""
        if self._begun is None:
            self._begun = bool(self.n_averaged > 0)
        own = [t.detach() for t in chain(self.module.parameters(), self.module.buffers())]
        new = [t.detach() for t in chain(model.parameters(), model.buffers())]
        if not self._begun:
            for average, value in zip(own, new, strict=True):
                average.copy_(value)
        else:
            kinds: dict[bool, tuple[list[Tensor], list[Tensor]]] = {True: ([], []), False: ([], [])}
            for average, value in zip(own, new, strict=True):
                kinds[average.is_floating_point()][0].append(average)
                kinds[average.is_floating_point()][1].append(value)
            for averages, values in kinds.values():
                if averages:
                    self._blend(averages, values, self.n_averaged)
        self._begun = True
        self.n_averaged += 1
