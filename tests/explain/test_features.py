"""Features: channels of any stage, the halves of STM against equation 7, kernels fixed and learned, optical flow."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.explain.features import motion_views, optical_flow, strongest_channels
from kinema.models import create_model


def network(name: str = "stm_r18", **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, width=0.25, frames=4, **options).eval()
    for module in model.modules():  # kernels that have been learned, and a CMM that is not silent
        if type(module).__name__ == "CMM":
            torch.nn.init.normal_(module.restore.weight, std=0.3)
            if module.dw is not None:
                torch.nn.init.normal_(module.dw.weight)
        if type(module).__name__ == "CSTM" and module.t.weight is not None:
            torch.nn.init.normal_(module.t.weight)
    return model


CLIP = torch.randn(3, 4, 48, 48, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("name", "layer"), [("stm_r18", "layer1"), ("stm_r50", "layer2"), ("r3d_34", "layer3"),
                                             ("x3d_s", "stem"), ("mtnet_s", "layer2")])  # fmt: skip
def test_the_channels_that_vary_most(name: str, layer: str) -> None:
    model = network(name) if name.startswith("stm") else create_model(name, num_classes=2, width=0.125).eval()
    clip = torch.randn(3, model.clip_spec.frames, 32, 32)
    found = strongest_channels(model, clip, layer, 4)
    kept = {}
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.update(o=o.detach().clone()))
    with torch.no_grad():
        model(clip[None])
    handle.remove()
    spread = kept["o"][0].flatten(1).var(1)
    assert [c.channel for c in found] == spread.argsort(descending=True)[:4].tolist()
    assert all(torch.allclose(c.map, kept["o"][0, c.channel]) for c in found)


def test_both_pathways() -> None:
    model = create_model("slowfast_50", num_classes=2, width=0.125, frames=16).eval()
    clip = torch.randn(3, 16, 32, 32)
    stage = model.feature_maps[1]
    slow, fast = (strongest_channels(model, clip, f"{way}.{stage}", 1000) for way in ("slow", "fast"))
    with torch.no_grad():
        _, maps = model.forward_intermediates(clip[None], [stage])
    for found, whole in ((slow, maps[stage][0]), (fast, maps[stage][1])):
        assert len(found) == whole.shape[1] and all(torch.allclose(c.map, whole[0, c.channel]) for c in found)
    with pytest.raises(KinemaError, match=f"slow.{stage}"):
        strongest_channels(model, clip, stage)


@pytest.mark.parametrize("name", ["stm_r18", "stm_r50"])
def test_the_halves_of_stm_and_their_frequencies(name: str) -> None:
    model = network(name)
    found = motion_views(model, CLIP)
    block = model.get_submodule(found.layer)
    kept = {}
    handle = block.register_forward_pre_hook(lambda m, i: kept.update(x=i[0].detach().clone()))
    with torch.no_grad():
        model(CLIP[None])
        handle.remove()
        x = kept["x"]
        cstm, cmm = block.cstm(x), block.cmm(x)  # the network adds the one to the other in place
    assert torch.allclose(found.cstm, cstm[0].abs().mean(0), atol=1e-6)
    assert torch.allclose(found.cmm, cmm[0].abs().mean(0), atol=1e-6)
    for t in range(4):
        after = x[0, :, t + 1] if t < 3 else torch.zeros_like(x[0, :, t])
        assert torch.allclose(found.low[t], (x[0, :, t] + after).abs().mean(0), atol=1e-6)
        wanted = (x[0, :, t] - after).abs().mean(0) if t < 3 else torch.zeros_like(found.high[t])
        assert torch.allclose(found.high[t], wanted, atol=1e-6)
    # equation 7 by hand in place of the learned kernels
    with torch.no_grad():
        low = x.clone()
        low[:, :, :-1] += x[:, :, 1:]
        frames = low[0].transpose(0, 1)
        conv = block.cstm.conv
        by_hand = F.conv2d(frames, conv.weight, stride=conv.stride, padding=1).transpose(0, 1)
        reduced = block.cmm.bn(F.conv2d(x[0].transpose(0, 1), block.cmm.reduce.weight))
        difference = torch.cat([reduced[:-1] - reduced[1:], torch.zeros_like(reduced[:1])])
        motion = F.conv2d(difference, block.cmm.restore.weight).transpose(0, 1)
    assert torch.allclose(found.fixed_cstm, by_hand.abs().mean(0), atol=1e-4)
    assert torch.allclose(found.fixed_cmm, motion.abs().mean(0), atol=1e-5)
    assert not torch.allclose(found.cstm, found.fixed_cstm, atol=1e-3)
    assert not torch.allclose(found.cmm, found.fixed_cmm, atol=1e-3)


@pytest.mark.parametrize("options", [{"mode": "cstm"}, {"mode": "cmm"}, {"causal": True}, {"temporal": "ordinary"},
                                     {"init": "degenerate"}, {"fuse": "concat"}, {"motion": "ordinary"}])  # fmt: skip
def test_variants_of_stm(options: dict) -> None:
    model = network(**options)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = motion_views(model, CLIP, "layer2.0.conv1.cmm" if options.get("mode") == "cmm" else "layer2.0.conv1")
    assert found.layer == "layer2.0.conv1"
    assert (found.cstm is None) == (options.get("mode") == "cmm") == (found.fixed_cstm is None)
    assert (found.cmm is None) == (options.get("mode") == "cstm") == (found.fixed_cmm is None)
    if options.get("init") == "degenerate":  # the kernels are fixed as they are
        assert torch.allclose(found.cstm, found.fixed_cstm) and torch.allclose(found.cmm, found.fixed_cmm)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_still_clip_has_no_high_frequency() -> None:
    still = motion_views(network(), CLIP[:, :1].expand(3, 4, 48, 48))
    assert still.high.abs().max() == 0 and still.fixed_cmm.abs().max() < 1e-6
    assert torch.allclose(still.low[0], 2 * still.input[0])


def test_refuses() -> None:
    with pytest.raises(KinemaError, match="CSTM"):
        motion_views(network("tsn_r18"), CLIP)
    with pytest.raises(KinemaError, match=r"layer1\.0\.conv1"):
        motion_views(network(), CLIP, "layer1.0.conv2")
    with pytest.raises(KinemaError, match="classifier"):
        strongest_channels(network(), CLIP, "classifier")
    with pytest.raises(KinemaError, match="count"):
        strongest_channels(network(), CLIP, "layer1", 0)


def test_optical_flow_of_a_square_that_moves() -> None:
    pytest.importorskip("skimage")
    draw = np.random.default_rng(0)  # texture: without it nobody knows what moves
    still, square = (np.kron(draw.integers(0, 256, (n, n, 1)), np.ones((4, 4, 3))).astype(np.uint8) for n in (12, 4))
    pictures = np.stack([still] * 3)
    for t in range(3):
        pictures[t, 16:32, 10 + 2 * t : 26 + 2 * t] = square
    flow = optical_flow(pictures)
    assert flow.shape == (3, 48, 48) and flow[2].abs().max() == 0
    assert 1 < flow[0, 20:28, 14:22].mean() < 3 and flow[0, :8].mean() < 0.3


def test_no_flow_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name.startswith("skimage"):
            raise ImportError(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert optical_flow(np.zeros((2, 8, 8, 3), np.uint8)) is None
