"""Weights to start from, and whose labels their classifier means."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kinema.clip_spec import ClipSpec
from kinema.data.labels import read_labels
from kinema.errors import KinemaError
from kinema.models import VideoModel, create_model
from kinema.recognizer import Recognizer
from kinema.training.config import TrainConfig
from kinema.training.start import start
from kinema.weights import releases as module
from kinema.weights.importing import import_weights
from kinema.weights.releases import Release, find_release

LABELS = ("jump", "run", "walk")
CR = {"class_regularisation": [0.9, 0.8, 0.7, 0.6]}


def network(seed: int = 1, classes: int = 3, **options: object) -> VideoModel:
    torch.manual_seed(seed)
    return create_model("stm_r18", num_classes=classes, frames=4, width=0.0625, **options)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    Recognizer(network(), LABELS, ClipSpec(frames=4, crop=32)).save(tmp_path / "run" / "recognizer")
    return tmp_path / "run"


def started(source: Path, labels: tuple[str, ...], trainable: str = "all") -> VideoModel:
    model = network(seed=2, classes=len(labels), **(CR if trainable == "class_regularisation" else {}))
    given = TrainConfig("stm_r18", "my data", weights=str(source), trainable=trainable)  # type: ignore[arg-type]
    start(model, given, labels)
    return model


def test_a_classifier_of_the_same_labels_is_taken_over_in_their_order(source: Path) -> None:
    old = network()
    same, other = started(source, LABELS), started(source, ("walk", "jump", "run"))
    for model in (same, other):
        assert torch.equal(model.state_dict()["stem.conv.weight"], old.state_dict()["stem.conv.weight"])
    assert torch.equal(same.classifier.weight, old.classifier.weight)
    for mine, theirs in enumerate((2, 0, 1)):
        assert torch.equal(other.classifier.weight[mine], old.classifier.weight[theirs])
        assert torch.equal(other.classifier.bias[mine], old.classifier.bias[theirs])


@pytest.mark.parametrize("part", ["", "recognizer", "recognizer/model.safetensors"])
def test_as_many_other_labels_get_a_new_classifier(part: str, source: Path) -> None:
    model = started(source / part, ("eat", "run", "walk"))
    assert torch.equal(model.classifier.weight, network(seed=2).classifier.weight)
    assert torch.equal(model.state_dict()["stem.conv.weight"], network().state_dict()["stem.conv.weight"])


def test_of_a_file_the_number_of_classes_decides(source: Path, tmp_path: Path) -> None:
    shutil.copy(source / "recognizer" / "model.safetensors", tmp_path / "weights.safetensors")
    model = started(tmp_path / "weights.safetensors", ("eat", "run", "walk"))
    assert torch.equal(model.classifier.weight, network().classifier.weight)
    assert started(tmp_path / "weights.safetensors", ("eat", "run")).classifier.out_features == 2


@pytest.mark.parametrize("known", [True, False])
def test_of_a_release_the_names_of_its_outputs_decide(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published with 174 outputs: they mean the data's labels where those are the official ones, in whatever order."""
    release = replace(
        find_release("mit-tsm-r50-8-ssv1"), model="stm_r18", labels="something_v2" if known else "", name="small"
    )
    monkeypatch.setattr(module, "releases", lambda: (release,))
    monkeypatch.setattr("kinema.weights.importing.read_tensors", lambda path: network(classes=174).state_dict())
    monkeypatch.setattr(Release, "local", lambda self: Path("small.pth"))
    official = read_labels("something_v2")
    theirs, new = (network(seed, classes=174).classifier.weight for seed in (1, 2))

    def begun(labels: tuple[str, ...]) -> tuple[str, torch.Tensor]:
        model = network(2, classes=174)
        said = start(model, TrainConfig("stm_r18", "data", weights="small"), labels)
        return said[0].partition("; ")[2], model.classifier.weight

    said, weight = begun(official[::-1])
    assert torch.equal(weight, theirs.flip(0) if known else new)
    assert said == (
        "its classifier is taken over (the same labels)"
        if known
        else "its classifier is new (the order of its outputs is not known)"
    )
    said, weight = begun(("something else", *official[1:]))
    assert torch.equal(weight, new)
    assert "is new" in said


def test_what_the_weights_do_not_have_is_said(tmp_path: Path) -> None:
    torch.manual_seed(1)
    plain = create_model("tsn_r18", num_classes=3, frames=4, width=0.0625)
    Recognizer(plain, LABELS, ClipSpec(frames=4, crop=32)).save(tmp_path)
    said = start(network(), TrainConfig("stm_r18", "data", weights=str(tmp_path)), LABELS)
    assert said[0].endswith("its classifier is taken over (the same labels)")
    new = len(network().state_dict()) - len(plain.state_dict())
    assert said[1].startswith(f"not in these weights, so with initial values: {new} tensors, the first is layer1.0.")
    assert len(start(plain, TrainConfig("tsn_r18", "data", weights=str(tmp_path)), LABELS)) == 1


def test_a_new_classifier_that_would_never_learn_is_refused(source: Path, tmp_path: Path) -> None:
    assert torch.equal(started(source, LABELS, "class_regularisation").classifier.weight, network().classifier.weight)
    sentence = "run: its classifier is not for the labels of my data, .*class_regularisation: give weights"
    for labels in (("eat", "run", "walk"), ("run", "walk")):
        with pytest.raises(KinemaError, match=sentence):
            started(source, labels, "class_regularisation")
    kept = {k: v.contiguous() for k, v in network().state_dict().items() if "classifier" not in k}
    save_file(kept, tmp_path / "run.safetensors")
    with pytest.raises(KinemaError, match="is not trained when trainable is class_regularisation"):
        started(tmp_path / "run.safetensors", LABELS, "class_regularisation")


def test_a_causal_network_starts_from_one_that_looks_ahead(source: Path) -> None:
    """The weight of the later frame goes to the present one: on a picture that stands still nothing changes inside."""
    model = network(seed=2, causal=True)
    lines = start(model, TrainConfig("stm_r18", "my data", weights=str(source)), LABELS)
    old = network()
    kernel, before = (
        model.state_dict()["layer1.0.conv1.cstm.t.weight"],
        old.state_dict()["layer1.0.conv1.cstm.t.weight"],
    )
    assert torch.equal(kernel[..., 0], before[..., 0])
    assert torch.equal(kernel[..., 1], before[..., 1] + before[..., 2])
    assert torch.equal(model.classifier.weight, old.classifier.weight)
    assert any("made causal" in line for line in lines)
    still = torch.randn(1, 3, 1, 32, 32).expand(1, 3, 40, 32, 32)
    with torch.no_grad():
        ahead, causal = (m.eval().forward_features(still)[:, :, 20] for m in (old, model))
    assert torch.allclose(ahead, causal, atol=1e-4)


def test_the_fixed_low_frequency_of_a_causal_network_is_its_own() -> None:
    ahead, causal = (network(init="degenerate", causal=causal) for causal in (False, True))
    import_weights(causal, ahead.state_dict())
    built = network(init="degenerate", causal=True).state_dict()
    fixed = [name for name in built if name.endswith(".t.fixed")]
    assert fixed
    assert all(torch.equal(causal.state_dict()[name], built[name]) for name in fixed)
