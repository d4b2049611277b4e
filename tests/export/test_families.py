"""Every registered family at a small width, in every format; slow, as PyTorch takes 10 s and more to convert one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from kinema.backends.formats import FORMATS
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError
from kinema.export import export
from kinema.models import create_model, find_model, list_models
from kinema.recognizer import Recognizer

for _package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(_package)

# The smallest name of each kind of network; depth and width change no operator.
NAMES = (
    "tsn_r18", "tsm_r18", "stm_r18", "mfnet", "tsn_efficientnet_lite0", "tsm_efficientnet_lite0", "r3d_34", "r3d_50",
    "wide_r3d_50", "r2plus1d_34", "srtg_r3d_34", "srtg_r2plus1d_34", "resnext3d_50", "ir_csn_50", "ip_csn_50", "x3d_s",
    "mtnet_s", "mtconv_r50", "r2d_50", "r2d_nl_50", "i3d_50", "i3d_nl_50", "i3d_v1", "slowonly_50", "slowfast_50",
    "cidc_r2d_50", "cidc_i3d_50", "cidc_slowonly_50", "lstm_head", "attention_head",
)  # fmt: skip
SIDE = 48
FIXED = ("cidc", "lstm_head", "attention_head")  # prefixes of networks that take clips of one length


def small(name: str, **options: object) -> Recognizer:
    """With random weights, no part of which is zero: a gate that starts closed would hide what is behind it."""
    torch.manual_seed(0)
    frames = {"frames": 8} if name.startswith(FIXED) else {}
    model = create_model(name, num_classes=5, width=0.125, **frames, **options).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.normal_(module.bias, std=0.1)
    nn.init.normal_(model.classifier.weight, std=1.0)
    with torch.no_grad():  # logits of a few units, as those of a trained network
        x = torch.randn(2, 3, model.clip_spec.frames, SIDE, SIDE)
        model.classifier.weight.mul_(5 / model(x).abs().max())
    spec = ClipSpec(frames=model.clip_spec.frames, short_side=SIDE, crop=SIDE)
    return Recognizer(model, tuple("abcde"), spec)


def test_every_family_is_here() -> None:
    families = {find_model(name).build.__module__ for name in list_models()}
    assert {find_model(name).build.__module__ for name in NAMES} == families


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_every_family_is_exported(name: str, to: str, tmp_path: Path) -> None:
    own = small(name)
    found = export(own, to, tmp_path / f"x{FORMATS[to].suffix}")
    assert found.difference <= 1e-4 * max(1.0, *(a.tolerance / 1e-4 for a in found.checked))
    loaded = Recognizer.load(tmp_path / f"x{FORMATS[to].suffix}")
    pixels = torch.randint(0, 256, (2, own.spec.frames, SIDE, SIDE, 3), dtype=torch.uint8)
    assert torch.allclose(loaded.scores(pixels), own.scores(pixels), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tsn_r18", {}),
        ("tsm_r18", {"causal": True}),
        ("stm_r18", {"causal": True}),
        ("tsm_efficientnet_lite0", {"causal": True}),
        ("cidc_r2d_50", {}),
    ],
)
@pytest.mark.parametrize("rank", [4, 5])
def test_streams_go_round(name: str, options: dict[str, object], rank: int, to: str, tmp_path: Path) -> None:
    own = small(name, **options)
    out = tmp_path / f"x{FORMATS[to].suffix}"
    export(own, to, out, streaming=True, state_rank=rank)
    loaded = Recognizer.load(out).model
    frames = torch.randn(2, 3, 6, SIDE, SIDE)
    state, theirs = own.model.initial_state(2, size=SIDE), loaded.initial_state(2)
    assert all(value.ndim <= rank for value in theirs.values())
    for frame in frames.split(1, 2):
        with torch.no_grad():
            wanted, state = own.model.step(frame, state)
        found, theirs = loaded.step(frame, theirs)
        assert torch.allclose(found, wanted, atol=1e-4 * max(1.0, float(wanted.abs().max())))


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "peephole"])
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_the_cells_of_srtg(cell: str, to: str, tmp_path: Path) -> None:
    found = export(small("srtg_r3d_34", cell=cell), to, tmp_path / f"x{FORMATS[to].suffix}")
    assert (found.description.frames[0] == found.description.frames[1]) is (cell == "peephole")


@pytest.mark.slow
def test_networks_that_do_not_stream_say_so(tmp_path: Path) -> None:
    for name in ("srtg_r3d_34", "tsm_r18"):
        with pytest.raises(KinemaError, match=name):
            export(small(name), "onnx", tmp_path / "x.onnx", streaming=True)
