"""Class Regularisation for any network: one module after each of its stages."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from kinema.errors import KinemaError
from kinema.models.options import check_option
from kinema.models.video_model import VideoModel
from kinema.ops.class_regularisation import Bounds, Choice, ClassRegularisation


def regularise(
    model: VideoModel, strengths: Sequence[float], bounds: Bounds = "shrink", choice: Choice = "sum"
) -> None:
    """Adds `ClassRegularisation` after each stage of a network, but not after the stem.

    Args:
        model: network that is changed in place.
        strengths: lambda of each stage, first to last; the thesis uses 0.9, 0.8, 0.7, 0.6.
        bounds: bounds of the gains, see `ClassRegularisation`.
        choice: score by which a class is chosen, see `ClassRegularisation`.

    Raises:
        KinemaError: the number of strengths differs from that of the stages, a strength is outside 0 to 1, bounds or
            choice are unknown, or the network has no classifier.
    """
    stages = [name for name in model.feature_maps if name != "stem"]
    for name, value, allowed in (("bounds", bounds, Bounds), ("choice", choice, Choice)):
        check_option(f"class_regularisation_{name}", value, allowed)
    if not isinstance(strengths, Sequence) or isinstance(strengths, str) or len(strengths) != len(stages):
        raise KinemaError(
            f"class_regularisation is {strengths!r}: give one number for each of the {len(stages)} stages "
            f"{', '.join(stages)}"
        )
    for strength in strengths:
        if not isinstance(strength, int | float) or isinstance(strength, bool) or not 0 <= strength <= 1:
            raise KinemaError(f"class_regularisation contains {strength!r}: give numbers from 0 to 1 (1 has no effect)")
    if not model.num_classes:
        raise KinemaError(
            "class_regularisation reads the classifier, but num_classes is 0: give the number of classes, or leave "
            "class_regularisation out"
        )
    features, device = model.num_features, model.classifier.weight.device
    for name, strength, channels in zip(stages, strengths, _channels(model, stages), strict=True):
        module = ClassRegularisation(features, channels, float(strength), bounds=bounds, choice=choice)
        model.class_regularisation[name] = module.to(device)


def _channels(model: VideoModel, stages: Sequence[str]) -> list[int]:
    """The channels that come out of each stage, found by following the shapes of a clip."""
    found: dict[str, int] = {}

    def note(name: str, x: torch.Tensor) -> torch.Tensor:
        found[name] = x.shape[1]
        return x

    twin = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad():
        twin.run_stages(torch.empty(1, 3, max(8, model.clip_spec.frames), 64, 64, device="meta"), note)
    return [found[name] for name in stages]
