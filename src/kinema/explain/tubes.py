"""Saliency Tubes: the positions and times of the features that support a class."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError, unknown
from kinema.explain.activations import one_clip, record
from kinema.explain.class_weights import check_target, default_layer, require_class_weights, weigh
from kinema.explain.interpolate import Size, enlarge, enlarge_squares, to_unit
from kinema.explain.methods import Asked, Finding, Findings, register

Style = Literal["tube", "cam"]


def saliency_tubes(
    model: nn.Module, clip: Tensor, target: int, *, layer: str | None = None, threshold: float = 0.0,
    style: Style = "tube",
) -> Tensor:  # fmt: skip
    """Computes class-weighted activations at the size of the clip.

    With the maps `a_j` of a layer and the weights `y_j` of a class, `f_j = y_j a_j`:

    `tube`, equation 7.1 of the thesis: every `f_j` is scaled to [0, 1] over space and time, enlarged by cubic splines
    and squared; the tube is the sum. All channels count equally, independent of their weight, and a channel with a
    negative weight counts where it is least active; `threshold` removes weak channels.
    `cam`, the authors' released code: the sum of all `f_j`, enlarged.

    Args:
        model: `feature_maps`, `classifier` and `forward` are enough, see `kinema.explain.layers`.
        clip: float `1 3 T H W` or `3 T H W`, normalised.
        target: index of the class.
        layer: a stage; None is the last one, see `class_features`.
        threshold: tau. The weights of the class are scaled to [0, 1] over the channels, and channels below tau are
            removed. 0 keeps all; above 1 none is left and the result is 0 everywhere. The thesis states neither a
            value nor whether tau applies to weights or to activations.
        style: `tube` or `cam`.

    Returns:
        float32 T H W in [0, 1] on the CPU; the largest value is 1, or all are 0 if the maps are constant.

    Raises:
        KinemaError: the class, layer or style does not exist, the layer has no class weights, there are several clips,
            or the threshold is negative.
    """
    check_style(style, threshold)
    target = check_target(model, target)
    name = default_layer(model) if layer is None else layer
    require_class_weights(model, name)
    x = one_clip(model, clip)
    _, maps = record(model, x, [name])
    return tube_of(*weigh(model, name, maps[name], target), clip_size(x), threshold=threshold, style=style)


@register("tube", ["threshold"])
def _tube(asked: Asked) -> Findings:
    return _findings(asked, "tube", **asked.options)


@register("cam", ["threshold"])
def _cam(asked: Asked) -> Findings:
    return _findings(asked, "cam", **asked.options)


def _findings(asked: Asked, style: Style, threshold: Any = 0.0) -> Findings:
    """Computes `saliency_tubes` for all classes, with one forward pass."""
    check_style(style, threshold)
    name = default_layer(asked.model) if asked.layer is None else asked.layer
    require_class_weights(asked.model, name)
    logits, maps = record(asked.model, asked.clip, [name])
    size = clip_size(asked.clip)
    found = {
        target: tube_of(*weigh(asked.model, name, maps[name], target), size, threshold=threshold, style=style)
        for target in asked.choose(logits)
    }
    return logits, [Finding(target, one, name) for target, one in found.items()]


def tube_of(maps: Tensor, weights: Tensor, size: Size, *, threshold: float = 0.0, style: Style = "tube") -> Tensor:
    """Computes `saliency_tubes` from given maps and weights.

    Args:
        maps: float C T' H' W'.
        weights: C.
        size: T, H, W.
        threshold: see `saliency_tubes`.
        style: `tube` or `cam`.
    """
    check_style(style, threshold)
    kept = _kept(weights, threshold)
    maps, weights = maps[kept], weights[kept]
    if style == "cam":
        found = enlarge(class_activation(maps, weights), size)
    else:
        found = enlarge_squares(normalised(maps * weights[:, None, None, None]), size)
    return to_unit(found).float().cpu()


def class_activation(maps: Tensor, weights: Tensor) -> Tensor:
    """Returns the weighted sum of maps, linear in both; C T H W and C -> T H W."""
    return torch.einsum("cthw,c->thw", maps, weights)


def normalised(maps: Tensor) -> Tensor:
    """Scales every channel to [0, 1] over space and time, a constant channel to 0; C T H W -> the same."""
    low, high = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
    flat = high == low
    return torch.where(flat, 0.0, (maps - low) / torch.where(flat, 1.0, high - low))


def clip_size(x: Tensor) -> Size:
    """Returns T, H, W of a clip `1 3 T H W`."""
    return x.shape[2], x.shape[3], x.shape[4]


def check_style(style: str, threshold: float) -> None:
    """Rejects an unknown style, and a threshold that is not a number of at least 0.

    Raises:
        KinemaError: the message names the argument.
    """
    if style not in get_args(Style):
        raise unknown("style", str(style), get_args(Style))
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 <= threshold < math.inf:
        raise KinemaError(f"threshold is {threshold!r}: give a number of at least 0 (0 keeps all channels)")


def _kept(weights: Tensor, threshold: float) -> Tensor:
    """Returns which channels are kept, bool C. Weights that are all equal count as 1."""
    if not len(weights):
        return torch.zeros_like(weights, dtype=torch.bool)
    low, high = weights.amin(), weights.amax()
    scaled = torch.ones_like(weights) if high == low else (weights - low) / (high - low)
    return scaled >= threshold
