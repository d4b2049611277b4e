"""`--optimize`, with backends that cost no time to build."""

import json

import pytest
from tiny import tiny_data

from kinema import ClipSpec, create_model
from kinema.backends import base
from kinema.cli import main
from kinema.recognizer import Recognizer


@pytest.fixture(autouse=True)
def few(tmp_path, monkeypatch):
    """Only two backends, and a cache of the test's own."""
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    few = {name: base.BACKENDS[name] for name in ("folded", "bfloat16")}
    monkeypatch.setattr("kinema.backends.choose.BACKENDS", few)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_data(tmp_path_factory.mktemp("data"), train=1, test=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    spec = ClipSpec(frames=4, stride=1, short_side=32, crop=32)
    model = create_model("tsm_r18", num_classes=2, frames=4, width=0.125)
    return Recognizer(model.eval(), ("go left", "go right"), spec).save(tmp_path_factory.mktemp("run") / "recognizer")


def run(capsys, *words) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_predict_prints_what_was_tried_on_stderr_and_the_predictions_as_before(folder, data, capsys) -> None:
    video = data.parent / "test go left 0.mp4"
    status, plain, _ = run(capsys, "predict", folder, video, "--json", "--workers", 0)
    assert status == 0
    status, out, err = run(capsys, "predict", folder, video, "--json", "--workers", 0, "--optimize")
    assert status == 0
    report = json.loads(err.strip().splitlines()[-1])["optimize"]
    assert {trial["name"] for trial in report["trials"]} == {"eager", "folded", "bfloat16"}
    assert report["clips"].startswith("1 clip of the videos")
    assert json.loads(out)["label"] == json.loads(plain)["label"]
    assert json.loads(out)["score"] == pytest.approx(json.loads(plain)["score"], abs=0.01)
    _, _, err = run(capsys, "predict", folder, video, "--workers", 0, "--optimize")
    assert "as stored" in err and "verdict" not in err


def test_the_table_names_every_backend(folder, data, capsys) -> None:
    video = data.parent / "test go left 0.mp4"
    _, out, err = run(capsys, "predict", folder, video, "--workers", 0, "--optimize")
    for word in ("backend", "verdict", "eager", "folded", "bfloat16", "optimize:"):
        assert word in err and word not in out


def test_a_test_states_what_computed_it(folder, data, tmp_path, capsys) -> None:
    status, _, _ = run(
        capsys, "test", folder, "--data", data, "--out", tmp_path / "out", "--workers", 0, "--optimize", "--json"
    )
    assert status == 0
    kept = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert kept["optimized"]["chosen"] in ("eager", "folded", "bfloat16")


def test_an_unreadable_video_is_named_and_costs_nothing_else(folder, data, tmp_path, capsys) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    good = data.parent / "test go left 0.mp4"
    status, _, err = run(capsys, "predict", folder, broken, good, "--workers", 0, "--optimize")
    assert status == 1 and "broken.mp4" in err and "note:" in err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--int8"], "--optimize"),
        (["--optimize-budget", "5"], "--optimize"),
        (["--optimize", "--optimize-budget", "0"], "--optimize-budget"),
        (["--optimize", "--optimize-budget", "-3"], "--optimize-budget"),
        (["--optimize", "--optimize-budget", "nan"], "--optimize-budget"),
        (["--optimize", "--optimize-budget", "soon"], "--optimize-budget"),
    ],
)
def test_bad_options(folder, data, words, named, capsys) -> None:
    status, _, err = run(capsys, "predict", folder, data.parent / "test go left 0.mp4", *words)
    assert status == 2 and named in err and "Traceback" not in err


def test_streams_frame_by_frame_are_not_optimized(tmp_path, data, capsys) -> None:
    spec = ClipSpec(frames=4, stride=1, short_side=32, crop=32)
    model = create_model("tsm_r18", num_classes=2, frames=4, width=0.125, causal=True)
    folder = Recognizer(model.eval(), ("go left", "go right"), spec).save(tmp_path / "recognizer")
    video = data.parent / "test go left 0.mp4"
    status, _, err = run(capsys, "stream", folder, video, "--rate", 12, "--optimize")
    assert status == 2 and "--optimize" in err and "window" in err
    status, out, err = run(capsys, "stream", folder, video, "--rate", 12, "--optimize", "--mode", "window", "--json")
    assert status == 0 and '"optimize"' in err and len(out.splitlines()) > 2
