"""The LSTM and self-attention heads of CIDC's table 5: counts, slow references, what they can and cannot see."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from weights.test_importing import torchvision_resnet

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import create_model
from kinema.models.temporal_heads import AttentionHead, LSTMHead, SelfAttention
from kinema.models.video_model import VideoModel
from kinema.weights.importing import import_weights

HEADS = ["lstm_head", "attention_head"]
SMALL = {"num_classes": 5, "frames": 8, "width": 0.125, "backbone": "tsn_r18"}


def small(name: str, seed: int = 0, **options: object) -> VideoModel:
    torch.manual_seed(seed)
    return create_model(name, **{**SMALL, **options}).eval()


def clip(n: int = 2, t: int = 8, size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed))


# Head -> what it adds to a network whose last stage has 2048 channels, without the classifier's share, and that.
ADDED = [
    ("lstm_head", 4 * 512 * (2048 + 512) + 4 * 512 * 1024 + 4 * 4 * 512, 512, 7.35),
    ("attention_head", 8 * 2048 * 2048 + 2 * 2 * 2048, 2048, 33.6),
]


@pytest.mark.parametrize(("name", "params", "features", "millions"), ADDED)
def test_what_they_add(name: str, params: int, features: int, millions: float) -> None:
    plain = count("i3d_50", num_classes=51, frames=32, size=256)
    cost = count(name, num_classes=51, frames=32, size=256)
    assert cost.params - plain.params == params + features * 51
    assert abs(params / 1e6 - millions) < 0.04
    tokens = 8 * 8 * 8
    products = 2 * 2 * tokens * tokens * 2048  # of queries and keys, of weights and values, in two layers
    per_step = 8 * tokens * 2048 * 2048 + products if name == "attention_head" else 8 * (params - 4 * 4 * 512)
    assert cost.macs - plain.macs == per_step + features * 51


def test_the_lstm_head_written_out() -> None:
    model, x = small("lstm_head"), clip()
    assert isinstance(model, LSTMHead)
    twin = nn.LSTM(64, 64, 2, batch_first=True)
    twin.load_state_dict(model.lstm.state_dict())
    with torch.no_grad():
        f = model.backbone.forward_features(x)
        assert torch.equal(model.forward_features(x), f)
        steps = f.mean((3, 4)).transpose(1, 2)  # N T C
        states, _ = twin(steps)
        expected = model.classifier(torch.cat([f.mean((2, 3, 4)), states[:, -1]], 1))
        torch.testing.assert_close(model(x), expected)


def slow_attention(module: SelfAttention, x: Tensor) -> Tensor:
    """One clip, C T H W, position by position."""
    c = x.shape[0]
    tokens = x.flatten(1).T  # L C
    out = torch.zeros_like(tokens)
    size = c // module.heads
    q, k, v = (tokens @ layer.weight.T for layer in (module.query, module.key, module.value))
    for head in range(module.heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(len(tokens)):
            scores = [float(q[i, part] @ k[j, part]) / math.sqrt(size) for j in range(len(tokens))]
            weights = torch.tensor([math.exp(s - max(scores)) for s in scores], dtype=x.dtype)
            out[i, part] = (weights[:, None] * v[:, part]).sum(0) / weights.sum()
    y = tokens + out @ module.out.weight.T
    y = (y - y.mean(1, keepdim=True)) / (y.var(1, unbiased=False, keepdim=True) + module.norm.eps).sqrt()
    return (y * module.norm.weight + module.norm.bias).T.reshape(x.shape)


def test_self_attention_is_that_of_its_source() -> None:
    torch.manual_seed(0)
    module = SelfAttention(6, 2).double()
    nn.init.uniform_(module.norm.weight)
    nn.init.uniform_(module.norm.bias)
    x = torch.randn(2, 6, 3, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(module(x), torch.stack([slow_attention(module, sample) for sample in x]))
    last = x.contiguous(memory_format=torch.channels_last_3d)
    assert module(last).is_contiguous(memory_format=torch.channels_last_3d)


def test_the_attention_head_written_out() -> None:
    model, x = small("attention_head"), clip()
    assert isinstance(model, AttentionHead)
    with torch.no_grad():
        f = model.backbone.forward_features(x)
        y = model.attention[1](model.attention[0](f))
        torch.testing.assert_close(model.forward_features(x), torch.cat([f, y], 1))
        torch.testing.assert_close(model(x), model.classifier(torch.cat([f.mean((2, 3, 4)), y.mean((2, 3, 4))], 1)))


def test_self_attention_cannot_tell_the_order_of_frames_and_an_lstm_can() -> None:
    x = clip()
    for name, blind in (("attention_head", True), ("lstm_head", False)):
        model = small(name)
        nn.init.normal_(model.classifier.weight)
        with torch.no_grad():
            difference = (model(x) - model(x.flip(2))).abs().max() / model(x).abs().max()
        assert (difference < 1e-4) == blind


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("backbone", ["tsn_r18", "r3d_34", "x3d_s", "slowfast_50"])
def test_every_network_can_be_a_backbone(name: str, backbone: str) -> None:
    options = {"heads": 4} if name == "attention_head" else {}
    model = small(name, backbone=backbone, **options)
    assert isinstance(model.backbone.classifier, nn.Identity)
    maps = ("stem", "layer1", "layer2", "layer3", "layer4")
    assert model.feature_maps == (maps if name == "lstm_head" else (*maps, "attention"))
    found: dict[str, Tensor] = {}
    for stage in model.feature_maps:
        model.get_submodule(stage).register_forward_hook(lambda m, a, out, stage=stage: found.update({stage: out}))
    features = model.forward_features(clip())
    assert tuple(found) == model.feature_maps
    last = list(found.values())[-1]
    assert torch.equal(features[:, -last.shape[1] :], last)  # the attention's stand behind those of the backbone
    for t, size in ((8, 48), (5, 41), (1, 32)):
        assert model(clip(n=1, t=t, size=size)).shape == (1, 5)


@pytest.mark.parametrize("name", HEADS)
def test_a_gradient_reaches_all_but_a_frozen_backbone(name: str) -> None:
    model = small(name, freeze_backbone=True, dropout=0.0).train()
    F.cross_entropy(model(clip()), torch.tensor([1, 4])).backward()
    for key, parameter in model.named_parameters():
        if key.startswith("backbone."):
            assert parameter.grad is None
        else:
            assert parameter.grad is not None and parameter.grad.any() and parameter.grad.isfinite().all(), key


def test_weights_of_the_backbone_load_beside_class_regularisation() -> None:
    for name, stages in (("lstm_head", 4), ("attention_head", 5)):
        model = small(name, class_regularisation=[0.5] * stages)
        release = torchvision_resnet(18, base=8, classes=5)
        report = import_weights(model, release)
        assert report.complete and not report.classifier
        assert torch.equal(model.backbone.layer4[1].conv2.weight, release["layer4.1.conv2.weight"])


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("attention_head", {"heads": 7}, "heads is 7: the last stage of tsn_r18 has 64 channels, give a divisor"),
        ("attention_head", {"heads": 0}, "heads is 0: give "),
        ("attention_head", {"layers": True}, "layers is True: give "),
        ("lstm_head", {"hidden": 1.5}, "hidden is 1.5: give "),
        ("lstm_head", {"backbone": "lstm_head"}, "the backbone lstm_head itself has a backbone"),
        ("lstm_head", {"backbone_options": {"frames": 4}}, "backbone_options contains frames: give it as an option"),
    ],
)
def test_bad_options_are_one_sentence(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(KinemaError) as caught:
        small(name, **options)
    assert str(caught.value).startswith(says)
