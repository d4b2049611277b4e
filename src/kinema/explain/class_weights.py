"""The weight of each channel of a stage for a class, if it follows from the weights of the network."""

from __future__ import annotations

from operator import index
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.explain.activations import record, undisturbed
from kinema.explain.layers import classifier_of, exposed_layers, find_layer, stage_names
from kinema.models.attached import Attached
from kinema.models.cidc import CIDC, CIDCUnit
from kinema.models.temporal_heads import AttentionHead, LSTMHead
from kinema.models.video_model import VideoModel
from kinema.models.x3d_blocks import X3DHead
from kinema.ops.precision import full_precision, wide_dtype

Weighted = tuple[Tensor, Tensor]


def check_target(model: nn.Module, target: object) -> int:
    """Returns the index of a class as an int.

    Raises:
        KinemaError: it is not the index of an output of the network.
    """
    count = classifier_of(model).out_features
    number = index_of(target)
    if number is None or not 0 <= number < count:
        raise KinemaError(f"target is {target!r}: give the index of a class, from 0 to {count - 1}")
    return number


def scores_of(model: nn.Module, logits: Tensor) -> Tensor:
    """Returns the softmax scores of logits, float64 N K on the CPU.

    Raises:
        KinemaError: the scores are not numbers; the message names the network.
    """
    scores = logits.detach().cpu().double().softmax(1)
    if not scores.isfinite().all():
        raise KinemaError(
            f"{type(model).__name__} returns logits that are not finite: check the clip, or use float32 weights"
        )
    return scores


def index_of(value: object) -> int | None:
    """Converts an integer of Python or NumPy, or a tensor such as `logits.argmax()`; None for anything else."""
    if isinstance(value, Tensor) and (value.dim() or value.dtype == torch.bool):
        return None
    try:
        return None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]  # it raises TypeError
    except TypeError:
        return None


def default_layer(model: nn.Module) -> str:
    """Returns the stage to explain if no layer is given: the last one, with both pathways joined."""
    return stage_names(model)[-1]


def class_features(model: nn.Module, clip: Tensor, target: int, layer: str | None = None) -> Weighted:
    """Returns the maps of a layer and the weight of each map for a class.

    The last stage: what the classifier pools, and its row. Where a head stands between (X3D, MTNet), it is applied at
    every position by itself, which gives one map per input of the classifier. A network that puts two stages before
    its classifier (CIDC, attention head) has weights for both, each its own part of the row. A stage with Class
    Regularisation: `relu(M w)`, as the operator itself relates the class to its channels.

    Args:
        model: the network, see `kinema.explain.layers`.
        clip: float `1 3 T H W` or `3 T H W`.
        target: index of the class.
        layer: see `find_layer`; None is the last stage.

    Returns:
        float32 maps C T' H' W' (float64 for a float64 network) and weights C. The channels are those of the layer, or
        the inputs of the classifier where a head is applied.

    Raises:
        KinemaError: the network has no class weights for this layer, or no such layer or class.
    """
    layer = default_layer(model) if layer is None else layer
    target = check_target(model, target)
    require_class_weights(model, layer)
    _, maps = record(model, clip, [layer])
    return weigh(model, layer, maps[layer], target)


def require_class_weights(model: nn.Module, layer: str) -> None:
    """Rejects a layer for which the network has no class weights, before anything is computed.

    Raises:
        KinemaError: the layer has no class weights; the message suggests layers that have them, and Grad-CAM.
    """
    classifier_of(model)
    found = find_layer(model, layer)
    stage = found.stage or layer
    if stage in stage_names(model) and _kind(model, stage):
        return
    names = [name for name in exposed_layers(model) if _kind(model, _stage_of(model, name))]
    if names:
        offer = f"choose from {', '.join(names)}, or use gradcam, which needs none"
    elif isinstance(model, LSTMHead):
        offer = "its classifier also reads the state of an LSTM; use gradcam"
    else:
        offer = "its classifier does not read the channels of its last stage; use gradcam, which needs none"
    raise KinemaError(f"layer {layer} has no class weights: {offer}")


def weigh(model: nn.Module, layer: str, recorded: Tensor, target: int) -> Weighted:
    """Does the same as `class_features`, for a recorded map.

    Args:
        model: the network.
        layer: one that `require_class_weights` accepts.
        recorded: its map `1 C T' H' W'`, from `record`.
        target: index of the class.

    Raises:
        KinemaError: values are not finite, or the channels are not the inputs of the classifier.
    """
    if not recorded.isfinite().all():
        raise KinemaError(f"layer {layer} has values that are not finite: explain with float32 weights")
    stage = _stage_of(model, layer)
    kind, head, wide = _kind(model, stage), getattr(model, "head", None), wide_dtype(recorded)
    # In training mode, the BatchNorm of a head and spectral norms of weights would update their state.
    with undisturbed(model), torch.no_grad(), full_precision(recorded):
        weights = classifier_of(model).weight[target].detach()
        maps = recorded.detach()
        if kind == "part":
            weights = _part(model, stage, weights)
        elif kind == "regularised":
            weights = _regularised(model, stage, weights)
        if layer != stage:
            maps, weights = _of_pathway(model, layer, stage, maps, weights)
        elif kind == "head" and isinstance(head, X3DHead):
            maps = head.maps(maps)
        maps, weights = maps[0].to(wide), weights.to(wide)
        if isinstance(model, CIDC) and stage == "cidc":
            maps, weights = _in_time_of_the_clip(model, maps, weights)
    if len(maps) != len(weights):
        raise KinemaError(
            f"layer {layer} has {len(maps)} channels, but the classifier has {len(weights)} inputs: use gradcam, which "
            "needs no class weights"
        )
    return maps, weights


def _stage_of(model: nn.Module, layer: str) -> str:
    return find_layer(model, layer).stage or layer


def _kind(model: nn.Module, stage: str) -> str:
    """Returns how a stage is related to the classes: `head`, `part` of the classifier's row, `regularised` or empty."""
    if isinstance(model, Attached):
        if stage in (model.backbone.feature_maps[-1], *model.feature_maps[-1:]) and _reads_parts(model):
            return "part"
    elif stage == stage_names(model)[-1]:
        return "head"
    return "regularised" if isinstance(model, VideoModel) and stage in model.class_regularisation else ""


def _reads_parts(model: Attached) -> bool:
    """Returns True if the inputs of the classifier are means of channels of stages."""
    return isinstance(model, AttentionHead) or (isinstance(model, CIDC) and model.head == "pool")


def _part(model: nn.Module, stage: str, row: Tensor) -> Tensor:
    """Returns the inputs of the classifier that are means of the channels of a stage."""
    if isinstance(model, CIDC) and model.fusion != "channels":
        return row  # the means of the sum or of the steps of both
    half = len(row) // 2
    return row[half:] if stage == stage_names(model)[-1] else row[:half]


def _regularised(model: nn.Module, stage: str, row: Tensor) -> Tensor:
    assert isinstance(model, VideoModel)
    matrix = cast(Tensor, model.class_regularisation[stage].weight).detach()
    wide = wide_dtype(matrix, row)
    return (matrix.to(wide) @ row.to(wide)).relu()


def _of_pathway(model: nn.Module, layer: str, stage: str, maps: Tensor, weights: Tensor) -> Weighted:
    """Returns the weights of the channels of one pathway, from those of the joined stage.

    A channel of the fast pathway has one weight per fast frame of a slow frame. If they differ, the weight is their
    mean, and their ratio to the mean is multiplied into the maps.
    """
    assert isinstance(model, VideoModel)
    own = model.pathways(stage, weights.view(1, -1, 1, 1, 1))[find_layer(model, layer).pathway]  # 1 C A 1 1
    mean = own.mean(2, keepdim=True)
    share = torch.where(mean == 0, 1.0, own / mean).to(maps.dtype)
    return maps * share.repeat(1, 1, maps.shape[2] // own.shape[2], 1, 1), mean[0, :, 0, 0, 0]


def _in_time_of_the_clip(model: CIDC, maps: Tensor, weights: Tensor) -> Weighted:
    """Concatenates both directions of F_CIDC, the second one reversed in time; C T' H' W' -> 2C T'/2 H' W'."""
    steps = next(unit.conv.steps for unit in model.cidc.modules() if isinstance(unit, CIDCUnit))
    if len(steps) == 1:
        return maps, weights
    forward, backward = maps.split(steps, 1)
    backward = backward.flip(1)
    if backward.shape[1] != forward.shape[1]:
        backward = F.interpolate(backward[None], forward.shape[1:], mode="trilinear", align_corners=True)[0]
    return torch.cat([forward, backward]), torch.cat([weights, weights])
