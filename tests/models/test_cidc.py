"""The multi-scale CIDC network: counts of the paper's table, a slow reference, invariants, any network as backbone."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from weights.test_importing import torchvision_resnet

from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.evaluation.papers import paper_rows
from kinema.models import create_model
from kinema.models.attached import Attached, resample
from kinema.models.cidc import BACKBONES, CIDC
from kinema.models.cidc_blocks import CIDCUnit, propagate_attention
from kinema.ops import spatial_attention
from kinema.weights.importing import import_weights

SMALL = {"num_classes": 5, "frames": 8, "width": 0.125, "backbone": "tsn_r18"}
MAPS = ("stem", "layer1", "layer2", "layer3", "layer4", "cidc")


def small(seed: int = 0, **options: object) -> CIDC:
    torch.manual_seed(seed)
    model = create_model("cidc", **{**SMALL, **options}).eval()
    assert isinstance(model, CIDC)
    return model


def clip(n: int = 2, t: int = 8, size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, t, size, size, generator=torch.Generator().manual_seed(seed))


def warmed(model: CIDC) -> CIDC:
    """With BatchNorm statistics that are not those of a fresh network."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.3)
    return model


# ---- what it costs


# Options of cidc on r2d_50 -> what it adds at 256 with 8 frames: thousand million multiply-adds, million parameters.
ADDED = [
    ({}, 8.648, 13.875),
    ({"stages": ["layer4"]}, 2.155, 8.528),
    ({"units": 2, "aggregation": "dense"}, 15.687, 26.178),
    ({"kernel_size": 3}, 9.118, 15.711),
    ({"units": 2}, 15.150, 25.129),
    ({"units": 2, "links": "units"}, 17.297, 27.751),
    ({"units": 2, "links": "units", "aggregation": "dense"}, 18.371, 29.848),
]


@pytest.mark.parametrize(("options", "gmacs", "mparams"), ADDED)
def test_what_it_adds(options: dict, gmacs: float, mparams: float) -> None:
    plain = count("r2d_50", num_classes=51, frames=8, size=256)
    cost = count("cidc_r2d_50", num_classes=51, frames=8, size=256, options=options)
    assert abs((cost.macs - plain.macs) / 1e9 - gmacs) < 0.002
    assert abs((cost.params - plain.params) / 1e6 - mparams) < 0.002


def test_table_1() -> None:
    rows = {row.row: row for row in paper_rows("cidc")}
    reached = {name for name, row in rows.items() if not row.why and row.params_off is not None}
    assert reached == {"R2D", "TSM", "Ours (R2D)", "Ours (I3D)"}
    for name in reached:
        assert abs(rows[name].params_off) < 0.03 and abs(rows[name].operations_off) < 0.03, name
    assert abs(rows["I3D"].operations_off) < 0.01
    assert round(rows["Ours (R2D)"].operations, 2) == 70.83 and round(rows["Ours (R2D)"].params, 2) == 85.58
    assert round(rows["Ours (I3D)"].operations, 2) == 92.93 and round(rows["Ours (I3D)"].params, 2) == 89.29


@pytest.mark.parametrize("name", BACKBONES)
def test_named_networks_are_cidc_on_their_backbone(name: str) -> None:
    model = create_model(f"cidc_{name}", num_classes=3, width=0.0625)
    assert isinstance(model, CIDC)
    plain = create_model(name, num_classes=3, width=0.0625)
    assert type(model.backbone) is type(plain)
    assert model.clip_spec == plain.clip_spec
    assert [len(units) for units in model.cidc.units.values()] == [1, 1, 1]
    table = create_model(f"cidc_{name}_table", num_classes=3, width=0.0625)
    assert [len(units) for units in table.cidc.units.values()] == [3, 3, 6]


# ---- against a slow reference


def test_what_wider_kernels_and_more_links_add() -> None:
    """K x K weights for each of 8 x 8 pairs of steps; one more 1x1x1 convolution of 8 steps for each pair of stages."""
    base, channels, pixels = count("cidc_r2d_50", frames=8, size=256), (512, 1024, 2048), (32 * 32, 16 * 16, 8 * 8)
    wide = count("cidc_r2d_50", frames=8, size=256, options={"kernel_size": 5})
    assert wide.params - base.params == 24 * 8 * 8 * sum(channels)
    assert wide.macs - base.macs == 24 * 8 * 8 * sum(c * p for c, p in zip(channels, pixels, strict=True))
    by_stage, by_unit = (
        count("cidc_r2d_50", frames=8, size=256, options={"units": 3, "links": links}) for links in ("stages", "units")
    )
    assert by_unit.params - by_stage.params == 2 * (512 * 1024 + 1024 * 2048)
    assert by_unit.macs - by_stage.macs == 2 * 8 * (512 * 1024 * pixels[1] + 1024 * 2048 * pixels[2])


def slow_features(model: CIDC, maps: dict[str, Tensor], aggregation: str, attention: str) -> Tensor:
    """Figure 3 written out on the modules' weights; unit, attention and pooling step by step."""
    names = [name for name in MAPS[:-1] if name in model.cidc.units or name == "layer4"]
    results: dict[str, Tensor] = {}
    for i, name in enumerate(names):
        total = torch.zeros_like(maps[name])
        if name in model.cidc.units:
            x = maps[name]
            if attention != "none" and name != "layer4":
                source = "layer4" if attention == "last" else MAPS[MAPS.index(name) + 1]
                m = maps[source].mean(1, keepdim=True).sigmoid()
                resized = [F.interpolate(m[:, :, t], x.shape[3:], mode="bilinear") for t in range(m.shape[2])]
                x = x + x * torch.stack(resized, 2)
            for unit in model.cidc.units[name]:
                parts = []
                for steps, mix in zip(unit.conv(x).split(unit.conv.steps, 2), unit.mix, strict=True):
                    parts.append(mix[1](F.conv3d(steps, mix[0].weight)).relu())
                x = torch.cat(parts, 2)
            total = total + x
        for earlier in names[:i] if aggregation == "dense" else names[max(0, i - 1) : i]:
            size = maps[name].shape[3:]
            pooled = torch.stack([F.adaptive_avg_pool2d(frame, size) for frame in results[earlier].unbind(2)], 2)
            total = total + F.conv3d(pooled, model.cidc.shrink[f"{earlier}_{name}"].conv.weight)
        results[name] = total
    return results["layer4"]


@pytest.mark.parametrize("aggregation", ["chain", "dense"])
@pytest.mark.parametrize("attention", ["adjacent", "last", "none"])
@pytest.mark.parametrize("stages", [None, ["layer2", "layer4"], ["layer3"], ["layer4"], ["layer1", "layer3"]])
def test_the_network_is_figure_3(aggregation: str, attention: str, stages: list[str] | None) -> None:
    model = warmed(small(aggregation=aggregation, attention=attention, stages=stages, units=2))
    x = clip(size=40)
    with torch.no_grad():
        maps = model.maps(x, MAPS[:-1])
        expected = slow_features(model, maps, aggregation, attention)
        torch.testing.assert_close(model.both(x)[1], expected, rtol=1e-4, atol=1e-4)


def test_links_between_units_written_out() -> None:
    """Two units on layer2, three on layer3, one on layer4: links after the first of both, then of the results."""
    model = warmed(small(stages=["layer2", "layer3", "layer4"], units=[2, 3, 1], links="units", attention="none"))
    assert list(model.cidc.shrink) == ["layer2_layer3_0", "layer2_layer3", "layer3_layer4"]
    x = clip(size=40)
    with torch.no_grad():
        maps = model.maps(x, MAPS[:-1])
        (a0, a1), (b0, b1, b2), (c0,) = (model.cidc.units[f"layer{i}"] for i in (2, 3, 4))
        link, size = model.cidc.shrink, [maps[name].shape[3:] for name in ("layer3", "layer4")]
        first = a0(maps["layer2"])
        middle = b0(maps["layer3"]) + link["layer2_layer3_0"](first, size[0])
        middle = b1(middle) + link["layer2_layer3"](a1(first), size[0])
        expected = c0(maps["layer4"]) + link["layer3_layer4"](b2(middle), size[1])
        torch.testing.assert_close(model.both(x)[1], expected)


def test_with_one_unit_on_each_stage_there_is_nothing_more_to_link() -> None:
    stages, units = small(), small(links="units")
    units.load_state_dict(stages.state_dict())
    with torch.no_grad():
        assert torch.equal(units(clip()), stages(clip()))


@pytest.mark.parametrize("options", [{"links": "units", "units": 2}, {"kernel_size": 3}])
def test_checkpointing_and_every_gradient_of_the_options(options: dict) -> None:
    model, x = warmed(small(dropout=0.0, **options)).train(), clip(size=32)
    model(x).square().sum().backward()
    plain = {name: p.grad.clone() for name, p in model.named_parameters()}
    assert all(g.abs().sum() > 0 for name, g in plain.items() if name.startswith("cidc."))
    model.zero_grad()
    model.set_grad_checkpointing()
    model(x).square().sum().backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, plain[name], rtol=1e-4, atol=1e-5)


def test_the_backbone_is_the_network_of_its_name() -> None:
    model, plain = small(), create_model("tsn_r18", num_classes=5, frames=8, width=0.125).eval()
    plain.load_state_dict({**plain.state_dict(), **model.backbone.state_dict()})
    with torch.no_grad():
        f, _ = model.both(clip())
        assert torch.equal(f, plain.forward_features(clip()))


def test_stages_and_units_are_placed_in_the_order_of_the_backbone() -> None:
    model = small(stages=["layer4", "layer2"], units=[3, 1])
    assert {name: len(units) for name, units in model.cidc.units.items()} == {"layer2": 1, "layer4": 3}
    assert list(model.cidc.shrink) == ["layer2_layer4"]


# ---- invariants


@pytest.mark.parametrize("normalise", ["matrix", "row", "affine", "none"])
def test_no_step_of_a_uni_directional_network_sees_later_frames(normalise: str) -> None:
    model = small(direction="uni", normalise=normalise, units=2, aggregation="dense")
    for t in (0, 3, 7):
        x = clip(n=1).requires_grad_()
        model.both(x)[1][:, :, t].square().sum().backward()
        reached = x.grad.abs().amax((0, 1, 3, 4))
        assert reached[: t + 1].all() and not reached[t + 1 :].any()


def tie(model: CIDC) -> None:
    """Both directions alike."""
    with torch.no_grad():
        for unit in model.modules():
            if isinstance(unit, CIDCUnit):
                half = unit.conv.steps[0]
                unit.conv.k[:, half:] = unit.conv.k[:, :half]
                unit.mix[1].load_state_dict(unit.mix[0].state_dict())


def test_with_equal_directions_reversing_the_clip_swaps_the_halves() -> None:
    model, x = warmed(small(direction="bi")), clip()
    tie(model)
    with torch.no_grad():
        y, reversed_y = model.both(x)[1], model.both(x.flip(2))[1]
    torch.testing.assert_close(reversed_y, torch.cat([y[:, :, 4:], y[:, :, :4]], 2), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(y[:, :, :4], y[:, :, 4:])


@pytest.mark.parametrize("direction", ["bi", "uni", "none"])
@pytest.mark.parametrize("head", ["pool", "flatten"])
def test_order_matters_even_on_a_backbone_that_is_blind_to_it(direction: str, head: str) -> None:
    model, x = warmed(small(direction=direction, head=head)), clip()
    nn.init.normal_(model.classifier.weight)
    with torch.no_grad():
        torch.testing.assert_close(model.backbone.forward_features(x).mean((2, 3, 4)),
                                   model.backbone.forward_features(x.flip(2)).mean((2, 3, 4)))  # fmt: skip
        difference = (model(x) - model(x.flip(2))).abs().max()
        assert difference > 2e-3 * model(x).abs().max()


def test_fusion_in_time_is_half_the_sum_under_pooling() -> None:
    time = warmed(small(fusion="time"))
    total = small(fusion="sum")
    total.load_state_dict(time.state_dict())
    nn.init.zeros_(time.classifier.bias)
    nn.init.zeros_(total.classifier.bias)
    with torch.no_grad():
        torch.testing.assert_close(2 * time(clip()), total(clip()))


@pytest.mark.parametrize("fusion", ["time", "channels", "sum"])
@pytest.mark.parametrize("head", ["pool", "flatten"])
def test_fusion_and_head_written_out(fusion: str, head: str) -> None:
    model, x = warmed(small(fusion=fusion, head=head)), clip()
    with torch.no_grad():
        f, directional = (y.mean((3, 4)) for y in model.both(x))  # N C T
        fused = {"time": torch.cat([f, directional], 2), "channels": torch.cat([f, directional], 1),
                 "sum": f + directional}[fusion]  # fmt: skip
        inputs = fused.mean(2) if head == "pool" else fused.reshape(2, -1)
        torch.testing.assert_close(model(x), model.classifier(inputs))
    channels, steps = 64 * (2 if fusion == "channels" else 1), 16 if fusion == "time" else 8
    assert model.classifier.in_features == channels * (steps if head == "flatten" else 1)


def test_attention_propagation_scales_by_one_to_two() -> None:
    x, later = torch.rand(2, 4, 3, 8, 6), torch.randn(2, 7, 3, 4, 3) * 20
    factor = propagate_attention(x, later) / x
    assert (factor >= 1).all() and (factor <= 2).all() and factor.std() > 0.1
    flat = torch.full((2, 7, 3, 4, 3), 0.7)
    torch.testing.assert_close(propagate_attention(x, flat), x * (1 + torch.sigmoid(torch.tensor(0.7))))
    one_step = torch.zeros(1, 7, 3, 4, 3)
    one_step[:, :, 1] = 5
    factor = propagate_attention(torch.ones(1, 4, 3, 8, 6), one_step)[0, 0, :, 0, 0]
    torch.testing.assert_close(factor, 1 + torch.tensor([0.0, 5.0, 0.0]).sigmoid())  # steps do not meet


def test_the_attention_that_the_paper_draws() -> None:
    model, x = warmed(small()), clip()
    with torch.no_grad():
        drawn = model.attention(x)
        assert drawn.shape == (2, 1, 8, 2, 2)
        assert torch.equal(drawn, spatial_attention(model.both(x)[1]))
        assert torch.equal(model.attention(x, "layer3"), spatial_attention(model.maps(x, ["layer3"])["layer3"]))
    with pytest.raises(KinemaError, match="unknown stage 'layer5': did you mean 'layer"):
        model.attention(x, "layer5")


def test_clips_of_another_length_are_interpolated() -> None:
    x = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 1, 4, 2, 2)
    assert resample(x, 4) is x
    torch.testing.assert_close(resample(x, 2)[0, 0, :, 0, 0], torch.tensor([0.5, 2.5]))
    torch.testing.assert_close(resample(x, 8)[0, 0, :, 1, 1], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))
    model, picture = warmed(small(head="flatten")), clip(t=1)
    with torch.no_grad():
        expected = model(picture.expand(-1, -1, 8, -1, -1))
        for t in (1, 5, 16):  # a clip that stands still is the same at every length
            torch.testing.assert_close(model(picture.expand(-1, -1, t, -1, -1)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", ["bi", "uni", "none"])
def test_a_single_frame_is_finite(direction: str) -> None:
    model = small(frames=1, direction=direction)
    assert model.both(clip(t=1))[1].shape == (2, 64, 1, 2, 2)
    assert model(clip(t=1)).isfinite().all()


# ---- any network as backbone


# Backbone -> frames to build it for, steps of the last three stages.
NETWORKS = {
    "tsn_r18": (8, [8, 8, 8]),
    "r3d_34": (16, [4, 2, 1]),  # time shrinks from stage to stage
    "x3d_s": (5, [5, 5, 5]),  # an odd number of steps, and a head of its own
    "mtnet_m_table": (16, [4, 2, 1]),  # chooses frames between its stages
    "i3d_nl_50": (16, [4, 4, 4]),
    "slowfast_50": (8, [2, 2, 2]),  # two pathways
    "stm_r18": (4, [4, 4, 4]),
}


@pytest.mark.parametrize("backbone", NETWORKS)
def test_every_network_can_be_a_backbone(backbone: str) -> None:
    frames, steps = NETWORKS[backbone]
    model = small(backbone=backbone, frames=frames)
    names = [name for name in model.shapes if name in model.cidc.units]
    assert [model.shapes[name].steps for name in names] == steps
    assert isinstance(model.backbone.classifier, nn.Identity) and not hasattr(model.backbone, "head")
    assert model.feature_maps == MAPS
    found: dict[str, Tensor] = {}
    for name in model.feature_maps:
        model.get_submodule(name).register_forward_hook(lambda m, a, out, name=name: found.update({name: out}))
    x = clip(t=frames)
    f, features = model.both(x)
    assert tuple(found) == MAPS
    assert torch.equal(features, found["cidc"])
    assert torch.equal(model.forward_features(x), torch.cat([f, features], 2))  # fused over time
    assert features.shape == found["layer4"].shape  # "the same dimensions as the backbone output"
    with torch.no_grad():
        kept = model.maps(x, model.shapes)
    assert all(torch.equal(kept[name], found[name]) for name in model.shapes)
    assert model(x).shape == (2, 5)
    for t, size in ((3, 41), (frames + 1, 32)):
        assert model(clip(n=1, t=t, size=size)).shape == (1, 5)


@pytest.mark.parametrize("backbone", ["tsn_r18", "r3d_34", "x3d_s", "slowfast_50"])
def test_every_parameter_is_reached_by_a_gradient_on_every_backbone(backbone: str) -> None:
    model = small(backbone=backbone, frames=NETWORKS[backbone][0], units=2, aggregation="dense", dropout=0.0).train()
    F.cross_entropy(model(clip(t=NETWORKS[backbone][0])), torch.tensor([1, 4])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # Kernels of two weights, scaled to their own range, are always 1 and -1.
        assert parameter.grad.any() or (name.endswith("conv.k") and parameter.shape[2] <= 2), name


def test_a_frozen_backbone_learns_nothing_and_gathers_nothing() -> None:
    model = create_model("cidc", **SMALL, freeze_backbone=True)
    assert isinstance(model, CIDC)
    for trained in (model, model.eval().train()):
        assert not trained.backbone.training and trained.cidc.training
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        optimiser.zero_grad()
        F.cross_entropy(model(clip()), torch.tensor([1, 4])).backward()
        optimiser.step()
    changed = {k.split(".")[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"cidc", "classifier"}


def test_class_regularisation_on_the_stages_of_the_backbone() -> None:
    x = clip()
    plain = warmed(small())
    none = small(class_regularisation=(1, 1, 1, 1, 1))
    for name, strengths in (("layer3", (1, 1, 0.3, 1, 1)), ("cidc", (1, 1, 1, 1, 0.3))):
        regularised = small(class_regularisation=strengths)
        maps = regularised.class_regularisation
        assert list(maps) == list(MAPS[1:])
        assert maps[name].weight.shape == (32 if name == "layer3" else 64, 64)
        weights = {**regularised.state_dict(), **plain.state_dict()}
        none.load_state_dict(weights)
        regularised.load_state_dict(weights)
        nn.init.normal_(regularised.classifier.weight)
        none.classifier.load_state_dict(regularised.classifier.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(none.both(x)[1], plain.both(x)[1])
            wanted = [n for n in MAPS[:-1] if n != "stem"]
            one, other = none.maps(x, wanted), regularised.maps(x, wanted)
            same = [n for n in wanted if torch.equal(one[n], other[n])]
            assert same == (["layer1", "layer2"] if name == "layer3" else wanted)
            assert not torch.allclose(none.both(x)[1], regularised.both(x)[1])
            if name == "layer3":  # by the classifier of the whole network
                torch.testing.assert_close(other[name], maps[name](one[name], regularised.classifier.weight))
    with pytest.raises(KinemaError, match="one number for each of the 5 stages layer1, layer2, layer3, layer4, cidc"):
        small(class_regularisation=(1, 1, 1, 1))


def test_exported_it_gives_the_same() -> None:
    model, x = warmed(small()), clip()
    exported = torch.export.export(model, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x), model(x), rtol=1e-4, atol=1e-5)


def test_architecture_is_plain_and_builds_it_again() -> None:
    model = small(units=[1, 2, 1], stages=("layer2", "layer3", "layer4"), backbone="stm_r18",
                  backbone_options={"mode": "cstm"}, head="flatten")  # fmt: skip
    described = json.loads(json.dumps(model.architecture))
    again = create_model(described["name"], **described["options"])
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(clip()), model(clip()))
    assert not any("cmm" in name for name in model.state_dict())


def test_golden_output() -> None:
    """Any change of a default, or of the order in which weights are drawn, shows here."""
    model = small(seed=3)
    with torch.no_grad():
        model.classifier.weight.mul_(100)
        logits = model(clip(n=1, size=32))
    torch.testing.assert_close(
        logits, torch.tensor([[36.6057, -9.2404, -55.0151, -38.9621, -55.2149]]), rtol=1e-3, atol=1e-4
    )


# ---- weights


def test_weights_of_the_backbones_releases_load_into_it() -> None:
    release = torchvision_resnet(18, base=8, classes=5)
    model = small()
    head = model.classifier.weight.clone()
    report = import_weights(model, release)
    assert report.complete and not report.classifier
    assert torch.equal(model.classifier.weight, head)  # though the file's classifier would fit
    assert torch.equal(model.backbone.layer3[0].conv1.weight, release["layer3.0.conv1.weight"])
    assert all(name.startswith("cidc.") for name in report.new)
    assert any("left out because this network has its own: fc.weight, fc.bias" in line for line in report.lines())
    del release["layer2.0.conv1.weight"]
    release["nowhere"] = torch.zeros(1)
    report = import_weights(small(), release)
    assert report.missing == ("backbone.layer2.0.conv1.weight",) and report.unused == ("nowhere",)


def test_a_network_of_this_library_loads_as_backbone() -> None:
    plain = create_model("x3d_s", num_classes=5, frames=4, width=0.125)
    model = small(backbone="x3d_s", frames=4)
    report = import_weights(model, plain.state_dict())
    assert report.complete and not report.classifier
    assert all(torch.equal(v, plain.state_dict()[k]) for k, v in model.backbone.state_dict().items())
    assert any("head.conv.weight" in line and "classifier.bias" in line for line in report.remarks)


def test_a_whole_network_loads_with_its_head() -> None:
    model, again = small(), small(seed=1)
    report = import_weights(again, model.state_dict())
    assert report.complete and report.classifier and not report.new and not report.remarks
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())


# ---- bad input


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"backbone": "tsn_r19"}, "unknown model 'tsn_r19': did you mean"),
        ({"backbone": "cidc_r2d_50"}, "the backbone cidc_r2d_50 itself has a backbone"),
        ({"stages": ["layer5"]}, "unknown stage of tsn_r18 'layer5': did you mean"),
        ({"stages": []}, "stages is []: give a list of different stages of the backbone"),
        ({"stages": "layer4"}, "stages is 'layer4': give a list"),
        ({"stages": 3}, "stages is 3: give a list"),
        ({"stages": [["layer4"]]}, "unknown stage of tsn_r18 \"['layer4']\""),
        ({"stages": ["layer4", "layer4"]}, "stages is ['layer4', 'layer4']: give a list of different stages"),
        ({"units": (1, 1)}, "units is (1, 1): give an integer above 0, or one for each of the stages layer2, lay"),
        ({"units": 0}, "units is 0: give an integer above 0"),
        ({"units": None}, "units is None: give an integer above 0"),
        ({"units": [1, "two", 1]}, "units is [1, 'two', 1]: give an integer above 0"),
        ({"direction": "both"}, "unknown value of direction 'both'"),
        ({"normalise": "max"}, "unknown value of normalise 'max'"),
        ({"mask": "soft"}, "unknown value of mask 'soft'"),
        ({"aggregation": "chained"}, "unknown value of aggregation 'chained': did you mean 'chain'?"),
        ({"attention": "next"}, "unknown value of attention 'next'"),
        ({"fusion": "t"}, "unknown value of fusion 't'"),
        ({"head": "pooled"}, "unknown value of head 'pooled': did you mean 'pool'?"),
        ({"backbone_options": {"depth": 5}}, "unknown option of tsn_r18 'depth'"),
        ({"backbone_options": {"width": 1}}, "backbone_options contains width: give it as an option of the network"),
        (
            {"backbone_options": {"dropout": 0.1}},
            "backbone_options contains dropout: give it as an option of the network",
        ),
        ({"backbone_options": ["mode"]}, "backbone_options is ['mode']"),
        ({"backbone": 50}, "backbone is 50"),
        ({"freeze_backbone": "yes"}, "freeze_backbone is 'yes': give "),
        ({"backbone_options": {"class_regularisation": (1,)}}, "backbone_options contains class_regularisation"),
    ],
)
def test_bad_options_are_one_sentence(options: dict[str, object], says: str) -> None:
    with pytest.raises(KinemaError) as caught:
        small(**options)
    assert str(caught.value).startswith(says)
    assert isinstance(small(), Attached)
