"""`get_release` and `import_file`: from the file of another project to a saved recognizer, from Python."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from weights.test_importing import torchvision_resnet

from kinema import Recognizer, create_model
from kinema.errors import KinemaError, KinemaWarning, RunError
from kinema.weights import IncompleteWeights, Release, find_release, get_release, import_file

TENSORS = torchvision_resnet(18, base=8, classes=3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(TENSORS, tmp_path / "small.pth")
    return tmp_path / "small.pth"


def release(**changes: Any) -> Release:
    values = {"name": "small", "options": {"width": 0.125}, "classes": 3, "labels": "", "sha256": "", **changes}
    return replace(find_release("torchvision-resnet18"), **values)


@pytest.mark.parametrize("form", [tuple, list, "file", Path])
def test_a_release_becomes_a_recognizer(file: Path, tmp_path: Path, form: Any) -> None:
    names = ("fall", "stand", "walk")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(names))
    given = form(names) if form in (tuple, list) else str(labels) if form == "file" else labels
    found = get_release(release(), tmp_path / "r", file=file, labels=given)
    assert (found.saved, found.labels, found.complete) == (tmp_path / "r", names, True)
    loaded = Recognizer.load(tmp_path / "r")
    assert loaded.labels == names
    assert loaded.spec == found.spec
    assert loaded.card["weights"] == json.loads(json.dumps(found.card))
    assert torch.equal(loaded.model.get_submodule("stem.conv").weight, TENSORS["conv1.weight"])  # type: ignore[arg-type]
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.model(clip), found.model(clip))  # evaluation mode


def test_without_a_folder_nothing_is_saved_and_no_labels_are_needed(file: Path, tmp_path: Path) -> None:
    found = get_release(release(), file=file)
    assert (found.saved, found.labels, found.report.classifier) == (None, (), True)
    assert found.file == str(file)
    assert len(found.sha256) == 64
    assert [p.name for p in tmp_path.iterdir()] == ["small.pth"]
    new = get_release(release(), file=file, classes=5)
    assert (new.model.num_classes, new.card["classifier"], new.complete) == (5, "random", True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"labels": ("a", "b")}, "labels has 2 labels for 3 outputs"),
        ({"labels": ("a", "b", "b")}, "twice"),
        ({"labels": "gone.txt"}, "gone.txt"),
        ({}, "order of its 3 outputs is not known"),
        ({"classes": 2}, "labels are missing"),
        ({"classes": 2, "labels": ("a", "b", "c")}, "labels has 3 labels for 2 outputs"),
        ({"classes": 0}, "classes is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"labels": ("a", "b", "c"), "file": "gone.pth"}, "gone.pth"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_saves_nothing(
    file: Path, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(KinemaError) as caught:
        get_release(release(), tmp_path / "r", **{"file": file, **options})
    assert told in str(caught.value)
    assert not (tmp_path / "r").exists()


def test_an_unknown_release_and_another_hash(file: Path) -> None:
    with pytest.raises(KinemaError, match="unknown release 'torchvision-resnt18': did you mean"):
        get_release("torchvision-resnt18")
    with pytest.raises(KinemaError, match="SHA-256"):
        get_release(release(sha256="0123abcd"), file=file)


@pytest.mark.parametrize("lost", ["layer2.0.conv1.weight", "fc.weight"])
def test_incomplete_weights_carry_their_report(tmp_path: Path, lost: str) -> None:
    torch.save({k: v for k, v in TENSORS.items() if k != lost}, tmp_path / "part.pth")
    with pytest.raises(IncompleteWeights, match="small: its file does not fit tsn_r18 completely") as caught:
        get_release(release(), tmp_path / "r", file=tmp_path / "part.pth", labels=("a", "b", "c"))
    assert isinstance(caught.value, RunError)
    imported = caught.value.imported
    assert not imported.complete
    assert imported.report.missing == (("layer2.0.conv1.weight",) if lost.startswith("layer2") else ())
    assert not (tmp_path / "r").exists()


def test_a_file_becomes_a_recognizer(tmp_path: Path) -> None:
    source = create_model("tsn_r18", num_classes=2, width=0.0625)
    save_file({k: v.contiguous() for k, v in source.state_dict().items()}, tmp_path / "w.safetensors")
    given = {"options": {"width": 0.0625}, "clip": {"stride": 3}, "labels": ("fall", "stand")}
    found = import_file(tmp_path / "w.safetensors", "stm_r18", tmp_path / "r", **given)  # type: ignore[arg-type]
    loaded = Recognizer.load(tmp_path / "r")
    assert (loaded.labels, loaded.spec.stride, found.saved) == (("fall", "stand"), 3, tmp_path / "r")
    assert loaded.card["weights"]["source"] == str(tmp_path / "w.safetensors")
    for options, told in (
        ({"labels": None}, "labels are missing"),
        ({"classes": 3}, "classes is 3, but there are 2 labels"),
        ({"options": {"num_classes": 2}}, r"options\.num_classes"),
        ({"options": {"widht": 1}}, "did you mean 'width'"),
        ({"labels": ("a", "a")}, "twice"),
    ):
        with pytest.raises(KinemaError, match=told):
            import_file(tmp_path / "w.safetensors", "stm_r18", tmp_path / "no", **{**given, **options})  # type: ignore[arg-type]
        assert not (tmp_path / "no").exists()
    with pytest.raises(IncompleteWeights, match=r"w\.safetensors: does not fit tsn_r34"):
        import_file(tmp_path / "w.safetensors", "tsn_r34", options={"width": 0.0625})


def test_labels_that_look_like_numbers_sorted_as_text_are_told(tmp_path: Path) -> None:
    source = create_model("tsn_r18", num_classes=11, width=0.0625)
    save_file({k: v.contiguous() for k, v in source.state_dict().items()}, tmp_path / "w.safetensors")
    with pytest.warns(KinemaWarning, match="labels orders numbers as text: output"):
        import_file(
            tmp_path / "w.safetensors", "tsn_r18", labels=sorted(map(str, range(11))), options={"width": 0.0625}
        )  # fmt: skip
