"""CIDC's attention: equation 3 on what each direction gives, in the time of the clip, beside its backbone's."""

from __future__ import annotations

import pytest
import torch

from kinema.errors import KinemaError
from kinema.explain.attention import attention, attention_map
from kinema.models import create_model

SMALL = {"num_classes": 3, "width": 0.125, "frames": 8}


def network(name: str = "cidc_r2d_50", **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(name, **SMALL, **options).eval()


def clip(frames: int = 8, size: int = 64) -> torch.Tensor:
    return torch.randn(3, frames, size, size, generator=torch.Generator().manual_seed(1))


def test_stages_and_directions_of_cidc() -> None:
    model = network()
    found = attention(model, clip())
    assert [(a.stage, a.part) for a in found] == [
        ("layer1", "backbone"),
        *[(s, p) for s in ("layer2", "layer3", "layer4") for p in ("backbone", "forward", "backward")],
        ("cidc", "forward"), ("cidc", "backward"),
    ]  # fmt: skip
    for a in found:
        assert a.map.min() > 0 and a.map.max() <= 1 and len(a.map) == len(a.frames)
        assert list(a.frames) == sorted(set(a.frames)) and a.frames[0] >= 0 and a.frames[-1] < 8
    by_name = {(a.stage, a.part): a for a in found}
    with torch.no_grad():
        for stage in ("layer1", "layer4"):
            assert torch.allclose(
                by_name[stage, "backbone"].map, model.attention(clip()[None], stage)[0, 0].double(), atol=1e-6
            )
        whole = model.attention(clip()[None])[0, 0].double()
    half = len(whole) - len(whole) // 2
    assert torch.allclose(by_name["cidc", "forward"].map, whole[:half], atol=1e-6)
    assert torch.allclose(by_name["cidc", "backward"].map, whole[half:].flip(0), atol=1e-6)
    assert by_name["layer4", "forward"].frames == by_name["layer4", "backward"].frames == (1, 3, 5, 7)
    assert by_name["layer1", "backbone"].frames == tuple(range(8))


def test_both_halves_stand_in_the_time_of_the_clip() -> None:
    """A light in one frame only: it is new in the same step of both directions, as their maps are in clip time."""
    model = network(direction="bi")
    dark = torch.zeros(3, 8, 64, 64)
    for frame, step in ((0, 0), (7, 3)):
        lit = dark.clone()
        lit[:, frame] = 4
        changed = {}
        for one, other in zip(attention(model, lit), attention(model, dark), strict=True):
            changed[one.stage, one.part] = (one.map - other.map).abs().amax((1, 2)) > 1e-6
        first, last = changed["layer2", "forward"], changed["layer2", "backward"]
        assert first[step:].all() and not first[:step].any()
        assert last[: step + 1].all() and not last[step + 1 :].any()


@pytest.mark.parametrize(("options", "parts"), [({"direction": "uni"}, {"backbone", "whole"}),
                                                ({"direction": "none"}, {"backbone", "whole"}),
                                                ({"units": 2}, {"backbone", "forward", "backward"})])  # fmt: skip
def test_other_designs(options: dict, parts: set[str]) -> None:
    assert {a.part for a in attention(network(**options), clip())} == parts


def test_any_network_has_an_attention_and_is_left_as_it_was() -> None:
    model = network("r3d_34").train()
    found = attention(model, clip(), ["layer1", "layer4"])
    assert [(a.stage, a.part) for a in found] == [("layer1", "backbone"), ("layer4", "backbone")]
    assert model.training and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(KinemaError, match="layer4"):
        attention(model, clip(), ["layer5"])
    with pytest.raises(KinemaError, match="feature_maps"):
        attention(torch.nn.Linear(1, 1), clip())
    with pytest.raises(KinemaError, match="clip"):
        attention(model, clip()[0])


def test_two_pathways() -> None:
    model = create_model("slowfast_50", num_classes=2, width=0.125, frames=16).eval()
    found = attention(model, clip(16, 32), model.feature_maps[1:2])
    assert [a.stage for a in found] == [f"{way}.{model.feature_maps[1]}" for way in ("slow", "fast")]
    assert len(found[0].frames) < len(found[1].frames) == 16


def test_a_clip_of_another_length_and_a_half_with_a_spot() -> None:
    found = attention(network(), clip(frames=6))
    assert all(a.frames[-1] < 6 for a in found)
    model = network("tsn_r18")
    x = torch.zeros(3, 8, 64, 64)
    x[:, :, :24, :24] = 5
    for layer in ("layer1", None):
        found_map = attention_map(model, x, 1, layer=layer)
        assert found_map.shape == x.shape[1:] and found_map.min() >= 0 and 0.8 < found_map.max() <= 1
        assert torch.equal(found_map, attention_map(model, x[None], 2, layer=layer))
    fused = attention_map(network(), clip())
    assert fused.shape == (8, 64, 64) and 0 <= float(fused.min()) <= float(fused.max()) <= 1
