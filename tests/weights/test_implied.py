"""What a file implies: its format is recognised from its names, and the network is built as the release's was.

Each release computes, on its own names, what the network must give that is built without any option but its width.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.test_main import refused, run
from models import test_csn as csn
from models import test_x3d as x3d
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from weights.names import test_i3d as i3d
from weights.names import test_slowfast as slowfast
from weights.names.test_r3d import Release, hara_forward, hara_release, srtg_forward, srtg_release
from weights.test_importing import torchvision_resnet
from weights.test_releases import mit_names, mmaction2_names

from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.models.video_model import VideoModel
from kinema.recognizer import Recognizer
from kinema.weights.implied import Implied, implied
from kinema.weights.importing import import_weights
from kinema.weights.names.family import FAMILIES
from kinema.weights.releases import find_release, releases


def built(name: str, tensors: Mapping[str, Tensor], given: dict[str, Any], classes: int) -> tuple[VideoModel, Implied]:
    """The network of a file, as `kinema weights import` builds it; nothing is left for a person to know."""
    found = implied(name, given, tensors)
    model = create_model(name, num_classes=classes, **found.complete(given)).double().eval()
    report = import_weights(model, tensors)
    assert report.complete, report.lines()
    assert report.classifier
    assert all("published files" in remark for remark in report.remarks)  # of what is set by hand
    assert bool(report.remarks) == ("pool2" in given)
    return model, found


def clip(frames: int, side: int) -> Tensor:
    return torch.randn(2, 3, frames, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", csn.LAYOUTS)
def test_the_eps_of_channel_separated_networks(layout: str) -> None:
    release = csn.build(layout, 50, base=4, classes=7)
    model, found = built(f"{layout.split()[1]}_csn_50", release, {"width": 0.0625}, 7)
    assert found.format.lower() == layout.split()[0]
    x = clip(9, 40)
    with torch.no_grad():
        torch.testing.assert_close(model(x), csn.logits(release, layout, 50, x))


@pytest.mark.parametrize(("kind", "normalised"), [(k, True) for k in slowfast.RELEASES] + [("mmaction2", False)])
def test_the_frames_and_norms_of_slowfast(kind: str, normalised: bool) -> None:
    source = slowfast.Two(kind, normalised)
    model, _ = built("slowfast_50", source.state(), {"width": slowfast.BASE / 64}, slowfast.CLASSES)
    x = clip(16, 64)
    chosen = [0, 5, 10, 15] if kind in ("pyslowfast", "pytorchvideo", "caffe2") else [0, 4, 8, 12]
    with torch.no_grad():
        torch.testing.assert_close(model(x), source(x, chosen))


@pytest.mark.parametrize(
    ("name", "network", "options", "how"), i3d.RELEASES, ids=[f"{r[0].__name__}-{r[1]}" for r in i3d.RELEASES]
)
def test_strides_pooling_and_attention_of_inflated_networks(
    name: i3d.Names, network: str, options: dict[str, Any], how: tuple[str, bool, int, bool]
) -> None:
    source, (sub_sample, scaled, step, pooled) = i3d.release(name, network), how
    # What the file of a network without pooling after the first stage does not tell, a person says.
    by_hand = {} if pooled or network.startswith("slow") or name is i3d.pytorchvideo else {"pool2": False}
    model, found = built(network, source, {"width": i3d.BASE / 64, **by_hand}, i3d.CLASSES)
    assert found.format
    x = clip(8, 64)
    with torch.no_grad():
        y = source.stem(x, step)
        for s in (1, 2, 3, 4):
            y = source.stage(y, s, sub_sample, scaled)
            y = F.max_pool3d(y, (2, 1, 1)) if pooled and s == 1 else y
        torch.testing.assert_close(model(x), source.logits(y.mean((2, 3, 4))))


@pytest.mark.parametrize("norm", [False, True])
def test_the_first_shortcut_of_x3d(norm: bool) -> None:
    release = x3d.Release(width=0.125)
    names = release.slowfast() if norm else dict(release)
    given = {"width": 0.125, "frames": 3}
    found = implied("x3d_m", given, names)
    assert found.format == ("PySlowFast" if norm else "PyTorchVideo")
    assert found.complete(given) == {**given, "shortcut_norm": norm}
    if not norm:
        model, _ = built("x3d_m", names, given, 400)
        x = clip(3, 24)
        with torch.no_grad():
            torch.testing.assert_close(model(x), release.logits(x))


@pytest.mark.parametrize(
    ("depth", "factorised", "shortcut"),
    [(34, False, "A"), (34, False, "B"), (50, False, "B"), (34, True, "B"), (50, True, "B")],
)
def test_stem_shortcut_expansion_and_factors_of_3d_resnets(depth: int, factorised: bool, shortcut: str) -> None:
    source = hara_release(depth, factorised, base=8, shortcut=shortcut)
    name = f"{'r2plus1d' if factorised else 'r3d'}_{depth}"
    model, found = built(name, source, {"width": 0.125}, 400)
    assert found.format == "3D-ResNets-PyTorch"
    x = clip(9, 33)
    with torch.no_grad():
        torch.testing.assert_close(model(x), hara_forward(source, depth, x))


@pytest.mark.parametrize("depth", [34, 50])
@pytest.mark.parametrize("kind", ["r3d", "r2plus1d"])
def test_the_srtg_authors_have_no_pooling_in_the_stem(kind: str, depth: int) -> None:
    source = srtg_release(depth, kind == "r2plus1d", False, base=8)
    model, _ = built(f"{kind}_{depth}", source, {"width": 0.125}, 400)
    x = clip(8, 20)
    with torch.no_grad():
        torch.testing.assert_close(model(x), srtg_forward(source, depth, x))


def vmz_release() -> Release:
    """VMZ's r2plus1d_34: the names of torchvision, channels between factors from each convolution's own."""
    made = Release()
    base, i, middle = 8, 8, 6  # 45 of 64
    made.conv("stem.0", middle, 3, 1, 7, 7)
    made.norm("stem.1", middle)
    made.conv("stem.3", base, middle, 3, 1, 1)
    made.norm("stem.4", base)
    for stage, count in enumerate((3, 4, 6, 3)):
        o = base * 2**stage
        for block in range(count):
            at = f"layer{stage + 1}.{block}"
            for k, into in ((1, i), (2, o)):
                middle = 27 * into * o // (9 * into + 3 * o)
                made.conv(f"{at}.conv{k}.0.0", middle, into, 1, 3, 3)
                made.norm(f"{at}.conv{k}.0.1", middle)
                made.conv(f"{at}.conv{k}.0.3", o, middle, 3, 1, 1)
                made.norm(f"{at}.conv{k}.1", o)
            made.rest(34, block, stage, at, i, o)
            i = o
    made["fc.weight"], made["fc.bias"] = made.random(400, i), made.random(400)
    return made


def test_vmz_has_the_names_of_the_srtg_authors_and_another_eps() -> None:
    source = vmz_release()
    found = implied("r2plus1d_34", {"width": 0.125}, source)
    assert found.options["eps"] == 1e-3
    assert found.options["middle"] == "vmz"
    theirs = Release()
    for name, tensor in source.items():  # a larger eps is a larger variance
        theirs[name] = tensor + (1e-3 - 1e-5) if name.endswith("running_var") else tensor
    model, _ = built("r2plus1d_34", source, {"width": 0.125}, 400)
    x = clip(8, 20)
    with torch.no_grad():
        torch.testing.assert_close(model(x), srtg_forward(theirs, 34, x))


def test_of_2d_networks_only_those_that_shift_go_into_one_that_shifts() -> None:
    weights = torchvision_resnet(18, base=8, classes=10)
    for names, project in ((mit_names, "MIT TSM"), (mmaction2_names, "mmaction2")):
        shifted = names(weights, True)
        found = implied("tsm_r18", {"width": 0.125}, shifted)
        assert (found.format, found.options) == (project, {"fold": 8})
        with pytest.raises(KinemaError, match=r"give --model tsm_r18"):
            implied("tsn_r18", {"width": 0.125}, shifted).complete({})
        assert implied("tsn_r18", {"width": 0.125}, names(weights, False)).refused is None
    assert implied("tsm_r18", {"width": 0.125}, weights).format == "torchvision"


def test_mmaction2s_c2d_pools_without_a_border() -> None:
    flat = mmaction2_names(torchvision_resnet(50, base=8, classes=10), False)
    found = implied("r2d_50", {"width": 0.125}, flat)
    assert found.options == {"pool_padding": False, "pool2": True}
    model = create_model("r2d_50", num_classes=10, **found.complete({"width": 0.125}))
    plain = create_model("r2d_50", num_classes=10, width=0.125)
    x = torch.randn(1, 3, 4, 64, 64)
    with torch.no_grad():
        assert model.stem(x).shape[2:] == (4, 15, 15)
        assert plain.stem(x).shape[2:] == (4, 16, 16)
        before = torch.nn.Sequential(model.stem.conv, model.stem.bn, model.stem.relu)(x)  # type: ignore[arg-type]
        expected = F.max_pool3d(before, (1, 3, 3), (1, 2, 2))
        torch.testing.assert_close(model.stem(x), expected)


def test_a_network_on_a_backbone_takes_the_options_of_the_backbone() -> None:
    source = i3d.release(i3d.pytorchvideo_pooled, "i3d_50")
    given = {"width": i3d.BASE / 64, "frames": 8, "backbone_options": {}}
    found = implied("cidc_i3d_50", given, source)
    assert found.complete(given)["backbone_options"] == {"pool2": True, "stem_stride": 1}
    with pytest.raises(KinemaError, match=r"options\.stem_stride is 2"):
        found.complete({**given, "backbone_options": {"stem_stride": 2}})


def test_the_marks_of_formats_are_theirs_alone() -> None:
    files: dict[str, list[Mapping[str, Tensor]]] = {
        "CSN": [csn.build(layout, 50, device="meta") for layout in csn.LAYOUTS],
        "SlowFast": [slowfast.Two(kind, True).state() for kind in slowfast.RELEASES],
        "InflatedResNet": [i3d.release(name, network) for name, network, *_ in i3d.RELEASES],
        "X3D": [x3d.Release(device="meta"), x3d.Release(device="meta").slowfast()],
        "ResNet3D": [srtg_release(34, False, True, device="meta"), hara_release(34, True, device="meta")],
        "ResNet2D": [names(torchvision_resnet(18, base=8), True) for names in (mit_names, mmaction2_names)],
    }  # fmt: skip
    for family, names in FAMILIES.items():
        assert names.formats
        for file in files.get(family.__name__, []):
            shapes = [name.removeprefix("module.") for name in file]
            fitting = [f.name for f in names.formats if any(re.match(f.mark, name) for name in shapes)]
            assert len(fitting) == 1, (family, fitting)
        for one in names.formats:
            assert "/" in one.source


def save(folder: Path, tensors: Mapping[str, Tensor], classes: int) -> tuple[str, ...]:
    save_file({name: tensor.float().contiguous() for name, tensor in tensors.items()}, folder / "w.safetensors")
    (folder / "labels.txt").write_text("\n".join(f"class {i}" for i in range(classes)), encoding="utf-8")
    return ("weights", "import", str(folder / "w.safetensors"), "--labels", str(folder / "labels.txt"), "--out",
            str(folder / "r"))  # fmt: skip


def test_the_command_needs_no_option_and_the_card_says_what_was_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = csn.build("pytorchvideo ir", 50, base=4, classes=7)
    for name in release:  # as the file keeps them
        release[name] = release[name].float().double()
    words = (*save(tmp_path, release, 7), "--model", "ir_csn_50", "--options.width", "0.0625")
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    assert "format: PyTorchVideo; taken over: eps=1e-05" in out
    found = Recognizer.load(tmp_path / "r")
    x = clip(9, 40)
    with torch.no_grad():
        torch.testing.assert_close(found.model.double()(x), csn.logits(release, "pytorchvideo ir", 50, x))
    assert found.spec.mean == (0.45, 0.45, 0.45)
    card = json.loads((tmp_path / "r" / "card.json").read_text(encoding="utf-8"))
    assert card["architecture"]["options"]["eps"] == 1e-5
    assert card["weights"]["format"] == "PyTorchVideo"
    assert card["weights"]["implied"]["options"] == {"eps": 1e-5}
    assert card["weights"]["implied"]["source"].startswith("facebookresearch/pytorchvideo")
    assert run(capsys, *words, "--options.eps", "1e-5")[0] == 0  # the same by hand is no contradiction
    status, out, _ = run(capsys, *words, "--clip.stride", "4", "--clip.mean", "[0.1,0.2,0.3]", "--json")
    assert json.loads(out)["options"] == {"eps": 1e-5}
    spec = Recognizer.load(tmp_path / "r").spec
    assert (spec.stride, spec.mean, spec.std) == (4, (0.1, 0.2, 0.3), (0.225, 0.225, 0.225))


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        (
            "slow_frames",
            "strided",
            "options.slow_frames is 'strided', but the file is in the format of PySlowFast, which",
        ),
        ("fusion_taps", "5", "options.fusion_taps is 5"),
        ("fusion_norm", "false", "options.fusion_norm is False"),
        ("temporal_blocks", "2", "options.temporal_blocks is 2"),
    ],
)
def test_an_option_that_contradicts_the_format_is_one_sentence(
    option: str, value: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = save(tmp_path, slowfast.Two("pyslowfast", True).state(), 7)
    said = refused(capsys, *words, "--model", "slowfast_50", "--options.width", "0.25", f"--options.{option}", value)
    assert sentence in said
    assert said.startswith(f"kinema: {tmp_path / 'w.safetensors'}: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_outputs_are_no_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = save(tmp_path, torchvision_resnet(18, base=8, classes=7), 7)
    assert "options.num_classes" in refused(capsys, *words, "--model", "tsn_r18", "--options.num_classes", "7")


def test_what_a_file_does_not_tell_is_said_and_can_be_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = save(tmp_path, slowfast.Two("pytorchvideo", True).state(), 7)
    words = (*words, "--model", "slowfast_50", "--options.width", "0.25")
    _, out, _ = run(capsys, *words)
    assert "note: the file does not state alpha; alpha=4 is used as in the published files of PyTorchVideo" in out
    _, out, _ = run(capsys, *words, "--options.alpha", "8")
    assert "note" not in out
    assert Recognizer.load(tmp_path / "r").model.architecture["options"]["alpha"] == 8


def test_a_recognizer_of_this_library_brings_its_own_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = create_model("slowfast_50", num_classes=3, width=0.125, slow_frames="spread", alpha=2).eval()
    Recognizer(model, ("a", "b", "c"), model.clip_spec.replace(stride=5)).save(tmp_path / "first")
    (tmp_path / "labels.txt").write_text("x\ny\nz", encoding="utf-8")
    for source in (tmp_path / "first", tmp_path / "first" / "model.safetensors"):
        status, _, err = run(capsys, "weights", "import", str(source), "--model", "slowfast_50", "--labels",
                             str(tmp_path / "labels.txt"), "--out", str(tmp_path / "r"))  # fmt: skip
        assert (status, err) == (0, "")
        found = Recognizer.load(tmp_path / "r")
        x = torch.randn(1, 3, 8, 48, 48)
        with torch.no_grad():
            assert torch.equal(found.model(x), model(x))
        assert found.spec.stride == 5
    assert "options.alpha is 4" in refused(
        capsys, "weights", "import", str(tmp_path / "first"), "--model", "slowfast_50", "--options.alpha", "4"
    )


def test_the_clips_of_a_release_are_those_that_are_known_of_it() -> None:
    """mmaction2's channel-separated networks from scratch have another mean than the rest of its files."""
    release = find_release("mmaction2-ir-csn-r152")
    found = implied(release.model, release.options, csn.build("mmaction2 ir", 152, device="meta"))
    assert found.clip["mean"][0] == 0.485
    with torch.device("meta"):
        model, spec = release.build(3, found)
    assert spec.mean[0] == 0.43216
    assert model.architecture["options"]["eps"] == 1e-3


def test_no_release_of_facebook_is_bgr() -> None:
    """Something-Something is read by OpenCV as BGR, and their configuration reverses that: the network sees RGB."""
    assert all(release.clip.get("colour", "rgb") == "rgb" for release in releases())
