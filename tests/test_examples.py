"""The programs and notebooks of `examples/` run; in this process where possible, which starts PyTorch once."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from tiny import moving_square, tiny_data, write_video

from kinema import ClipSpec, KinemaError, Recognizer, create_model
from kinema.data.samplers import base as samplers
from kinema.models import registry

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of tiny videos, `videos/`, and a network that was trained on them for one epoch, `run/`."""
    where = tmp_path_factory.mktemp("examples")
    tiny_data(where / "videos", train=4, test=2)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said:
        run_program("train_and_test.py", ["videos", "run", "--epochs", "1"], where, patch)
    assert "4 expected / 4 read / 0 failed" in said.getvalue()
    return where


def run_program(name: str, arguments: list[str], where: Path, patch: pytest.MonkeyPatch) -> None:
    """Runs a program as if it had been started in a folder."""
    patch.chdir(where)
    patch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture
def example(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a program with arguments in the folder and returns what it prints."""

    def run(name: str, *arguments: str) -> str:
        run_program(name, list(arguments), folder, monkeypatch)
        return capsys.readouterr().out

    return run


def test_compare_two_runs(example, folder: Path) -> None:
    text = example("compare_two_runs.py", "videos", "pair", "--epochs", "1")
    assert "tsn_r18: top-1" in text and "tsm_r18: top-1" in text
    assert "McNemar p = " in text
    assert (folder / "pair" / "tsn_r18" / "recognizer" / "card.json").is_file()


def test_fine_tune_starts_from_the_weights(example, folder: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("up", "down", "stay"):
        for k in range(2):
            write_video(folder / "others" / label / f"{k}.mp4", moving_square(rng, True))
    assert "run folder: tuned" in example("fine_tune.py", "run", "others", "tuned", "--epochs", "1")
    before, after = Recognizer.load(folder / "run"), Recognizer.load(folder / "tuned")
    assert after.labels == ("down", "stay", "up")
    assert after.spec == before.spec
    stem, moved = (next(r.model.parameters()).detach() for r in (before, after))
    assert 0 < float((stem - moved).abs().max()) < 0.01  # it moved a little from there


def test_explain_video(example, folder: Path) -> None:
    text = example("explain_video.py", "run", "videos/test go left 0.mp4", "why.gif")
    assert "map of layer" in text and "'values'" in text
    assert (folder / "why.gif").stat().st_size > 1000


def test_stream_file(example) -> None:
    text = example("stream_file.py", "run", "videos/test go left 0.mp4", "--rate", "6")
    assert sum(" go " in line for line in text.splitlines()) == 6  # a second of frames
    assert "arrived=12" in text


def test_an_exported_file_runs_without_kinema(example, folder: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    assert "largest difference" in example("export_model.py", "run", "run.onnx")
    without = "import sys; sys.modules.update(kinema=None, torch=None); import runpy; sys.argv = sys.argv[1:]; "
    without += "runpy.run_path(sys.argv[0], run_name='__main__')"
    video = "videos/test go left 0.mp4"
    done = subprocess.run(
        [sys.executable, "-c", without, EXAMPLES / "run_exported.py", "run.onnx", video],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {line.split("  ", 1)[1]: float(line.split()[0]) for line in done.stdout.splitlines()}
    expected = dict(Recognizer.load(folder / "run").predict(folder / video).top_k)
    assert found == pytest.approx(expected, abs=0.02)  # FFmpeg resizes slightly differently


def test_label_folder_names_the_unreadable_file(example, folder: Path) -> None:
    (folder / "some").mkdir()
    write_video(folder / "some" / "good.mp4", moving_square(np.random.default_rng(1), True))
    (folder / "some" / "bad.mp4").write_bytes(b"no video")
    text = example("label_folder.py", "run", "some", "labels")
    assert "2 videos, 1 failed" in text
    assert "bad.mp4" in text
    assert ": 1 videos, mean score" in text


def test_a_sampler_of_ones_own(example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "_SAMPLERS", dict(samplers._SAMPLERS))  # the class is forgotten after the test
    text = example("own_sampler.py", "videos", "sampled", "--epochs", "1")
    assert " middle go " in text.splitlines()[-1]
    places = samplers.find_sampler("middle").test(64, ClipSpec(frames=8), 2)
    assert places.shape == (2, 8) and (np.diff(places) > 0).all() and places.min() >= 0 and places.max() < 64


def test_a_block_of_ones_own(example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))  # the names are forgotten after the test
    text = example("own_block.py", "videos", "block", "--epochs", "1")
    assert "4 expected / 4 read / 0 failed" in text
    assert not create_model("diff_r18", num_classes=2, width=0.125).per_frame
    with pytest.raises(KinemaError, match="width"):
        create_model("diff_r18", width=-1.0)


def cells(notebook: str) -> list[dict]:
    """The code cells of a notebook."""
    text = (EXAMPLES / notebook).read_text(encoding="utf-8")
    return [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


def execute(notebook: str, **parameters: object) -> dict:
    """Runs the code cells in order; parameters replace those of the cell tagged `parameters`."""
    matplotlib.use("Agg")
    names: dict = {}
    for number, cell in enumerate(cells(notebook)):
        exec(compile("".join(cell["source"]), f"{notebook} cell {number}", "exec"), names)
        if "parameters" in cell["metadata"].get("tags", []):
            assert parameters.keys() <= names.keys()
            names.update(parameters)
    return names


def test_the_notebooks_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = execute("first_look.ipynb", CLIPS=1, EPOCHS=1)
    assert first["confusion"].sum() == first["metrics"].coverage.expected == 80
    second = execute("why.ipynb", CHECKED=2)
    assert len(second["values"]) == len(second["pictures"]) == 8
    assert second["report"].clips == 2


@pytest.mark.parametrize("notebook", ["first_look.ipynb", "why.ipynb"])
def test_a_notebook_holds_no_outputs(notebook: str) -> None:
    assert not [cell for cell in cells(notebook) if cell["outputs"] or cell["execution_count"]]


def test_every_example_is_tested_and_listed() -> None:
    here, listed = Path(__file__).read_text(encoding="utf-8"), (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = [path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")]
    assert not [name for name in files if name not in here or name not in listed]
