"""The card of a recognizer: it keeps everything that makes the network, whatever becomes of the defaults."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.test_main import refused
from models.test_contract import OPTIONS, SMALLEST
from tiny import moving_square, write_video

from kinema import ClipSpec, Recognizer, create_model
from kinema.card import FORMAT, read_card
from kinema.cli import main
from kinema.errors import KinemaError, KinemaWarning
from kinema.models import VideoModel, find_model, list_models

SMALL = {"num_classes": 3, "width": 0.0625}


def saved(folder: Path, name: str, **options: Any) -> Recognizer:
    """A recognizer with random weights, in evaluation, that has been saved in `folder`."""
    torch.manual_seed(0)
    model = create_model(name, **{**SMALL, **options}).eval()
    for module in model.modules():  # else all statistics are 0 and 1, and an eps shows nothing
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    recognizer = Recognizer(model, ("a", "b", "c"), model.clip_spec)
    recognizer.save(folder)
    return recognizer


def clip(frames: int = 8, side: int = 48) -> torch.Tensor:
    return torch.randn(2, 3, frames, side, side, generator=torch.Generator().manual_seed(1))


def edit(folder: Path, **changes: Any) -> None:
    file = folder / "card.json"
    values = {**json.loads(file.read_text(encoding="utf-8")), **changes}
    file.write_text(json.dumps({k: v for k, v in values.items() if v is not ...}), encoding="utf-8")


def as_format_1(folder: Path, *kept: str) -> dict[str, Any]:
    """Makes a card that an earlier version wrote, with only the options that were given; returns the resolved ones."""
    architecture = json.loads((folder / "card.json").read_text(encoding="utf-8"))["architecture"]
    options = {key: value for key, value in architecture["options"].items() if key in (*SMALL, *kept)}
    edit(folder, format=1, architecture={"name": architecture["name"], "options": options})
    return architecture["options"]


def loaded(folder: Path) -> Recognizer:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Recognizer.load(folder)


@pytest.mark.parametrize("name", list_models())
def test_the_card_of_every_network_builds_the_same_network(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, **{**SMALL, **OPTIONS.get(name, {})})
        described = json.loads(json.dumps(model.architecture))
        again = create_model(described["name"], **described["options"])
    stated = set(described["options"])
    assert stated >= {*find_model(name).options(), "class_regularisation"}
    assert json.loads(json.dumps(again.architecture)) == described
    assert again.clip_spec == model.clip_spec
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (model, again)]
    assert shapes[0] == shapes[1]
    assert [key for key, value in described["options"].items() if value is None] == ["class_regularisation"]


@pytest.mark.parametrize(("name", "options"), SMALLEST, ids=[name for name, _ in SMALLEST])
def test_one_network_of_every_family_is_what_was_saved(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    first = saved(tmp_path, name, **options)
    again = loaded(tmp_path)
    x = clip()
    with torch.no_grad():
        assert torch.equal(again.model(x), first.model(x))
    assert again.card["versions"]["torch"] == torch.__version__


# A network, an option, another default for it that changes what the network computes.
CHANGED = [
    ("ir_csn_50", "eps", 0.01),
    ("tsm_r18", "fold", 2),
    ("tsm_r18", "causal", True),
    ("slowfast_50", "slow_frames", "spread"),
    ("slowfast_50", "alpha", 2),
    ("slowonly_50", "frames", 4),
    ("i3d_50", "pool2", True),
    ("r3d_34", "max_pool", False),
    ("srtg_r3d_34", "fusion", "mul"),
    ("srtg_r3d_34", "fusion", "add"),
    ("stm_r18", "temporal", "ordinary"),
    ("x3d_s", "frames", 4),
]


def change_default(monkeypatch: pytest.MonkeyPatch, name: str, option: str, value: Any) -> None:
    build = find_model(name).build
    if option in (build.__kwdefaults__ or {}):
        monkeypatch.setitem(build.__kwdefaults__, option, value)
    else:
        optional = [p.name for p in find_model(name).options().values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        defaults = list(build.__defaults__)
        defaults[optional.index(option)] = value
        monkeypatch.setattr(build, "__defaults__", tuple(defaults))


def told_apart(a: VideoModel, b: VideoModel, x: torch.Tensor) -> bool:
    """Whether two networks compute, are built or see clips differently."""
    if a.clip_spec != b.clip_spec or set(a.state_dict()) != set(b.state_dict()):
        return True
    if any(value.shape != b.state_dict()[key].shape for key, value in a.state_dict().items()):
        return True
    b.load_state_dict(a.state_dict())
    with torch.no_grad():
        return not torch.equal(a(x), b.eval()(x))


@pytest.mark.parametrize(("name", "option", "value"), CHANGED, ids=[f"{n}-{o}" for n, o, _ in CHANGED])
def test_a_default_that_changes_later_changes_nothing(
    name: str, option: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, x = saved(tmp_path, name), clip(frames=16)
    with torch.no_grad():
        expected = first.model(x)
    change_default(monkeypatch, name, option, value)
    assert told_apart(first.model, create_model(name, **SMALL), x)
    again = loaded(tmp_path)
    with torch.no_grad():
        assert torch.equal(again.model(x), expected)
    assert again.spec == first.spec
    assert again.model.clip_spec == first.model.clip_spec


def test_defaults_of_a_backbone_are_kept_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"backbone": "tsm_r18", "frames": 4, "units": 1}
    first, x = saved(tmp_path, "cidc", **options), clip(frames=4, side=64)
    stated = read_card(tmp_path / "card.json").options
    assert stated["backbone_options"] == {"fold": 8, "causal": False}
    assert stated["stages"] == ["layer2", "layer3", "layer4"]
    with torch.no_grad():
        expected = first.model(x)
    change_default(monkeypatch, "tsm_r18", "fold", 2)
    assert told_apart(first.model, create_model("cidc", **SMALL, **options), x)
    with torch.no_grad():
        assert torch.equal(loaded(tmp_path).model(x), expected)


def test_a_card_of_format_1_is_completed_once_and_visibly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = saved(tmp_path, "tsm_r18", dropout=0.25)
    as_format_1(tmp_path, "dropout")
    with pytest.warns(KinemaWarning) as caught:
        again = Recognizer.load(tmp_path)
    (sentence,) = [str(w.message) for w in caught]
    assert sentence.startswith(f"{tmp_path / 'card.json'}: ")
    assert "frames=8, fold=8, causal=False, class_regularisation=None" in sentence
    assert "dropout" not in sentence
    assert ".save(" in sentence
    assert "\n" not in sentence
    x = clip()
    with torch.no_grad():
        assert torch.equal(again.model(x), first.model(x))
    again.save(tmp_path)
    assert read_card(tmp_path / "card.json").format == FORMAT
    with torch.no_grad():
        assert torch.equal(loaded(tmp_path).model(x), first.model(x))


def test_a_card_of_format_1_has_the_defaults_of_this_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, "slowfast_50")
    as_format_1(tmp_path)
    change_default(monkeypatch, "slowfast_50", "slow_frames", "spread")
    with pytest.warns(KinemaWarning, match="slow_frames='spread'"):
        again = Recognizer.load(tmp_path)
    assert again.model.architecture["options"]["slow_frames"] == "spread"


def test_what_lies_inside_an_option_is_completed_too(tmp_path: Path) -> None:
    saved(tmp_path, "cidc", backbone="tsm_r18", frames=4, units=1, backbone_options={"fold": 4})
    options = as_format_1(tmp_path, "backbone", "frames", "units")
    given = {key: options[key] for key in (*SMALL, "backbone", "frames", "units")}
    edit(tmp_path, architecture={"name": "cidc", "options": {**given, "backbone_options": {"fold": 4}, "stages": None}})
    with pytest.warns(KinemaWarning) as caught:
        Recognizer.load(tmp_path)
    assert "backbone_options.causal=False" in str(caught[0].message)
    assert "backbone_options.fold" not in str(caught[0].message)
    assert "stages=['layer2'" in str(caught[0].message)


def test_a_field_of_the_clip_that_is_not_stated_is_told(tmp_path: Path) -> None:
    first = saved(tmp_path, "tsn_r18")
    fields = first.spec.to_dict()
    del fields["colour"]
    edit(tmp_path, clip=fields)
    with pytest.warns(KinemaWarning, match=r"does not state clip\.colour='rgb'; these are the values"):
        assert Recognizer.load(tmp_path).spec == first.spec


def test_the_command_line_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    folder = tmp_path / "r"
    saved(folder, "tsn_r18", frames=2)
    as_format_1(folder, "frames")
    video = write_video(tmp_path / "v.mp4", moving_square(np.random.default_rng(0), True, frames=8), rate=8)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["predict", str(folder), str(video)]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "card.json" in line]
    assert line.startswith(f"kinema: note: {folder / 'card.json'}: has format 1 and does not state dropout=0.5")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"format": 3}, "'format' is 3"),
        ({"format": 99}, "update Kinema"),
        ({"format": 3, "architecture": "of another kind"}, "'format' is 3"),
        ({"format": "2"}, "'format' is '2', but must be an integer"),
        ({"format": 2.0}, "'format' is 2.0, but must be an integer"),
        ({"format": True}, "'format' is True, but must be an integer"),
        ({"format": None}, "'format' is None, but must be an integer"),
        ({"format": 0}, "'format' is 0, but must be an integer from 1 to 2"),
        ({"format": [2]}, "'format' is [2]"),
        ({"format": ...}, "the key 'format' is missing"),
        ({"training": []}, "'training'"),
        ({"training": {"coverage": {"expected": 3}}}, "'training.coverage.read'"),
        ({"metrics": {"coverage": 1}}, "'metrics.coverage'"),
        ({"versions": "1.0"}, "'versions'"),
        ({"weights": 3}, "'weights'"),
    ],
)
def test_a_card_that_this_version_cannot_read_is_one_sentence(
    changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    saved(tmp_path, "tsn_r18")
    edit(tmp_path, **changes)
    with pytest.raises(KinemaError) as caught:
        Recognizer.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'card.json'}: ")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_option_that_this_version_does_not_know_is_named(tmp_path: Path) -> None:
    saved(tmp_path, "tsm_r18")
    options = read_card(tmp_path / "card.json").options
    edit(tmp_path, architecture={"name": "tsm_r18", "options": {**options, "folds": 8}})
    with pytest.raises(KinemaError, match=r"card\.json: unknown option of tsm_r18 'folds': did you mean 'fold'\?"):
        Recognizer.load(tmp_path)
    options["backbone_options"] = {"fold": 8}
    edit(tmp_path, architecture={"name": "tsm_r18", "options": options})
    with pytest.raises(KinemaError, match=r"card\.json: unknown option of tsm_r18 'backbone_options'"):
        Recognizer.load(tmp_path)


@pytest.mark.parametrize("missing", ["card.json", "model.safetensors"])
def test_a_missing_file_is_named(missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path, "tsn_r18")
    (tmp_path / missing).unlink()
    with pytest.raises(KinemaError, match=rf"{missing} is missing"):
        Recognizer.load(tmp_path)
    assert missing in refused(capsys, "predict", str(tmp_path), "v.mp4")


def test_what_no_card_can_hold_is_not_written(tmp_path: Path) -> None:
    recognizer = saved(tmp_path, "tsn_r18")
    before = (tmp_path / "card.json").read_bytes()
    for more, what in (
        ({"labels": ["x"]}, "'labels'"),
        ({"format": 1}, "'format'"),
        ({"training": 3}, "'training'"),
        ({"weights": {"source": Path("x")}}, "JSON"),
    ):
        recognizer.card = more
        with pytest.raises(KinemaError, match=rf"card\.json: .*{what}"):
            recognizer.save(tmp_path)
        assert (tmp_path / "card.json").read_bytes() == before
    assert loaded(tmp_path).spec == ClipSpec.from_dict(read_card(tmp_path / "card.json").clip)
