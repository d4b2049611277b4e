"""Scores in bfloat16: near those of float32, stated in the result, and refused where they make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kinema.cli import main
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError
from kinema.evaluation import run_test
from kinema.models import create_model
from kinema.recognizer import Recognizer


@pytest.fixture
def recognizer() -> Recognizer:
    """Of the labels of the tiny data, with random weights."""
    torch.manual_seed(0)
    model = create_model("tsn_r18", num_classes=2, frames=2, width=0.125).eval()
    return Recognizer(model, ("go left", "go right"), ClipSpec(frames=2, short_side=36, crop=32))


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> None:
    """This processor counts as one that computes in bfloat16; it gives the same numbers without units, if slowly."""
    monkeypatch.setattr("kinema.backends.pytorch.no_bfloat16_units", lambda: None)


def test_the_network_computes_in_bfloat16_and_the_scores_are_float32(recognizer: Recognizer, units: None) -> None:
    clips = torch.randint(0, 256, (3, 2, 32, 32, 3), dtype=torch.uint8)
    seen: list[torch.dtype] = []
    recognizer.model.classifier.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    exact = recognizer.scores(clips)
    narrow = recognizer.in_precision("bf16").scores(clips)
    assert seen == [torch.float32, torch.bfloat16]
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, exact, atol=0.02, rtol=0)
    assert not torch.equal(narrow, exact)
    assert torch.equal(recognizer.in_precision("32").scores(clips), exact)


def test_a_test_and_a_prediction_take_it(
    recognizer: Recognizer, units: None, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(recognizer.save(tmp_path / "recognizer"))
    tested = run_test(folder, tiny, workers=0, precision="bf16", out=tmp_path / "test")
    assert tested.to_dict()["protocol"]["precision"] == "bf16"
    video = str(tiny.parent / "test go left 0.mp4")
    scores = []
    for precision in ("32", "bf16"):
        assert main(["predict", folder, video, "--json", "--workers", "0", "--precision", precision]) == 0
        scores.append(json.loads(capsys.readouterr().out)["score"])
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    assert scores[0] != scores[1]
    assert main(["predict", folder, video, "--precision", "bf16", "--optimize"]) == 2
    assert "--optimize" in capsys.readouterr().err
    assert main(["predict", folder, video, "--precision", "fp16"]) == 2
    assert "--precision" in capsys.readouterr().err


def test_a_processor_without_units_refuses(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinema.backends.pytorch.no_bfloat16_units", lambda: "this CPU has none")
    with pytest.raises(KinemaError, match="precision is bf16, but this CPU has none: use 32"):
        recognizer.in_precision("bf16")
    with pytest.raises(KinemaError, match="precision 'half'"):
        recognizer.in_precision("half")
    assert recognizer.precision == "32"
