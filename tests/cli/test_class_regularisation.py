"""The commands of docs/training.md that put Class Regularisation on a trained network."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from kinema.cli import main

DOCS = Path(__file__).parent.parent.parent / "docs" / "training.md"
SMALL = [
    "--options.width", "0.125", "--clip.frames", "4", "--clip.short_side", "36", "--clip.crop", "32", "--epochs", "1",
    "--batch", "6", "--workers", "0", "--logger", "none", "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def commands(tiny: Path) -> list[list[str]]:
    """The words of each command after `kinema`, on the tiny data and at a small size."""
    section = DOCS.read_text(encoding="utf-8").partition("## Class Regularisation on a trained network")[2]
    (block,) = re.findall(r"```\n(.*?)```", section.partition("\n## ")[0], re.S)
    lines = block.replace("\\\n", " ").replace("my_videos", shlex.quote(str(tiny))).splitlines()
    found = [shlex.split(line)[1:] for line in lines]
    assert [words[0] for words in found] == ["train", "train", "test", "test", "compare"]
    found[0] += SMALL  # the second run takes this over
    return [[*words, "--workers", "0"] if words[0] == "test" else words for words in found]


def test_every_step_works(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in commands[:4]:
        assert main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "its classifier is taken over (the same labels)" in said
    assert "untrained network" not in said
    assert main([*commands[4], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["first"]["name"], result["second"]["name"]) == ("plain", "cr")
    plain, cr = (load_file(f"{run}/recognizer/model.safetensors") for run in ("plain", "cr"))
    assert all(torch.equal(cr[key], value) for key, value in plain.items())  # statistics of BatchNorm too
    assert sorted(set(cr) - set(plain)) == [f"class_regularisation.layer{i}.weight" for i in range(1, 5)]
    kept = yaml.safe_load(Path("cr/config.yaml").read_text(encoding="utf-8"))
    assert kept["clip"] == yaml.safe_load(Path("plain/config.yaml").read_text(encoding="utf-8"))["clip"]
    assert kept["options"]["width"] == 0.125


def test_a_third_run_trains_the_maps_further(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    choice = ["--options.class_regularisation_choice", "max", "--options.class_regularisation_bounds", "symmetric"]
    still = ["--optim.lr", "1e-20", "--optim.weight_decay", "0"]
    for words in (commands[0], [*commands[1], *choice], ["train", "cr", "--out", "more", "--weights", "cr", *still]):
        assert main(words) == 0, capsys.readouterr().err
    cr, more = (load_file(f"{run}/recognizer/model.safetensors") for run in ("cr", "more"))
    assert cr.keys() == more.keys()
    assert all(torch.equal(cr[key], value) for key, value in more.items())  # it began with the maps of `cr`
    options = json.loads(Path("more/recognizer/card.json").read_text(encoding="utf-8"))["architecture"]["options"]
    assert options["class_regularisation_choice"] == "max"
    assert options["class_regularisation_bounds"] == "symmetric"


@pytest.mark.parametrize(
    "words",
    [
        ["--trainable", "class_regularisation", "--options.class_regularisation", "[0.9, 0.8, 0.7, 0.6]"],
        ["--trainable", "classifier"],
        ["--optim.lr_mult.features", "0"],
    ],
)
def test_frozen_parts_without_weights_are_noted(
    words: list[str], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "--model", "r3d_34", "--data", str(tiny), "--out", str(tmp_path / "run"), *SMALL]
    assert main([*given, *words]) == 0
    assert "note: weights is not given, so" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "options.class_regularisation"),
        (["--options.class_regularisation", "[0.9, 0.8]"], "one number for each of the 4 stages"),
        (["--options.class_regularisation", "[0.9, 0.8, 0.7, 2]"], "from 0 to 1"),
        (
            ["--options.class_regularisation", "[0.9, 0.8, 0.7, 0.6]", "--options.class_regularisation_choice", "mx"],
            "did you mean 'max'",
        ),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], sentence: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "--model", "r3d_34", "--data", str(tiny), "--out", str(tmp_path / "run"), *SMALL]
    assert main([*given, "--trainable", "class_regularisation", *words]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
