"""What a person gets to read who makes a mistake in a recipe or in the words of `kinema train`."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path

import pytest
import torch
import yaml

from kinema.cli import main

BASE = {"model": "tsn_r18", "data": "no/such/folder"}
READ = "no folder or CSV at 'no/such/folder'"  # everything before the data was taken


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence of a command that ends with status 2, without the name of the program."""
    assert main(["train", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("kinema: ")
    assert "kinema: kinema" not in err
    return err.removeprefix("kinema: ").rstrip("\n")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"epoch": 3}, "unknown key 'epoch': did you mean 'epochs'?"),
        ({"optim": {"lrr": 1}}, "unknown key of optim 'lrr': did you mean 'lr'? (choose from "),
        ({"twins": {"xyzzy": 1}}, "unknown key of twins 'xyzzy'; choose from beta, centre, gather, joint, weight"),
        ({"clip": {"croop": 3}}, "unknown key of clip 'croop': did you mean 'crop'"),
        ({"photometric": {"odds": {"grayscal": 0.2}}}, "did you mean 'grayscale'?"),
        ({"optim": {"lr": "many"}}, "optim.lr takes a number, not 'many'"),
        ({"batch": 1.5}, "batch takes a whole number, not '1.5'"),
        ({"strict": "perhaps"}, "strict takes true or false, not 'perhaps'"),
        ({"weights": 3}, "weights takes a string or null, not '3'"),
        ({"clip": 3}, "clip takes names with values, {name: value}, not '3'"),
        ({"augment": {"jitter": 32}}, "augment.jitter takes 2 whole numbers such as 256, 320, not '32'"),
        ({"optim": {"milestones": [1, "b"]}}, "optim.milestones takes whole numbers such as 30, 40, 60, not 'b'"),
        ({"optim": {"schedule": "stepp"}}, "unknown optim.schedule 'stepp': did you mean 'step'?"),
        ({"photometric": {"kinds": ["x"]}}, "photometric.kinds takes names such as gaussian_blur"),
        ({"precision": 16}, "precision takes 32 or bf16 or 16: write 16 in quotes"),
        ({"optim": 3}, "optim is 3: give its fields, "),
        ({"optim": {"lr": -1}}, "optim.lr is -1.0: give a number above 0"),
        ({"optim": {"lr": inf}}, "optim.lr is inf: give a number above 0"),
        ({"optim": {"warmup": inf}}, "optim.warmup is inf: give 0 or more"),
        ({"optim": {"max_grad_norm": nan}}, "optim.max_grad_norm is nan: give 0 or more"),
        ({"optim": {"gamma": -1}}, "optim.gamma is -1.0: give a number above 0"),
        ({"optim": {"lr_mult": {"layer1": nan}}}, "optim.lr_mult.layer1 is nan: give a number of 0 or more"),
        ({"optim": {"lr_mult": {1: 0.5}}}, "optim.lr_mult has the key 1: give names of parts"),
        ({"optim": {"lr_mult": 0.5}}, "optim.lr_mult takes"),
        ({"optim": {"lr_mult": {"features": "x"}}}, "optim.lr_mult takes"),
        ({"optim": {"lr_mult": {"features": None}}}, "optim.lr_mult takes"),
        ({"optim": {"lr_mult": None}}, "optim.lr_mult has no value: remove the line"),
        ({"optim": {"lr_mul": {"features": 0.1}}}, "did you mean 'lr_mult'"),
        ({"optim": {"feature_rate": 0.1}}, "unknown key of optim 'feature_rate'"),
        ({"twins": {"weight": nan}}, "twins.weight is nan: give 0 or more"),
        ({"mixup": inf}, "mixup is inf: give 0 or more"),
        ({"ema": nan}, "ema is nan: give 0 or more, and less than 1"),
        ({"augment": {"flip": nan}}, "augment.flip is nan: give a probability"),
        ({"photometric": {"clips": nan}}, "photometric.clips is nan"),
        ({"seed": 2**64}, "seed is 18446744073709551616: give 0 or more, and less than 2^63"),
        ({"optim": {"milestones": [-1]}}, "optim.milestones are [-1]: give epochs"),
        ({"weights": ""}, "weights is empty: name the weights, or give null"),
        ({"seed": None}, "seed has no value: remove the line"),
        ({"optim": {"lr": None}}, "optim.lr has no value: remove the line"),
        ({"model": None}, "model must be given"),
    ],
)
def test_a_mistake_in_a_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path, fields: dict, sentence: str) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({**BASE, **fields}))
    found = said(capsys, str(recipe), "--batch", "2")
    assert found.startswith(f"{recipe}: ")
    assert sentence in found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: [a\nb: c\n", "not YAML in line 2 ("),
        ("notes: &a [*a]\n", "a part contains itself (an alias *name"),
        ("- a\n- b\n", "has no fields (one"),
        ("just text", "has no fields"),
        ("", "has no fields"),
        ("model: tsn_r18\noptim:\n  lr: 1\n  momentum: 0.9\n  lr: 2\n", "not YAML in line 5 (lr is given twice)"),
    ],
)
def test_a_file_that_is_no_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, sentence: str) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(text)
    found = said(capsys, str(recipe))
    assert found.startswith(str(recipe))
    assert sentence in found


def test_a_recipe_may_leave_data_to_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model: tsn_r18\n")
    assert said(capsys, str(recipe)) == "--data must be given; see kinema train --help"
    assert READ in said(capsys, f"--recipe={recipe}", "--data", BASE["data"])
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in said(capsys, str(tmp_path / "bytes.yaml"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--augment.jitter", "240,300"], READ),
        (["--augment.jitter", "240", "300"], READ),
        (["--augment.jitter", "240,", "300"], READ),
        (["--augment.jitter=240,300"], READ),
        (["--augment.jitter", "[240,300]"], READ),
        (["--optim.milestones", "3", "4", "5", "--batch", "3"], READ),
        (["--photometric.kinds", "contrast,brightness"], READ),
        (["--augment.jitter", "240"], "--augment.jitter takes 2 whole numbers such as 256,320, not '[240]'"),
        (["--optim.lr", "x"], "--optim.lr takes a number, not 'x'; see kinema train --help"),
        (["--optim.lr_mult.features", "0.1", "--optim.lr_mult.layer4.1=0"], READ),
        (["--optim.lr_mult", '{"features": 0.1, "layer4.1": 0}'], READ),
        (["--optim.lr_mult.features", "x"], "--optim.lr_mult takes names with numbers, {name: 0.1}, not 'x'"),
        (["--optim.lr_mult.layer4.1", "-1"], "optim.lr_mult.layer4.1 is -1.0: give a number of 0 or more"),
        (["--optim.lr_mlt.features", "1"], "unknown argument --optim.lr_mlt.features: did you mean --optim.lr_mult?"),
        (["--optim.feature_rate", "1"], "unknown argument --optim.feature_rate; choose from "),
        (["--optim.lr"], "--optim.lr needs a value: give a number"),
        (["--optim.milestones"], "--optim.milestones needs a value: give whole numbers such as 30,40,60"),
        (["--optim.mile", "3"], "unknown argument --optim.mile: did you mean --optim.milestones?"),
        (["--optim.milestons", "3"], "unknown argument --optim.milestons: did you mean --optim.milestones?"),
        (["--precision", "16"], READ),
        (["--precision", "b16"], "unknown --precision 'b16': did you mean 'bf16' or '16'?"),
        (["--clip.croop", "3"], "unknown key of clip 'croop': did you mean 'crop'"),
        (["--lr", "3"], "unknown argument --lr: did you mean --optim.lr?"),
        (["--frames", "3"], "unknown argument --frames: did you mean --clip.frames?"),
        (["--width", "3"], "unknown argument --width: did you mean --options.width?"),
        (["--optim.max_norm", "3"], "unknown argument --optim.max_norm: did you mean --optim.max_grad_norm?"),
        (["--optimm.lr", "3"], "unknown argument --optimm.lr: did you mean --optim.lr?"),
        (["--epoch", "3"], "unknown argument --epoch: did you mean --epochs?"),
        (["extra"], "unknown argument extra: remove it"),
    ],
)
def test_words(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert sentence in said(capsys, "--model", "tsn_r18", "--data", BASE["data"], *words)


def test_recipes_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "srtg_hac").startswith("unknown recipe 'srtg_hac': did you mean 'srtg_hacs'? (")
    found = said(capsys, "stm_ssv3")
    assert found.startswith("unknown recipe 'stm_ssv3': did you mean 'stm_ssv2'")
    assert "kinema recipes" in found
    assert said(capsys, "stm_ssv2", "--data", "something_v2:/no/such/folder").startswith("no folder '/no/such/folder'")
    assert said(capsys, "--recipe", "cr_hacs", "--data", "hacs").startswith("hacs is a catalogue without its folder")


def test_weights_of_a_run_that_is_not_there_or_not_finished(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: Path
) -> None:
    words = ("--model", "stm_r18", "--data", str(tiny), "--out", str(tmp_path / "out"), "--weights")
    found = said(capsys, *words, str(tmp_path / "srtg_hacs"))
    assert found.startswith(f"{tmp_path / 'srtg_hacs'}: there is no such file of weights and no such run")
    assert "did you mean 'imagenet'; check" in said(capsys, *words, "imagnet")
    torch.save({"pytorch-lightning_version": "2", "tally": [], "state_dict": {}}, tmp_path / "a.ckpt")
    assert "a.ckpt: is a training checkpoint" in said(capsys, *words, str(tmp_path / "a.ckpt"))
    (tmp_path / "srtg_hacs" / "checkpoints").mkdir(parents=True)
    assert "contains no model.safetensors; if it is a run, finish its training" in said(
        capsys, *words, str(tmp_path / "srtg_hacs")
    )
