"""The parts of every network: features, head, stages on the way, no classifier, gradient checkpointing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from models.test_contract import GATED, KINDS, NAMES, OCTAVE, SIDE, SMALLEST, awake, build, clips, networks
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.models import VideoModel
from kinema.models.slowfast import join

# Networks on others, on two pathways, and with Class Regularisation.
ON_TOP: list[tuple[str, dict[str, Any]]] = [
    ("cidc", {"backbone": "slowfast_50", "fusion": "channels"}),
    ("cidc", {"backbone": "tsn_r18", "fusion": "sum", "head": "flatten"}),
    ("lstm_head", {"backbone": "x3d_s"}),
    ("attention_head", {"backbone": "slowfast_50", "class_regularisation": (0.9, 0.8, 0.7, 0.6, 0.5)}),
    ("slowfast_50", {"class_regularisation": (0.9, 0.8, 0.7, 0.6)}),
]


def flat(maps: Tensor | tuple[Tensor, ...]) -> Tensor:
    """A map of one pathway, or those of two as the stage gives them."""
    return join(*maps) if isinstance(maps, tuple) else maps


@networks(KINDS, GATED, ON_TOP)
def test_features_and_head_make_the_network_and_stages_are_seen_on_the_way(name: str, options: dict[str, Any]) -> None:
    model, x = build(name, options).eval(), clips(2, 8, SIDE)
    met: dict[str, Tensor] = {}
    for stage in model.feature_maps:
        model.get_submodule(stage).register_forward_hook(
            lambda m, args, out, stage=stage: met.update({stage: out.clone()})
        )
    for module_name, module in model.class_regularisation.items():
        module.register_forward_hook(lambda m, args, out, stage=module_name: met.update({stage: out.clone()}))
    with torch.no_grad():
        logits = model(x)
        features = model.forward_features(x)
        assert torch.equal(model.forward_head(features), logits)
        embedded = model.forward_head(features, pre_logits=True)
        assert embedded.shape == (2, model.num_features)
        assert model.num_features == model.classifier.in_features
        again, maps = model.forward_intermediates(x)
        assert torch.equal(again, features)
        assert tuple(maps) == model.feature_maps
        for stage, found in maps.items():
            assert torch.equal(flat(found), met[stage]), stage
            assert isinstance(found, tuple) == ("slowfast" in f"{name} {options}" and stage in model.feature_maps[:5])
        wanted = [model.feature_maps[-1], model.feature_maps[1]]
        again, some = model.forward_intermediates(x, wanted)
        assert tuple(some) == (wanted[1], wanted[0])
        assert all(torch.equal(flat(some[stage]), met[stage]) for stage in wanted)
        assert torch.equal(model.forward_head(again), logits)
        assert model.forward_intermediates(x, [])[1] == {}
        if model.classifier.bias is not None and not name.endswith("lstm_head"):
            torch.testing.assert_close(model.classifier(embedded), logits, rtol=1e-4, atol=1e-5)
    with pytest.raises(KinemaError, match="layer9"):
        model.forward_intermediates(x, ["layer1", "layer9"])
    with pytest.raises(KinemaError, match=r"\['layer4'\]"):
        model.forward_intermediates(x, "layer4")


def test_two_pathways_have_their_own_frames_and_channels() -> None:
    model = build("slowfast_50").eval()
    _, maps = model.forward_intermediates(clips(1, 8, 32))
    shapes = [tuple(tuple(m.shape[1:3]) for m in found) for found in maps.values()]
    assert shapes == [((8, 2), (1, 8)), ((32, 2), (4, 8)), ((64, 2), (8, 8)), ((128, 2), (16, 8)), ((256, 2), (32, 2))]


@pytest.mark.parametrize("name", NAMES)
def test_without_a_classifier_the_output_is_the_embedding(name: str) -> None:
    model, x = build(name, num_classes=0), clips(2, 8, SIDE)
    full = build(name)
    assert isinstance(model.classifier, nn.Identity)
    assert (model.num_classes, full.num_classes) == (0, 4)
    assert model.num_features == full.num_features
    own = {key: value for key, value in full.state_dict().items() if not key.startswith("classifier.")}
    assert model.state_dict().keys() == own.keys()
    model.load_state_dict(own)
    expected = full.eval().forward_head(full.forward_features(x), pre_logits=True)
    assert torch.equal(model.eval()(x), expected)
    features = model.train().forward_features(x)
    assert torch.equal(model.forward_head(features), model.forward_head(features, pre_logits=True))  # no dropout
    assert model.architecture["options"]["num_classes"] == 0
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)
    assert model.architecture["options"]["num_classes"] == model.num_classes == 3
    full.double().reset_classifier(0)
    assert full(x.double()).shape == (2, full.num_features)
    full.reset_classifier(5)
    assert full.classifier.weight.dtype == torch.float64
    assert full(x.double()).shape == (2, 5)


@pytest.mark.parametrize("name", ["tsm_r18", "cidc"])
def test_class_regularisation_keeps_its_classifier(name: str) -> None:
    strengths = (0.9, 0.8, 0.7, 0.6, 0.5)[: 5 if name == "cidc" else 4]
    with pytest.raises(KinemaError, match="class_regularisation"):
        build(name, num_classes=0, class_regularisation=strengths)
    model = build(name, class_regularisation=strengths)
    with pytest.raises(KinemaError, match="class_regularisation"):
        model.reset_classifier(0)
    assert model(clips()).shape == (2, 4)
    model.reset_classifier(6)
    assert model(clips()).shape == (2, 6)


@pytest.mark.parametrize("outputs", [-1, 1.0, True, "4", None])
def test_what_is_no_number_of_outputs_is_refused(outputs: Any) -> None:
    model = build("tsn_r18")
    with pytest.raises(KinemaError, match="num_classes"):
        model.reset_classifier(outputs)
    with pytest.raises(KinemaError, match="num_classes"):
        build("tsn_r18", num_classes=outputs)
    assert model.num_classes == 4


def trained(model: VideoModel, x: Tensor) -> tuple[list[Tensor], int]:
    """Two steps of training: outputs, gradients and all statistics, and the bytes that were kept for the first."""
    kept = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(3)  # of dropout and of stochastic pooling
    found = []
    for _ in range(2):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = model(x)
        logits.square().sum().backward()
        found.append(logits.detach())
    found += [p.grad for p in model.parameters() if p.grad is not None]
    return [*found, *model.buffers()], kept


@networks(SMALLEST, OCTAVE, GATED, ON_TOP, [("mtnet_m", {"pooling": "stochastic"})])
def test_checkpointing_changes_memory_and_nothing_else(name: str, options: dict[str, Any]) -> None:
    x = clips(2, 8, SIDE)
    plain = awake(build(name, options)).train()
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = 0.3
        if isinstance(module, nn.Dropout):
            module.p = 0.3
    thrifty, back = copy.deepcopy(plain), copy.deepcopy(plain)
    thrifty.set_grad_checkpointing(True)
    back.set_grad_checkpointing()
    back.set_grad_checkpointing(False)
    (expected, most), (found, least), (again, same) = (trained(m, x) for m in (plain, thrifty, back))
    assert len(expected) == len(found) == len(again)
    for a, b, c in zip(expected, found, again, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert least < 0.7 * most
    assert same == most
    with torch.no_grad():
        assert torch.equal(thrifty.eval()(x), plain.eval()(x))


def test_checkpointing_counts_a_batch_once_whatever_the_momentum_and_leaves_frozen_parts_alone() -> None:
    x = clips(2, 4)
    plain = build("r3d_34").train()
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = None  # the mean of all batches so far
    plain.get_submodule("layer1").eval()
    thrifty = copy.deepcopy(plain)
    thrifty.set_grad_checkpointing()
    (expected, _), (found, _) = (trained(m, x) for m in (plain, thrifty))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    counts = {int(m.num_batches_tracked) for m in thrifty.modules() if isinstance(m, nn.BatchNorm3d)}
    assert counts == {0, 2}
