"""Networks initialise their own plain convolutions and never an operator's."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from kinema.models import VideoModel, create_model, find_model, list_models, resnet2d
from kinema.models.initialisation import plain_convolutions
from kinema.models.resnet2d import ResNet2D
from kinema.ops.conv import Conv2d, Conv3d
from kinema.ops.layout import fold_time, unfold_time

START = 0.125
BUILDERS = {find_model(name).build for name in list_models()}
NAMES = sorted(next(n for n in list_models() if find_model(n).build is build) for build in BUILDERS)


def started(conv: nn.Module) -> nn.Module:
    nn.init.constant_(conv.weight, START)
    return conv


class OfTorch(nn.Module):
    """A block of a person who knows nothing of this library: a bare convolution of PyTorch, set where it is made."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = started(nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return unfold_time(self.conv(fold_time(x)), x.shape[2])


class OfKinema(OfTorch):
    """Of the convolution that the families use themselves, several modules deep."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__(channels, out_channels, stride)
        self.conv = nn.Sequential(nn.Sequential(started(Conv2d(channels, out_channels, 3, stride, 1, bias=False))))


class IsConvolution(Conv3d):
    """A convolution itself."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__(channels, out_channels, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        started(self)


class InAFamily(OfKinema):
    """Defined in the file of a family, with the name that PyTorch has for it."""

    def reset_parameters(self) -> None:
        started(self.conv[0][0])


InAFamily.__module__ = "kinema.models.resnet2d"


def bare(channels: int, out_channels: int, stride: int) -> nn.Module:
    """No class at all."""
    return started(nn.Conv3d(channels, out_channels, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False))


@pytest.mark.parametrize("planted", [OfTorch, OfKinema, IsConvolution, InAFamily, bare])
def test_a_planted_operator_keeps_its_start(planted: Callable[[int, int, int], nn.Module]) -> None:
    def conv(channels: int, out_channels: int, stride: int, stage: int, index: int) -> nn.Module:
        return planted(channels, out_channels, stride)

    model = ResNet2D(50, 3, 2, 0.0625, 0.0, (conv,), lambda: None)
    inside = [m.conv2 for m in model.modules() if isinstance(m, resnet2d.Bottleneck)]
    assert len(inside) == 16
    assert all((p == START).all() for m in inside for p in m.parameters())
    assert not any((m.conv1.weight == START).any() for m in model.modules() if isinstance(m, resnet2d.Bottleneck))
    assert model(torch.randn(1, 3, 2, 32, 32)).shape == (1, 3)


def test_an_operator_in_place_of_another_keeps_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(channels: int, out_channels: int, stride: int, **options: object) -> nn.Module:
        return OfTorch(channels, out_channels, stride)

    monkeypatch.setattr(resnet2d, "CSTM", planted)
    model = create_model("stm_r18", num_classes=2, width=0.0625)
    found = [m for m in model.modules() if isinstance(m, OfTorch)]
    assert found and all((m.conv.weight == START).all() for m in found)


@pytest.mark.parametrize("name", NAMES)
def test_no_network_changes_the_weights_of_an_operator(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, kept = [], []
    initialise = VideoModel.initialise

    def watched(self: VideoModel, **options: object) -> None:
        plain = {id(conv.weight) for conv in plain_convolutions(self)} | {id(p) for p in self.classifier.parameters()}
        before = {id(p): p.detach().clone() for p in self.parameters()}
        initialise(self, **options)
        for p in self.parameters():
            same = p.is_meta or torch.equal(p, before[id(p)])
            (changed if id(p) in plain else kept).append(same)

    monkeypatch.setattr(VideoModel, "initialise", watched)
    torch.manual_seed(0)
    create_model(name, num_classes=2, width=0.125)
    assert all(kept) and not all(changed)


@pytest.mark.parametrize(("name", "mode"), [("r3d_34", 0), ("tsn_r50", 0), ("stm_r18", 0), ("mtnet_s", 1), ("csn", 1)])
def test_every_convolution_of_a_network_starts_after_he(name: str, mode: int) -> None:
    """The operators' own convolutions too, in the mode of the network in which they were trained."""
    torch.manual_seed(0)
    model = create_model({"csn": "ir_csn_50"}.get(name, name), num_classes=2, width=0.5)
    for where, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and not where.endswith((".dw", ".restore")):
            weight = module.weight
            fan = (weight[:, 0] if mode == 0 else weight[0]).numel()
            expected, error = sqrt(2 / fan), 1 / sqrt(2 * weight.numel())
            assert abs(weight.std().item() / expected - 1) < 6 * error, where


def test_a_backbone_is_started_once_by_its_own_family() -> None:
    torch.manual_seed(0)
    alone = create_model("slowonly_50", num_classes=1, width=0.0625)
    torch.manual_seed(0)
    below = create_model("cidc_slowonly_50", num_classes=2, width=0.0625).backbone
    found = below.state_dict()
    assert found and all(torch.equal(found[k], v) for k, v in alone.state_dict().items() if k in found)


@pytest.mark.parametrize("name", ["r3d_34", "ir_csn_50", "tsn_r50"])
def test_kernels_lie_in_memory_as_pytorch_lays_them_out(name: str) -> None:
    """Of a 1x1x1 kernel, too, whose strides are free: the implementation that PyTorch takes depends on them."""
    model = create_model(name, num_classes=2, width=0.125)
    for p in model.parameters():
        if p.ndim in (4, 5):
            memory = torch.channels_last if p.ndim == 4 else torch.channels_last_3d
            assert p.stride() == torch.empty(p.shape).to(memory_format=memory).stride()
