"""The shell of the command line and its small commands, as a person types them."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from kinema import __version__
from kinema.cli import COMMANDS, main
from kinema.evaluation.cost_rows import CostRow, cost_rows
from kinema.models import create_model, list_models
from kinema.recognizer import Recognizer


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(list(words))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence on stderr of a command that ends with status 2."""
    status, out, err = run(capsys, *words)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("kinema: ")
    return err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["help"]):
        status, out, _ = run(capsys, *words)
        assert status == 0
        assert all(f"kinema {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, _ = run(capsys, *name.split(), "--help")
    assert status == 0
    assert f"usage: kinema {name}" in out


def test_what_may_not_be_read_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(args: object) -> None:
        raise PermissionError(13, "Permission denied", "data/walk")

    monkeypatch.setattr("kinema.cli.recipes.run", forbidden)
    assert "data/walk: Permission denied" in refused(capsys, "recipes")
    with pytest.raises(PermissionError):
        main(["recipes", "--debug"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.EIO, "Input/output error", "disk/a.mp4"),
            ["disk/a.mp4: Input/output error", f"errno {errno.EIO}"],
        ),
        (OSError(errno.ESTALE, "Stale file handle", b"disk/caf\xe9.mp4"), ["disk/caf\\udce9.mp4", "Stale"]),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300), ["a" * 300, "too long", "255 bytes"]),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "disk"), ["disk: Is a directory", f"errno {errno.EISDIR}"]),
        (OSError(errno.EMFILE, "Too many open files"), ["kinema recipes: Too many open files"]),
        (OSError("the library gave no number"), ["kinema recipes: the library gave no number"]),
        (ConnectionResetError(), ["kinema recipes: ConnectionResetError"]),
        (
            PermissionError(
                "Caught PermissionError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
                "  File …\nPermissionError: [Errno 13] Permission denied: 'data/a.mp4'\n"
            ),
            ["kinema recipes: PermissionError: [Errno 13] Permission denied: 'data/a.mp4'"],
        ),
    ],
)
def test_every_error_of_the_system_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: OSError, words: list[str]
) -> None:
    def fail(args: object) -> None:
        raise error

    monkeypatch.setattr("kinema.cli.recipes.run", fail)
    status, out, err = run(capsys, "recipes")
    assert (status, out, err.count("\n")) == (2 if isinstance(error, PermissionError) else 1, "", 1)
    assert err.startswith("kinema: ")
    assert all(word in err for word in words), err
    assert "None" not in err
    with pytest.raises(type(error)):
        main(["recipes", "--debug"])


def test_names_that_are_not_text_are_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinema.cli.recipes.run", lambda args: print("data/caf\udce9.mp4"))
    assert run(capsys, "recipes") == (0, "data/caf\\udce9.mp4\n", "")


def test_version_and_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1].strip() == __version__
    assert "kinema data doctor" in run(capsys, "data")[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tran"], "unknown command 'tran': did you mean 'train'"),
        (["data", "docter", "x"], "did you mean 'data doctor'"),
        (["cost"], "models"),
        (["cost", "stm_r05"], "did you mean 'stm_r50'"),
        (["cost", "stm_r50", "--classs", "3"], "unknown argument --classs: did you mean --classes?"),
        (["cost", "stm_r50", "--classes", "many"], "--classes"),
        (["cost", "stm_r50", "--options.widht", "0.5"], "did you mean 'width'"),
        (["cost", "stm_r50", "--latency", "--device", "abacus"], "use --device cpu"),
        (["cost", "stm_r50", "--latency", "--batch", "0"], "--batch 0"),
        (["cost", "stm_r50", "--latency", "--batch", "1,many"], "--batch"),
        (["cost", "stm_r50", "--latency", "--repeats", "0"], "--repeats 0"),
        (["cost", "stm_r50", "--backward"], "--latency"),
        (["cost", "stm_r50", "--relative-to", "tsn_r05"], "did you mean 'tsn_r50'"),
        (["cost", "stm_r50", "--views", "10x2"], "10x2"),
        (["cost", "--paper", "x3d", "--relative-to", "x3d_s"], "--relative-to"),
        (["models", "nothing_such"], "no model matches"),
        (["train", "--model", "stm_r18"], "data"),
        (["train", "--model", "stm_r18", "--data", "no/such/folder"], "no/such/folder"),
        (["train", "no-recipe.yaml"], "no-recipe.yaml"),
        (["weights", "import", "no.pth", "--model", "stm_r18"], "no.pth"),
    ],
)
def test_bad_words_are_one_sentence(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert sentence in refused(capsys, *words)


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match="unknown model"):
        main(["cost", "nothing", "--debug"])


def test_models_lists_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "models", "stm_*")
    assert all(name in out for name in list_models("stm_*"))
    assert "tsn_r50" not in out
    rows = json.loads(run(capsys, "models", "tsn", "--json")[1])
    assert [r["model"] for r in rows] == ["tsn_efficientnet_lite0", "tsn_r18", "tsn_r34", "tsn_r50"]


def test_cost_prints_the_figures_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("cost", "stm_r50", "--frames", "8", "--size", "224", "--classes", "174")
    _, out, _ = run(capsys, *words)
    assert "24.04 M" in out
    assert "33.02 G" in out
    row = json.loads(run(capsys, *words, "--json")[1])["rows"][0]
    assert row["flops"] == 2 * row["macs"]


def test_cost_measures_latency(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("cost", "tsn_r18", "--options.width", "0.0625", "--size", "32", "--latency", "--repeats", "3", "--json")
    timing = json.loads(run(capsys, *words)[1])["rows"][0]["latency"]
    assert 0 < timing["p50_ms"] <= timing["p95_ms"]
    assert timing["clips_per_s"] > 0


def test_cost_measures_both_ways_relative_to_a_baseline(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured once, printed twice: every measurement starts processes."""
    found: list[CostRow] = []

    def once(*args: Any, **values: Any) -> list[CostRow]:
        found.extend([] if found else cost_rows(*args, **values))
        return found

    monkeypatch.setattr("kinema.cli.cost.cost_rows", once)
    words = ("cost", "tsm_r18", "--options.width", "0.0625", "--size", "32", "--frames", "2", "--views", "10x3",
             "--latency", "--backward", "--repeats", "3", "--relative-to", "tsn_r18", "--batch", "1,2")  # fmt: skip
    rows = json.loads(run(capsys, *words, "--json")[1])["rows"]
    assert [(row["model"], row["latency"]["batch"]) for row in rows] == [
        ("tsn_r18", 1), ("tsm_r18", 1), ("tsn_r18", 2), ("tsm_r18", 2),
    ]  # fmt: skip
    for row in rows:
        assert (row["views"], row["flops_of_views"]) == (30, 30 * row["flops"])
        assert row["relative"]["params"] == row["relative"]["macs"] == 1
        assert row["latency"]["training"]["backward"]["p50_ms"] > 0
    assert all(rows[0]["relative"][name]["median"] == 1 for name in ("forward", "training_forward", "backward"))
    out = run(capsys, *words)[1]
    assert all(word in out for word in ("MACs x 30", "training forward", "quartiles of x", "Batch 1", "Batch 2"))


RECIPE = {
    "model": "tsn_r18",
    "options": {"width": 0.0625},
    "clip": {"frames": 2, "short_side": 36, "crop": 32},
    "epochs": 1,
    "batch": 4,
    "workers": 0,
    "optim": {"lr": 0.02},
}


def test_a_recipe_trains_and_the_command_line_overrides_it(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "data": str(tiny)}))
    status, out, err = run(capsys, "train", str(recipe), "--out", str(tmp_path / "run"), "--optim.lr", "0.03")
    assert status == 0, err
    assert "epoch 1/1" in out
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (kept["optim"]["lr"], kept["batch"], kept["clip"]["crop"]) == (0.03, 4, 32)
    status, out, _ = run(capsys, "train", str(tmp_path / "run" / "config.yaml"))  # what a run keeps is a recipe
    assert status == 0
    assert "finished" in out
    assert "another run" in refused(capsys, "train", str(recipe), "--out", str(tmp_path / "run"))


def test_a_finished_run_cannot_be_stretched_but_trained_on_from(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path
) -> None:
    recipe, first, second = tmp_path / "recipe.yaml", str(tmp_path / "run"), str(tmp_path / "run2")
    recipe.write_text(yaml.safe_dump({**RECIPE, "data": str(tiny)}))
    assert run(capsys, "train", str(recipe), "--out", first)[0] == 0
    sentence = refused(capsys, "train", str(recipe), "--out", first, "--epochs", "2")
    mend = f"differs in epochs; give another --out, and --weights {first} to start from its weights"
    assert mend in sentence
    assert "--weights" not in refused(capsys, "train", str(recipe), "--out", first, "--epochs", "2", "--seed", "2")
    assert run(capsys, "train", str(recipe), "--out", second, "--weights", first)[0] == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epoch": 3}, "epochs"),
        ({"optim": {"learning_rate": 1}}, "learning_rate"),
        ({"clip": {"croop": 3}}, "did you mean 'crop'"),
        ({"model": "stm_r81"}, "did you mean 'stm_r18'"),
        ({"batch": "many"}, "batch"),
    ],
)
def test_a_recipe_with_a_mistake(
    capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path, changes: dict, sentence: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "data": str(tiny), "out": str(tmp_path / "run"), **changes}))
    assert sentence in refused(capsys, "train", str(recipe))
    assert not (tmp_path / "run").exists()


def test_weights_import_reports_and_saves(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = create_model("tsn_r18", num_classes=2, width=0.0625)
    save_file({k: v.contiguous() for k, v in source.state_dict().items()}, tmp_path / "w.safetensors")
    (tmp_path / "labels.txt").write_text("fall\nstand\n")
    words = ("weights", "import", str(tmp_path / "w.safetensors"), "--model", "stm_r18", "--options.width", "0.0625")
    status, out, _ = run(capsys, *words, "--labels", str(tmp_path / "labels.txt"), "--out", str(tmp_path / "r"))
    assert status == 0
    assert "classifier taken over" in out
    assert "new, with initial values: layer1.0.conv1.cstm.t.weight" in out
    loaded = Recognizer.load(tmp_path / "r")
    assert loaded.labels == ("fall", "stand")
    assert torch.equal(loaded.model.stem.conv.weight, source.stem.conv.weight)
    assert "--labels" in refused(capsys, *words, "--out", str(tmp_path / "r2"))


def test_weights_that_do_not_fit_save_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    status, out, err = run(capsys, "weights", "import", str(tmp_path / "w.safetensors"), "--model", "tsn_r18")
    assert status == 1
    assert "of another shape: stem.conv.weight" in out
    assert "nothing was saved" in err
