"""`kinema models`: the zoo as a table, and the options of one network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kinema.cli import main
from kinema.clip_spec import ClipSpec
from kinema.models import create_model, describe, find_model, list_models
from kinema.models.options import argument_texts


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["models", *words]) == 0
    return capsys.readouterr().out


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes Rich believe that it prints to a terminal
    monkeypatch.setenv("COLUMNS", "80")
    names = list_models("*efficientnet*")
    out = re.sub(r"\x1b\[[\d;]*m", "", printed(capsys, "*efficientnet*"))
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in names:
        (line,) = (line for line in lines if line.startswith(f" {name} "))
        assert re.search(r" 8 +224 +\d+\.\d\d M +\d+\.\d\d G *$", line)


def test_a_name_is_found_by_the_beginnings_of_its_parts() -> None:
    assert {name.partition("_")[0] for name in list_models("stm")} == {"stm"}
    assert {"r3d_50", "stm_r50", "i3d_50"} & set(list_models("50")) == {"r3d_50", "i3d_50"}
    assert "wide_r3d_50" in list_models("3d_50")  # of no part the beginning


def test_options_of_one_network(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "stm_r18", "--options")
    assert out.startswith("stm_r18: STM, ICCV 2019")
    assert '  --options.mode "stm" (stm | cstm | cmm | tsn)\n      `stm`, one of its halves `cstm` or `cmm`' in out
    assert "--options.num_classes" not in out
    assert "--options.frames" not in out
    assert "  --clip.crop 224 (int)\n      height and width, in pixels" in out
    told = json.loads(printed(capsys, "stm_r18", "--options", "--json"))
    assert (told["model"], told["options"]["reduction"]["default"]) == ("stm_r18", 16)
    assert told["clip"]["frames"]["default"] == create_model("stm_r18", num_classes=2, width=0.0625).clip_spec.frames
    assert told["options"]["class_regularisation"]["about"]
    assert told["options"]["dropout"]["type"] == "float"
    assert told["options"]["mode"]["type"] == "stm | cstm | cmm | tsn"


def test_what_is_told_is_what_create_model_takes(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(printed(capsys, "tsn_r18", "--options", "--json"))["options"]
    small = {key: field["default"] for key, field in told.items()} | {"width": 0.0625}
    parts = {key: small.pop(key) for key in ("class_regularisation_bounds", "class_regularisation_choice")}
    plain = create_model("tsn_r18", num_classes=2, **small)
    assert plain.architecture["options"] == small | {"num_classes": 2, "frames": 8}
    with_it = create_model("tsn_r18", num_classes=2, **small | {"class_regularisation": [0.9] * 4}, **parts)
    assert with_it.architecture["options"] == plain.architecture["options"] | {
        "class_regularisation": [0.9] * 4, **parts
    }  # fmt: skip


def test_a_pattern_of_one_network_is_enough_and_of_several_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "srtg_r3d_15", "--options").startswith("srtg_r3d_152: ")
    assert printed(capsys, "r3d_50", "--options").startswith("r3d_50: ")  # others contain this name
    assert main(["models", "stm_*", "--options"]) == 2
    assert "'stm_*' matches 3: give the full name" in capsys.readouterr().err
    assert main(["models", "nothing such", "--options"]) == 2
    assert "no model matches 'nothing such'" in capsys.readouterr().err


def test_the_explanations_are_broken_at_the_width_of_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, printed(capsys, "stm_r18", "--options").splitlines())) <= 80


@pytest.mark.parametrize("name", sorted({min(n for n in list_models() if find_model(n).build is find_model(name).build)
                                         for name in list_models()}))  # fmt: skip
def test_every_option_of_every_family_is_explained(name: str) -> None:
    described = describe(name)
    assert {option.name for option in described} >= set(find_model(name).options())
    assert all(option.about and option.type for option in described)


def test_every_field_of_a_clip_is_explained() -> None:
    texts = argument_texts(ClipSpec)
    assert all(texts.get(key) for key in ClipSpec().to_dict())
