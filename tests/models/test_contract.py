"""What every network of the zoo must do, whatever its family: one small network of each builder."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.models import VideoModel, create_model, find, list_models

FRAMES = 8


def depth(name: str) -> int:
    return int(re.sub(r"\D", "", name[-3:]) or 0)


BUILDERS = {find(name).build for name in list_models()}
NAMES = sorted(min((n for n in list_models() if find(n).build is build), key=depth) for build in BUILDERS)
# What the defaults make too large for a test, or what a narrow network cannot have.
OPTIONS: dict[str, dict[str, Any]] = {
    "attention_head": {"backbone": "r2d_50"},
    "cidc": {"backbone": "tsm_r18", "units": [1, 2, 1], "backbone_options": {"fold": 4}},
    "lstm_head": {"backbone": "tsn_efficientnet_lite0"},
    "resnext3d_50": {"groups": 4},
}


def small(name: str) -> VideoModel:
    torch.manual_seed(0)
    return create_model(name, num_classes=4, frames=FRAMES, width=0.125, **OPTIONS.get(name, {})).eval()


def clips() -> Tensor:
    return torch.randn(2, 3, FRAMES, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_built_again_from_its_description_and_copied(name: str) -> None:
    model, x = small(name), clips()
    model.reset_classifier(3)
    described = json.loads(json.dumps(model.architecture))
    again = create_model(described["name"], **described["options"]).eval()
    again.load_state_dict(model.state_dict())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        logits = model(x)
        assert logits.shape == (2, 3)
        assert torch.equal(again(x), logits)
        assert torch.equal(twin(x), logits)
        next(twin.parameters()).add_(1.0)
        assert torch.equal(model(x), logits)
    assert again.clip_spec == model.clip_spec


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_is_a_module_that_gives_clips_once_and_in_order(name: str) -> None:
    model, x = small(name), clips()
    met: list[tuple[str, Tensor]] = []
    for stage in model.feature_maps:
        model.get_submodule(stage).register_forward_hook(lambda m, args, out, stage=stage: met.append((stage, out)))
    with torch.no_grad():
        features = model.forward_features(x)
        assert tuple(stage for stage, _ in met) == model.feature_maps
        assert all(out.ndim == 5 and len(out) == 2 for _, out in met)
        assert torch.equal(met[-1][1], features)
        met.clear()
        model(x)
    assert tuple(stage for stage, _ in met) == model.feature_maps


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_training_in_bfloat16_has_gradients_that_are_numbers(name: str) -> None:
    model = small(name).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(model(clips()).float(), torch.tensor([0, 3]))
    loss.backward()
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert p.grad.abs().max() < 1e12, key  # memory that nobody wrote holds any numbers
