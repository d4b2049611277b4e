"""ImageNet weights by name map, from state dicts with torchvision's documented names and shapes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from weights.names.test_r3d import hara_release, srtg_release

from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.weights.importing import import_weights, read_tensors, start_from

DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def torchvision_resnet(depth: int, base: int = 64, classes: int = 1000) -> dict[str, Tensor]:
    """Random weights under the names and shapes of torchvision's ResNet-18 or -50."""
    generator = torch.Generator().manual_seed(3)
    found: dict[str, Tensor] = {}

    def conv(name: str, *shape: int) -> None:
        found[f"{name}.weight"] = torch.randn(*shape, generator=generator) * (2 / (shape[1] * shape[2] ** 2)) ** 0.5

    def norm(name: str, n: int) -> None:
        found[f"{name}.weight"] = torch.rand(n, generator=generator) + 0.5
        found[f"{name}.bias"] = torch.randn(n, generator=generator) * 0.1
        found[f"{name}.running_mean"] = torch.randn(n, generator=generator) * 0.1
        found[f"{name}.running_var"] = torch.rand(n, generator=generator) + 0.5
        found[f"{name}.num_batches_tracked"] = torch.tensor(1)

    conv("conv1", base, 3, 7, 7)
    norm("bn1", base)
    channels, expansion = base, 4 if depth == 50 else 1
    for s, blocks in enumerate(DEPTHS[depth]):
        inner = base * 2**s
        for i in range(blocks):
            at = f"layer{s + 1}.{i}"
            sizes = [(inner, channels, 1), (inner, inner, 3), (inner * 4, inner, 1)]
            if depth == 18:
                sizes = [(inner, channels, 3), (inner, inner, 3)]
            for k, (o, c, size) in enumerate(sizes, 1):
                conv(f"{at}.conv{k}", o, c, size, size)
                norm(f"{at}.bn{k}", o)
            if i == 0 and (s > 0 or depth == 50):
                conv(f"{at}.downsample.0", inner * expansion, channels, 1, 1)
                norm(f"{at}.downsample.1", inner * expansion)
            channels = inner * expansion
    found["fc.weight"] = torch.randn(classes, channels, generator=generator) * 0.01
    found["fc.bias"] = torch.zeros(classes)
    return found


def reference(weights: dict[str, Tensor], depth: int, x: Tensor) -> Tensor:
    """ResNet v1.5 on a picture, written out with functional calls on the source's own names."""
    f = torch.nn.functional

    def norm(y: Tensor, name: str) -> Tensor:
        w = [weights[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
        return f.batch_norm(y, w[0], w[1], w[2], w[3])

    y = f.max_pool2d(norm(f.conv2d(x, weights["conv1.weight"], stride=2, padding=3), "bn1").relu(), 3, 2, 1)
    for s, blocks in enumerate(DEPTHS[depth]):
        for i in range(blocks):
            at, stride = f"layer{s + 1}.{i}", 2 if s > 0 and i == 0 else 1
            strides = (1, stride, 1) if depth == 50 else (stride, 1)
            z = y
            for k, step in enumerate(strides, 1):
                w = weights[f"{at}.conv{k}.weight"]
                z = norm(f.conv2d(z, w, stride=step, padding=w.shape[2] // 2), f"{at}.bn{k}")
                z = z.relu() if k < len(strides) else z
            if f"{at}.downsample.0.weight" in weights:
                y = norm(f.conv2d(y, weights[f"{at}.downsample.0.weight"], stride=stride), f"{at}.downsample.1")
            y = (y + z).relu()
    return f.linear(y.mean((2, 3)), weights["fc.weight"], weights["fc.bias"])


@pytest.mark.parametrize(("name", "depth"), [("tsn_r50", 50), ("stm_r50", 50), ("stm_r18", 18), ("tsm_r18", 18)])
def test_imagenet_weights_load_and_the_network_computes_the_same(name: str, depth: int) -> None:
    weights = torchvision_resnet(depth, base=8, classes=10)
    options = {"init": "identity"} if name.startswith("stm") else {}
    model = create_model(name, num_classes=10, frames=2, width=0.125, **options).eval()
    report = import_weights(model, weights)
    assert report.complete
    assert report.classifier
    assert all(".t." in n or ".cmm." in n for n in report.new)
    assert bool(report.new) == name.startswith("stm")
    if name.startswith("tsm"):
        return  # shifted frames are not the 2-D network
    x = torch.randn(2, 3, 2, 64, 64)
    with torch.no_grad():
        expected = torch.stack([reference(weights, depth, x[:, :, t]) for t in range(2)]).mean(0)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"mode": "cmm"}, {"mode": "cstm"}, {"blocks": "four"}, {"fuse": "concat"}, {"init": "degenerate"}]
)
def test_every_mode_of_stm_takes_the_weights(options: dict) -> None:
    model = create_model("stm_r50", num_classes=10, width=0.125, **options)
    assert import_weights(model, torchvision_resnet(50, base=8, classes=10)).complete


def test_another_number_of_classes_leaves_a_new_classifier(tmp_path: Path) -> None:
    save_file(torchvision_resnet(18, base=8), tmp_path / "w.safetensors")
    model = create_model("stm_r18", num_classes=7, width=0.125)
    before = model.classifier.weight.clone()
    report = start_from(model, tmp_path / "w.safetensors")
    assert not report.classifier
    assert torch.equal(model.classifier.weight, before)
    assert "new, because the numbers of classes differ" in report.lines()[0]


def test_nothing_is_left_out_in_silence(tmp_path: Path) -> None:
    weights = torchvision_resnet(18, base=8, classes=10)
    del weights["layer2.0.conv1.weight"]
    weights["layer9.conv.weight"] = torch.zeros(1)
    weights["layer3.0.bn1.weight"] = torch.zeros(3)
    torch.save({"state_dict": weights}, tmp_path / "w.pth")
    model = create_model("stm_r18", num_classes=10, width=0.125)
    report = import_weights(model, read_tensors(tmp_path / "w.pth"))
    assert report.missing == ("layer2.0.conv1.cstm.conv.weight",)
    assert report.unused == ("layer9.conv.weight",)
    assert len(report.shapes) == 1
    assert "layer3.0.bn1.weight" in report.shapes[0]
    with pytest.raises(
        KinemaError,
        match=r"does not fit stm_r18: it lacks layer2\.0\.conv1\.cstm\.conv\.weight, 1 name in total",
    ):
        start_from(model, tmp_path / "w.pth")


def test_module_prefix_of_data_parallel_is_taken_off() -> None:
    weights = {f"module.{k}": v for k, v in torchvision_resnet(18, base=8, classes=10).items()}
    assert import_weights(create_model("tsn_r18", num_classes=10, width=0.125), weights).complete


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_pickle_disguised_as_weights_does_not_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"conv1.weight": Evil(tmp_path / "ran")}))
    with pytest.raises(KinemaError, match=name):
        read_tensors(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_what_is_not_there_or_holds_no_tensors(tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match="no such file"):
        read_tensors(tmp_path / "none.pth")
    torch.save({"epoch": 3}, tmp_path / "meta.pth")
    with pytest.raises(KinemaError, match="no state dict"):
        read_tensors(tmp_path / "meta.pth")


def test_the_releases_of_3d_networks_load_by_their_own_names() -> None:
    srtg = create_model("srtg_r3d_34", num_classes=400, width=0.25)
    report = import_weights(srtg, srtg_release(34, False, recurrent=True, base=16))
    assert report.complete
    assert not report.new
    assert any("max_pool=False" in remark for remark in report.remarks)
    plain = import_weights(srtg, srtg_release(34, False, recurrent=False, base=16))
    assert plain.complete
    assert all(".srtg." in name for name in plain.new)
    assert any("no recurrent weights" in line for line in plain.lines())
    hara = create_model("r3d_50", num_classes=400, width=0.25, expansion=4, stem_frames=7)
    assert import_weights(hara, hara_release(50, False, base=16)).complete
    assert import_weights(create_model("r3d_50", width=0.25), hara_release(50, False, base=16)).shapes


def test_what_class_regularisation_adds_is_new_and_not_missing() -> None:
    options = {"num_classes": 10, "width": 0.125, "class_regularisation": (0.9, 0.8, 0.7, 0.6)}
    report = import_weights(create_model("tsn_r18", **options), torchvision_resnet(18, base=8, classes=10))
    assert report.complete
    assert len(report.new) == 4
