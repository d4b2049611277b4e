"""Grad-CAM: the maps of a layer, each weighted by the mean gradient of a logit; for comparison.

Source: Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2, over time as well as space.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.activations import one_clip, score_gradients
from kinema.explain.class_weights import check_target, default_layer
from kinema.explain.interpolate import Size, enlarge
from kinema.explain.methods import Asked, Finding, Findings, register
from kinema.explain.tubes import class_activation, clip_size
from kinema.ops.precision import widen


def grad_cam(model: nn.Module, clip: Tensor, target: int, *, layer: str | None = None) -> Tensor:
    """Computes where a layer raises the logit of a class.

    The weighted sum of the maps, without its negative part, is enlarged with cubic splines and divided by its maximum.
    Before the enlargement it equals `LayerGradCam` of captum with `relu_attributions=True`.

    Args:
        model: the network, see `kinema.explain.layers`; left unchanged.
        clip: float `1 3 T H W` or `3 T H W`, normalised.
        target: index of the class.
        layer: any layer that returns one map N C T' H' W'; None is the last stage.

    Returns:
        float32 T H W in [0, 1] on the CPU; the largest value is 1, or all are 0 if nothing raises the logit.

    Raises:
        KinemaError: the class or layer does not exist, there are several clips, no gradient reaches the layer, or
            values are not finite.
    """
    target = check_target(model, target)
    name = default_layer(model) if layer is None else layer
    x = one_clip(model, clip)
    _, maps, gradients = score_gradients(model, x, [name], lambda logits: [target])
    return grad_cam_of(name, maps[name], gradients[target][name], clip_size(x))


@register("gradcam")
def _gradcam(asked: Asked) -> Findings:
    """Computes `grad_cam` for all classes, with one forward pass and one backward pass per class."""
    name = default_layer(asked.model) if asked.layer is None else asked.layer
    logits, maps, gradients = score_gradients(asked.model, asked.clip, [name], asked.choose)
    size = clip_size(asked.clip)
    return logits, [
        Finding(target, grad_cam_of(name, maps[name], at[name], size), name) for target, at in gradients.items()
    ]


def grad_cam_of(name: str, maps: Tensor, gradients: Tensor, size: Size) -> Tensor:
    """Computes `grad_cam` from given maps and gradients.

    Args:
        name: name of the layer, for messages.
        maps: float 1 C T' H' W'.
        gradients: of the same shape.
        size: T, H, W.

    Raises:
        KinemaError: values are not finite.
    """
    if not (maps.isfinite().all() and gradients.isfinite().all()):
        raise KinemaError(f"layer {name} has values that are not finite: explain with float32 weights")
    found = enlarge(raw_grad_cam(maps, gradients), size).clamp_min(0)
    highest = found.amax()
    return (found / torch.where(highest > 0, highest, 1.0)).float().cpu()


def raw_grad_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Returns the weighted sum without its negative part, at the size of the layer; 1 C T H W twice -> T H W."""
    weights = widen(gradients[0]).mean((1, 2, 3))
    return class_activation(widen(maps[0]), weights).relu()
