"""What every network of the zoo must do, whatever its family; what is special to a family is in its own file."""

from __future__ import annotations

import copy
import json
import re
from fnmatch import fnmatchcase
from itertools import chain
from math import ceil
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.models import VideoModel, create_model, find_model, list_models
from kinema.models.attached import Attached
from kinema.ops.recurrence import set_gate

Network = tuple[str, dict[str, Any]]
Strides = tuple[int, int, int, int, int]

FRAMES = 8
SIDE = 33  # odd from stage to stage, and the last one still has 2x2
LETTERS = ("s", "m", "l", "xl")


def depth(name: str) -> int:
    letters = [LETTERS.index(part) for part in name.split("_") if part in LETTERS]
    return int(re.sub(r"\D", "", name[-3:]) or (letters or [0])[0])


BUILDERS = {find_model(name).build for name in list_models()}
NAMES = sorted(min((n for n in list_models() if find_model(n).build is build), key=depth) for build in BUILDERS)
# What the defaults make too large for a test, what a narrow network cannot have, and parts that the default lacks.
OPTIONS: dict[str, dict[str, Any]] = {
    "attention_head": {"backbone": "r2d_50"},
    "cidc": {"backbone": "tsm_r18", "units": [1, 2, 1], "backbone_options": {"fold": 4}},
    "lstm_head": {"backbone": "tsn_efficientnet_lite0"},
    "mfnet": {"groups": 2},
    "mtconv_r50": {"layers": 1},
    "resnext3d_50": {"groups": 4},
    "x3d_s": {"shortcut_norm": True},
}
SMALLEST: list[Network] = [(name, OPTIONS.get(name, {})) for name in NAMES]
# What builders make of other blocks than their smallest network has.
BLOCKS: list[Network] = [
    ("ir_csn_50", {}),
    ("mtnet_m_table", {}),
    ("r2d_50", {}),
    ("r2d_nl_50", {}),
    ("r2plus1d_50", {}),
    ("r3d_34", {}),
    ("r3d_50", {}),
    ("slowfast_nl_101", {}),
    ("slowonly_50", {}),
    ("srtg_r3d_50", {}),
    ("stm_r50", {}),
    ("wide_r3d_50", {}),
]
# Blocks that no name has.
UNNAMED: list[Network] = [
    ("cidc", {"backbone": "tsn_r18", "units": 2, "links": "units", "kernel_size": 3}),
    ("mtnet_m", {"stem": "spatial", "layers": 1}),
    ("mtnet_m", {"block": "dense", "pooling": "softpool", "cell": "lstm", "layers": 1}),
    ("mtnet_m", {"block": "table", "delta": 1, "relu_before_sum": False}),
]
# The same weights on another way; in training with open gates.
GATED: list[Network] = [
    ("srtg_r2plus1d_34", {"gate": "hard"}),
    ("srtg_r3d_50", {"gate": "hard"}),
    ("srtg_r3d_50", {"gate": "none", "fusion": "mul"}),  # of the authors' release
]
OCTAVE: list[Network] = [("mtnet_m_table", {})]
KINDS = SMALLEST + BLOCKS + UNNAMED
NAMED = {name for name, _ in SMALLEST + BLOCKS}
REST: list[Network] = [("mtconv_r50", {}), *((name, {}) for name in list_models() if name not in NAMED)]

STILL: Strides = (1, 1, 1, 1, 1)
POOLED: Strides = (4, 4, 8, 16, 32)
PLAIN: Strides = (2, 4, 8, 16, 32)
# Names, or a family and names -> channels of the stem and the stages at width 1/8, how many times fewer frames, and how
# many times fewer pixels per side.
STAGES: list[tuple[str, Strides, Strides, Strides]] = [
    ("ts?_efficientnet_*", (2, 3, 5, 14, 160), STILL, PLAIN),
    ("i[pr]_csn_*", (8, 32, 64, 128, 256), (1, 1, 2, 4, 8), POOLED),
    ("i3d_v1", (8, 24, 60, 104, 128), (2, 2, 2, 4, 8), POOLED),
    ("i3d_*", (8, 32, 64, 128, 256), (4, 4, 4, 4, 4), POOLED),
    ("mfnet", (2, 12, 24, 48, 96), (1, 2, 2, 2, 2), POOLED),
    ("mtconv_r50", (8, 8, 16, 32, 64), (2, 2, 4, 8, 16), POOLED),
    ("mtnet_?_table", (3, 3, 6, 12, 24), (1, 2, 4, 8, 16), PLAIN),
    ("mtnet_?", (3, 3, 6, 12, 24), STILL, PLAIN),
    ("r2d_*", (8, 32, 64, 128, 256), STILL, POOLED),
    ("resnext3d_*", (8, 32, 64, 128, 256), (2, 2, 4, 8, 16), POOLED),
    ("*r3d_*", (8, 8, 16, 32, 64), (2, 2, 4, 8, 16), POOLED),
    ("*r2plus1d_*", (8, 8, 16, 32, 64), (2, 2, 4, 8, 16), POOLED),
    ("slowfast_*", (12, 48, 96, 192, 288), (4, 4, 4, 4, 4), POOLED),
    ("slowonly_*", (8, 32, 64, 128, 256), STILL, POOLED),
    ("ResNet2D *_r50", (8, 32, 64, 128, 256), STILL, POOLED),
    ("ResNet2D *", (8, 8, 16, 32, 64), STILL, POOLED),
    ("x3d_xl", (4, 4, 9, 17, 35), STILL, PLAIN),
    ("x3d_*", (3, 3, 6, 12, 24), STILL, PLAIN),
]
# Exceptions. Stages whose results may leave channels-last memory: with one thread PyTorch gives 1x1x1 convolutions of a
# few clips to a kernel that does; every second one of an odd number of frames has to be copied before it is folded.
UNORDERED = ("mt* *", "*r3d_[!3]* *", "*r2plus1d_[!3]* *", "i3d_[!v]* stem", "cidc_i3d_* stem")
# Factors on clips for fresh networks in float16: deep ones get loud until BatchNorm has the statistics of a batch.
LOUDEST: dict[str, float] = {"ip_csn_50": 1, "mfnet": 10, "tea_r50": 10, "x3d_s": 500}
# Parameters without a gradient: a softmax does not see the same number added for all positions that it compares.
UNREACHED = ("i3d_nl_* *.non_local.phi.bias", "r2d_nl_* *.non_local.phi.bias")


def networks(*lists: list[Network]) -> pytest.MarkDecorator:
    cases = [
        pytest.param(name, options, id=" ".join([name, *(f"{key}={value}" for key, value in options.items())]))
        for name, options in chain(*lists)
    ]
    return pytest.mark.parametrize(("name", "options"), cases)


def build(name: str, options: dict[str, Any] | None = None, **more: Any) -> VideoModel:
    torch.manual_seed(0)
    given = OPTIONS.get(name, {}) if options is None else options
    return create_model(name, **{"num_classes": 4, "frames": FRAMES, "width": 0.125, **given, **more})


def clips(n: int = 2, t: int = FRAMES, height: int = 32, width: int | None = None) -> Tensor:
    return torch.randn(n, 3, t, height, width or height, generator=torch.Generator().manual_seed(0))


def matches(patterns: tuple[str, ...], name: str, part: str) -> bool:
    return any(fnmatchcase(f"{name} {part}", pattern) for pattern in patterns)


def stages(model: VideoModel) -> tuple[str, Strides, Strides, Strides]:
    """The row of `STAGES` of a network, or of what it stands on."""
    network = model.backbone if isinstance(model, Attached) else model
    name = network.architecture["name"]
    names = (name, f"{type(network).__name__} {name}")
    return next(row for row in STAGES if any(fnmatchcase(each, row[0]) for each in names))


def shapes(model: VideoModel, x: Tensor) -> list[tuple[int, ...]]:
    """Of what comes out of the stages; what stands on another network keeps the shape of its last one."""
    name, channels, times, sides = stages(model)
    n, _, t, h, w = x.shape
    selected = t // 2 * 2 if name == "mtnet_?_table" else t  # half of the stem's frames, rounded down
    steps = [ceil(t / times[0]), *(ceil(selected / a) for a in times[1:])]
    found = [(n, c, t, ceil(h / b), ceil(w / b)) for c, t, b in zip(channels, steps, sides, strict=True)]
    if model.feature_maps[-1] == "cidc":  # it has the steps that the network is meant for
        found.append((n, channels[-1], ceil(FRAMES / times[-1]), *found[-1][3:]))
    return [*found, *found[-1:] * (len(model.feature_maps) - len(found))]


def awake(model: VideoModel) -> VideoModel:
    """Nothing starts as zero or the identity or falls silent by chance; the next batch sets all statistics."""
    generator = torch.Generator().manual_seed(7)
    for key, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = 1.0
            if ".cmm." not in key:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for key, p in model.named_parameters():
        if ".cmm." in key or key.endswith(".t.weight"):
            with torch.no_grad():
                p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_it_is_built_again_from_its_description_and_copied(name: str) -> None:
    model, x = build(name).eval(), clips()
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


@networks(KINDS, REST)
def test_every_stage_gives_clips_once_and_in_order_whatever_their_size(name: str, options: dict[str, Any]) -> None:
    model, at_all_sizes = build(name, options), (name, options) in KINDS
    assert model.clip_spec.frames == FRAMES
    assert model.feature_maps[:5] == ("stem", "layer1", "layer2", "layer3", "layer4")
    if not isinstance(model, Attached):
        has_own_features = name.startswith(("x3d", "mtnet"))
        assert model.classifier.in_features == (2048 // 8 if has_own_features else stages(model)[1][-1])
    met: list[tuple[str, Tensor]] = []
    for stage in model.feature_maps:
        model.get_submodule(stage).register_forward_hook(lambda m, args, out, stage=stage: met.append((stage, out)))
    for x in (clips(2, 16, SIDE), clips(2, 5, 43, 37))[0 if at_all_sizes else 1 :]:
        met.clear()
        features = model.forward_features(x)
        assert tuple(stage for stage, _ in met) == model.feature_maps
        assert [tuple(out.shape) for _, out in met] == shapes(model, x)
        last, fused = met[-1][1], features
        if name.startswith("cidc"):  # beside the features of the backbone, as further steps
            fused = features[:, :, -last.shape[2] :]
        elif name == "attention_head":  # as further channels
            fused = features[:, -last.shape[1] :]
        assert torch.equal(last, fused)
        for stage, out in met:
            in_order = out.is_contiguous(memory_format=torch.channels_last_3d)
            assert in_order or matches(UNORDERED, name, stage), stage
    model.reset_classifier(3)
    assert model.architecture["options"]["num_classes"] == 3
    met.clear()
    assert model(clips(2, 1, 17)).shape == (2, 3)
    assert tuple(stage for stage, _ in met) == model.feature_maps
    for t, size in ((13, 41), (3, 32), (2, 17)) if at_all_sizes else ():
        assert model.eval()(clips(1, t, size)).shape == (1, 3)
    with pytest.raises(KinemaError, match="channels"):
        model(torch.zeros(1, 1, 4, 32, 32))


@networks(SMALLEST, BLOCKS, GATED)
def test_clips_of_a_batch_do_not_meet_and_layouts_agree(name: str, options: dict[str, Any]) -> None:
    model, x = awake(build(name, options)).eval(), clips(3, 16 if name.startswith("slowfast") else 8, SIDE)
    together = model(x)
    assert torch.equal(model(x.contiguous(memory_format=torch.channels_last_3d)), together)
    with torch.no_grad():
        torch.testing.assert_close(model(x[1:2]), together[1:2], rtol=1e-4, atol=1e-6)
        x = x.double()
        model.double().train()(x.flip(0, 2))
        together = model.eval()(x)
        assert (together[0] - together[1]).abs().max() > 1e-3
        for i in (0, 2):
            torch.testing.assert_close(model(x[i : i + 1]), together[i : i + 1])


@networks(KINDS)
def test_every_parameter_is_reached_by_a_gradient(name: str, options: dict[str, Any]) -> None:
    """In training; and exactly in evaluation, where no BatchNorm takes away constants that stand before it."""
    model = awake(build(name, options))
    set_gate(model, open=True)  # a closed one gives its cells no gradient
    # Where the last stage has one step, weights on the state of an earlier one have no gradient.
    x = clips(2, 32 if stages(model)[2][-1] > 1 else 8, SIDE)
    for training, least in ((True, 0.0), (False, 1e-12)):
        model.train(training).zero_grad()
        model(x).square().sum().backward()
        for key, p in model.named_parameters():
            assert p.grad is not None, key
            assert p.grad.isfinite().all(), key
            assert p.grad.abs().max() > least or matches(UNREACHED, name, key), key
        model, x = model.double(), x.double()


@networks(SMALLEST, OCTAVE, GATED)
def test_half_precision_is_finite_on_large_clips(name: str, options: dict[str, Any]) -> None:
    model, x = build(name, options).eval(), clips(2, 8, SIDE) * 500
    set_gate(model, open=True)
    state = {key: value.clone() for key, value in model.state_dict().items()}

    def check(dtype: torch.dtype, x: Tensor) -> None:
        y = model.to(dtype)(x.to(dtype))
        assert y.dtype == dtype
        assert y.isfinite().all(), dtype
        model.float().load_state_dict(state)

    check(torch.bfloat16, x)
    quiet = x / 500 * LOUDEST.get(name, 100)
    check(torch.float16, quiet)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x).isfinite().all()
    with torch.autocast("cpu", torch.float16):
        assert model(quiet).isfinite().all()
        assert model.train()(x).isfinite().all()
    model.eval()  # with statistics of loud clips
    check(torch.float16, x)


@pytest.mark.parametrize("name", NAMES)
def test_class_regularisation_follows_every_stage(name: str) -> None:
    strengths = (0.9, 0.8, 0.7, 0.6, 0.5)[: 5 if name in ("attention_head", "cidc") else 4]
    model, x, scaled = build(name, class_regularisation=strengths), clips(2, 8, SIDE), {}
    for stage, module in model.class_regularisation.items():
        module.register_forward_hook(
            lambda m, args, out, stage=stage: scaled.update({stage: not torch.equal(args[0], out)})
        )
    logits = model(x)
    assert logits.shape == (2, 4)
    assert scaled == dict.fromkeys(model.feature_maps[1:], True)
    logits.square().sum().backward()
    for module, shape in zip(model.class_regularisation.values(), shapes(model, x)[1:], strict=True):
        assert module.weight.shape == (shape[1], model.classifier.in_features)
        # Of three channels ReLU may leave one, whose gain is 1 whatever its weight.
        assert shape[1] == 3 or module.weight.grad.any()


@networks(SMALLEST, OCTAVE, GATED)
def test_a_step_of_training_in_bfloat16_has_gradients_that_are_numbers(name: str, options: dict[str, Any]) -> None:
    model = build(name, options).train()
    set_gate(model, open=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(clips() * 500).float()
    assert logits.isfinite().all()
    F.cross_entropy(logits, torch.tensor([0, 3])).backward()
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert p.grad.abs().max() < 1e12, key  # memory that nobody wrote holds any numbers
