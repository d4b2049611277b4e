"""The metrics of a training step. They leave the device one step later and all at once.

Reading a number from a device waits until the device has computed it. A step that reads its own loss therefore waits
for its forward pass before it can queue its backward pass. The metrics of the previous step are ready, or soon will be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kinema.errors import RunError


@dataclass
class StepFigures:
    """The metrics of one step, still on the device.

    Attributes:
        step: number of the step, from 0.
        lr: learning rate of the step, before the factors of `optim.lr_mult`.
        files: videos of its clips.
        names: names of the metrics; `loss` is one of them.
    """

    step: int
    lr: float
    files: list[str]
    names: tuple[str, ...]
    _parts: list[Tensor] = field(default_factory=list)
    _clips: list[int] = field(default_factory=list)

    def add(self, clips: int, figures: dict[str, Tensor]) -> None:
        """Adds the means over the clips of a part of the batch; metrics that are not given are 0.

        Args:
            clips: number of clips in the part.
            figures: scalars on the device.
        """
        zero = figures["loss"].detach().new_zeros(())
        self._parts.append(torch.stack([figures.get(name, zero).detach().float() for name in self.names]))
        self._clips.append(clips)

    def read(self) -> dict[str, float]:
        """Copies the metrics to the host.

        Returns:
            Per name the sum over all clips, and `clips`, the number of clips.

        Raises:
            RunError: the loss is not finite.
        """
        sums = dict.fromkeys(self.names, 0.0)
        for clips, means in zip(self._clips, torch.stack(self._parts).tolist(), strict=True):
            figures = dict(zip(self.names, means, strict=True))
            if not math.isfinite(figures["loss"]):
                raise RunError(
                    f"the loss is {figures['loss']} at step {self.step} with the files {', '.join(self.files)}; "
                    "lower optim.lr, or use precision 32"
                )
            for name, mean in figures.items():
                sums[name] += mean * clips
        return {**sums, "clips": float(sum(self._clips))}
