"""SRTG's cycle consistency for display: the frame to which each frame returns, and how often gates are open.

Source: Stergiou and Poppe, Learn to cycle: time-consistent feature discovery, equations 4 and 5, figure 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.activations import one_clip, record_inputs
from kinema.explain.layers import of_kind
from kinema.models.modes import in_evaluation
from kinema.ops.cycle import returned_frames
from kinema.ops.recurrence import SqueezeRecursion


@dataclass(frozen=True)
class Cycle:
    """The input of the gate of one layer for one clip: sequence A, the mean features, and B, the recurrent sequence.

    Attributes:
        layer: name of the module.
        there: for every frame of A, the frame to which it returns through B [T].
        back: for every frame of B, the frame to which it returns through A [T].
        gate: `none` or `hard`.
    """

    layer: str
    there: tuple[int, ...]
    back: tuple[int, ...]
    gate: str

    @property
    def errors(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The frames of A, and those of B, that do not return to themselves: the temporal cyclic errors."""
        there, back = (tuple(t for t, r in enumerate(way) if r != t) for way in (self.there, self.back))
        return there, back

    @property
    def consistent(self) -> bool:
        """True if all frames return to themselves in both directions. A single frame is not evidence of it."""
        return len(self.there) > 1 and not any(self.errors)


def cycles(model: nn.Module, clip: Tensor) -> list[Cycle]:
    """Computes the cycle consistency of a clip in every layer with Squeeze and Recursion, with or without a gate.

    Args:
        model: a network such as `srtg_r3d_50`.
        clip: 3 T H W or 1 3 T H W.

    Returns:
        In the order of the network.

    Raises:
        KinemaError: the network has no Squeeze and Recursion.
    """
    layers = _layers(model)
    found = []
    for name, (x, _) in record_inputs(model, one_clip(model, clip), layers).items():
        module = layers[name]
        assert isinstance(module, SqueezeRecursion)
        with torch.no_grad():
            a, b = module.sequences(x)
        ways = (returned_frames(a, b, module.temperature)[0], returned_frames(b, a, module.temperature)[0])
        there, back = (tuple(way.tolist()) for way in ways)
        found.append(Cycle(name, there, back, module.gate))
    return found


def open_rates_by_class(
    model: nn.Module, clips: Iterable[Tensor], targets: Sequence[int], classes: int
) -> dict[str, Tensor]:
    """Returns per class how often the hard gates of each layer decide to be open.

    Args:
        model: a network with hard gates.
        clips: one clip after another, 3 T H W or 1 3 T H W.
        targets: the class of each clip.
        classes: K.

    Returns:
        Name of the layer -> float32 K in [0, 1]; not a number for a class without a clip.

    Raises:
        KinemaError: the network has no hard gates, there is not one class per clip, or a class is outside 0 to K - 1.
    """
    gates = {n: m for n, m in _layers(model).items() if isinstance(m, SqueezeRecursion) and m.gate == "hard"}
    if not gates:
        raise KinemaError(f"{type(model).__name__} has no hard gates: build the network with gate='hard'")
    opened, seen = torch.zeros(len(gates), classes), torch.zeros(classes)
    before = {name: module.open_rate for name, module in gates.items()}
    try:
        with in_evaluation(model), torch.no_grad():
            for clip, target in zip(clips, targets, strict=True):
                if not 0 <= target < classes:
                    raise KinemaError(f"targets contains {target}: give classes from 0 to {classes - 1}")
                model(one_clip(model, clip))
                seen[target] += 1
                for row, module in enumerate(gates.values()):
                    assert module.open_rate is not None
                    opened[row, target] += float(module.open_rate)
    except ValueError as error:
        if isinstance(error, KinemaError):
            raise
        raise KinemaError(f"targets contains {len(targets)} classes: give one per clip") from error
    finally:
        for name, module in gates.items():
            module.open_rate = before[name]
    return {name: row / seen for name, row in zip(gates, opened, strict=True)}


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    layers = of_kind(model, SqueezeRecursion)
    if not layers:
        raise KinemaError(
            f"{type(model).__name__} has no Squeeze and Recursion: give a network that has it, such as srtg_r3d_50"
        )
    return layers
