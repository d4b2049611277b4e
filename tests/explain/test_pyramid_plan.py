"""What is kept of a network between clips: the same result, and nothing that is no longer true."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from explain.networks import Own, clip, zoo
from torch import Tensor, nn

from kinema.explain import class_feature_pyramid
from kinema.explain.pyramid import plan


class Switched(Own):
    """Takes another layer where `other` says so."""

    other = False

    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Conv3d(6, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        return self.classifier((self.third if self.other else self.second)(x).mean((2, 3, 4)))


def replace(model: nn.Module) -> None:
    model.second = nn.Sequential(nn.Conv3d(6, 4, 1), nn.Conv3d(4, 8, 1))


def add_hook(model: nn.Module) -> None:
    extra = nn.Conv3d(8, 8, 1)
    model.second.register_forward_hook(lambda module, given, output: extra(output))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change", [lambda model: setattr(model, "other", True), replace, add_hook, lambda model: model.double()]
)
def test_a_network_that_was_changed_is_followed_anew(change: Callable[[nn.Module], None]) -> None:
    model = Switched().eval()
    class_feature_pyramid(model, clip(), 1, depth=9)
    change(model)
    with patch.object(plan, "trace", wraps=plan.trace) as followed:
        found = class_feature_pyramid(model, clip(), 1, depth=9)
        assert followed.call_count == 1
    plan._known.pop(model)
    assert class_feature_pyramid(model, clip(), 1, depth=9) == found


def test_what_was_found_serves_other_clips_classes_thresholds_and_weights() -> None:
    model = zoo("r3d_34")
    first = class_feature_pyramid(model, clip(), 1)
    with torch.no_grad():
        model.get_submodule("layer4.2.conv2").weight.mul_(-1)  # type: ignore[operator,union-attr]
    with patch.object(plan, "trace", side_effect=AssertionError("followed again")):
        found = class_feature_pyramid(model, clip(seed=1), 2, threshold=0.8, mode="layer")
        model.train()
        assert class_feature_pyramid(model, clip(seed=1), 2, threshold=0.8, mode="layer") == found
    plan._known.pop(model)
    assert class_feature_pyramid(model, clip(seed=1), 2, threshold=0.8, mode="layer") == found != first


def test_a_network_is_forgotten_with_what_was_found_of_it() -> None:
    model = zoo("tsn_r18")
    class_feature_pyramid(model, clip(), 1)
    held = weakref.ref(model)
    layers = plan._known[model][1]
    assert layers
    del model, layers
    gc.collect()
    assert held() is None
