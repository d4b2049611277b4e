"""Distillation: learning from the scores of another network too, such as a causal one from a window network."""

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
    """Distillation (Hinton, Vinyals and Dean, 2015).

    Attributes:
        teacher: a run or recognizer with the same labels, whose scores are learned too; null for no distillation.
        weight: share of the distillation in the loss, above 0, at most 1; the cross-entropy has the rest.
        temperature: by which the logits of both are divided, above 0.
    """

    teacher: str | None = None
    weight: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if self.teacher == "":
            raise KinemaError("distil.teacher is empty: name a run or recognizer, or give null")
        if not 0 < self.weight <= 1:
            raise KinemaError(f"distil.weight is {self.weight}: give a share above 0 and at most 1")
        if not 0 < self.temperature < inf:
            raise KinemaError(f"distil.temperature is {self.temperature}: give a number above 0")
        for name, usual in (("weight", 0.5), ("temperature", 2.0)):
            if self.teacher is None and getattr(self, name) != usual:
                raise KinemaError(
                    f"distil.{name} is {getattr(self, name)}: it needs distil.teacher, a run or recognizer"
                )


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The divergence of the student's scores from those of the teacher, both at a temperature.

    `T^2 KL(softmax(teacher / T) || softmax(student / T))`, the mean over the batch; the factor keeps the size of the
    gradients at any T. Computed in float32 (float64 for float64 logits), whatever autocast says. No gradient reaches
    the teacher.

    Args:
        student: logits N K.
        teacher: logits N K.
        temperature: T, above 0.

    Returns:
        A scalar, 0 where both have the same scores.

    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.
    """
    with full_precision(student):
        wide = torch.float64 if student.dtype == torch.float64 else torch.float32
        own = F.log_softmax(student.to(wide) / temperature, 1)
        wanted = F.log_softmax(teacher.detach().to(wide) / temperature, 1)
        return F.kl_div(own, wanted, reduction="batchmean", log_target=True) * temperature**2


class Teacher:
    """The network that is learned from, in evaluation mode; no module, so that no checkpoint holds it.

    Args:
        config: names it.
        labels: K names, what the outputs of the student mean.
        spec: how the clips of the student are made.

    Raises:
        KinemaError: it does not exist, has other labels, or other numbers of frames in its clips.
    """

    def __init__(self, config: Distil, labels: Sequence[str], spec: ClipSpec) -> None:
        assert config.teacher is not None
        recognizer = Recognizer.load(config.teacher)
        name = f"distil.teacher is {config.teacher}"
        if sorted(recognizer.labels) != sorted(labels):
            odd = sorted(set(recognizer.labels) ^ set(labels))
            raise KinemaError(
                f"{name}, whose labels are not those of the data (the first that differs is {odd[0]!r}): give one that "
                "was trained on the same labels"
            )
        if recognizer.spec.frames != spec.frames:
            raise KinemaError(
                f"{name}, whose clips have {recognizer.spec.frames} frames, but clip.frames is {spec.frames}: give one "
                "with the same number"
            )
        self._model = recognizer.model.eval().requires_grad_(False)
        self._order = torch.tensor([recognizer.labels.index(label) for label in labels])
        self._own, self._theirs = spec, recognizer.spec

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Its logits, N K, in the order of the student's labels.

        Args:
            x: N 3 T H W, normalised for the student.
        """
        self._model.to(x.device)
        found: Tensor = self._model(renormalised(x, self._own, self._theirs))
        return found[:, self._order.to(x.device)]


def renormalised(x: Tensor, own: ClipSpec, theirs: ClipSpec) -> Tensor:
    """Clips N 3 T H W that are normalised for one spec, as another one wants them: mean, std and colour order."""
    if (own.mean, own.std, own.colour) == (theirs.mean, theirs.std, theirs.colour):
        return x
    mean, std, new_mean, new_std = (
        x.new_tensor(values).view(1, 3, 1, 1, 1) for values in (own.mean, own.std, theirs.mean, theirs.std)
    )
    pixels = x * std + mean
    if own.colour != theirs.colour:
        pixels = pixels.flip(1)
    return (pixels - new_mean) / new_std
