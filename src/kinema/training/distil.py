"""Distillation: also learn from the scores of another network, for example a causal network from a window network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError
from kinema.ops.precision import full_precision
from kinema.recognizer import Recognizer


@dataclass(frozen=True)
class Distil:
    """Settings of distillation (Hinton, Vinyals and Dean, 2015).

    Attributes:
        teacher: a run or recognizer with the same labels, whose scores are also learned; null means no distillation.
        weight: weight of the distillation in the loss, above 0 and at most 1; the cross-entropy has the rest.
        temperature: divisor of the logits of both networks, above 0.
    """

    teacher: str | None = None
    weight: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if self.teacher == "":
            raise KinemaError("distil.teacher is empty: give a run or recognizer, or null")
        if not 0 < self.weight <= 1:
            raise KinemaError(f"distil.weight is {self.weight}: give a number above 0 and at most 1")
        if not 0 < self.temperature < inf:
            raise KinemaError(f"distil.temperature is {self.temperature}: give a number above 0")
        for name, usual in (("weight", 0.5), ("temperature", 2.0)):
            if self.teacher is None and getattr(self, name) != usual:
                raise KinemaError(
                    f"distil.{name} is {getattr(self, name)}, which needs distil.teacher: give a run or recognizer"
                )


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Computes the divergence of the student's scores from the teacher's, both at a temperature.

    `T^2 KL(softmax(teacher / T) || softmax(student / T))`, averaged over the batch; the factor T^2 keeps gradients the
    same size at any T. Computed in float32 (float64 for float64 logits), also under autocast. No gradient reaches the
    teacher.

    Args:
        student: logits N K.
        teacher: logits N K.
        temperature: T, above 0.

    Returns:
        A scalar; 0 if both have the same scores.

    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.
    """
    with full_precision(student):
        wide = torch.float64 if student.dtype == torch.float64 else torch.float32
        own = F.log_softmax(student.to(wide) / temperature, 1)
        wanted = F.log_softmax(teacher.detach().to(wide) / temperature, 1)
        return F.kl_div(own, wanted, reduction="batchmean", log_target=True) * temperature**2


class Teacher:
    """The teacher network, in evaluation mode. It is not a module, so that no checkpoint contains it.

    Args:
        config: settings that name it.
        labels: K names, the meanings of the student's outputs.
        spec: specification of the student's clips.

    Raises:
        KinemaError: it does not exist, has other labels, or its clips have another number of frames.
    """

    def __init__(self, config: Distil, labels: Sequence[str], spec: ClipSpec) -> None:
        assert config.teacher is not None
        recognizer = Recognizer.load(config.teacher)
        name = f"distil.teacher is {config.teacher}"
        if sorted(recognizer.labels) != sorted(labels):
            odd = sorted(set(recognizer.labels) ^ set(labels))
            raise KinemaError(
                f"{name}, but its labels are not those of the data (the first difference is {odd[0]!r}): give "
                "one that was trained on the same labels"
            )
        if recognizer.spec.frames != spec.frames:
            raise KinemaError(
                f"{name}, which takes clips of {recognizer.spec.frames} frames, but clip.frames is {spec.frames}: give "
                "one with the same number of frames"
            )
        self._model = recognizer.model.eval().requires_grad_(False)
        self._order = torch.tensor([recognizer.labels.index(label) for label in labels])
        self._own, self._theirs = spec, recognizer.spec

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Returns its logits, N K, in the order of the student's labels.

        Args:
            x: N 3 T H W, normalised for the student.
        """
        self._model.to(x.device)
        found: Tensor = self._model(renormalised(x, self._own, self._theirs))
        return found[:, self._order.to(x.device)]


def renormalised(x: Tensor, own: ClipSpec, theirs: ClipSpec) -> Tensor:
    """Converts clips N 3 T H W that are normalised for one spec to those of another: mean, std and colour order."""
    if (own.mean, own.std, own.colour) == (theirs.mean, theirs.std, theirs.colour):
        return x
    mean, std, new_mean, new_std = (
        x.new_tensor(values).view(1, 3, 1, 1, 1) for values in (own.mean, own.std, theirs.mean, theirs.std)
    )
    pixels = x * std + mean
    if own.colour != theirs.colour:
        pixels = pixels.flip(1)
    return (pixels - new_mean) / new_std
