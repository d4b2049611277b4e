"""`Recognizer.optimize` on a real network, with PyTorch's own backends."""

import pytest
import torch

from kinema import ClipSpec, create_model
from kinema.backends import base
from kinema.backends.agreement import agreement
from kinema.backends.clips import generated_clips
from kinema.errors import KinemaError
from kinema.recognizer import Recognizer


@pytest.fixture(autouse=True)
def few(tmp_path, monkeypatch):
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    few = {name: base.BACKENDS[name] for name in ("folded", "bfloat16", "graphs")}
    monkeypatch.setattr("kinema.backends.choose.BACKENDS", few)
    monkeypatch.setattr("kinema.backends.choose._GAIN", 0.0)  # the fastest other one, however busy the machine is


@pytest.fixture
def recognizer() -> Recognizer:
    torch.manual_seed(0)
    spec = ClipSpec(frames=4, stride=1, short_side=32, crop=32)
    return Recognizer(create_model("r3d_34", num_classes=3, frames=4, width=0.125).eval(), ("a", "b", "c"), spec)


def test_scores_are_the_networks_at_every_batch_and_the_network_stays(recognizer) -> None:
    clips = generated_clips(recognizer.spec, 5)
    weights = {key: value.clone() for key, value in recognizer.model.state_dict().items()}
    expected = recognizer.scores(clips, batch=2)
    assert recognizer.optimize(batch=2) is recognizer
    assert recognizer.report.chosen in ("folded", "bfloat16")
    for batch in (1, 2, 5):
        torch.testing.assert_close(recognizer.scores(clips, batch=batch), expected, rtol=0, atol=0.02)
    assert all(torch.equal(value, weights[key]) for key, value in recognizer.model.state_dict().items())


def test_clips_of_another_size_go_to_the_network(recognizer) -> None:
    recognizer.optimize()
    clips = generated_clips(recognizer.spec, 2)[:, :, :24, :24]
    plain = Recognizer(recognizer.model, recognizer.labels, recognizer.spec)
    assert torch.equal(recognizer.scores(clips), plain.scores(clips))


def test_graphs_are_named_as_absent_on_a_cpu(recognizer) -> None:
    report = recognizer.optimize().report
    assert next(trial for trial in report.trials if trial.name == "graphs").verdict == "absent"


@pytest.mark.parametrize(("options", "word"), [({"budget": -1}, "budget"), ({"batch": 0}, "batch")])
def test_bad_arguments(recognizer, options, word) -> None:
    with pytest.raises(KinemaError, match=word):
        recognizer.optimize(**options)


def test_generated_clips_move_and_differ_and_repeat() -> None:
    spec = ClipSpec(frames=4, stride=1, short_side=32, crop=32)
    clips = generated_clips(spec, 3)
    assert clips.shape == (3, 4, 32, 32, 3) and clips.dtype == torch.uint8
    assert torch.equal(clips, generated_clips(spec, 3))
    assert (clips[0].float() - clips[1].float()).abs().mean() > 5
    assert (clips[:, 0].float() - clips[:, -1].float()).abs().mean() > 5


def test_agreement_of_equal_logits_is_perfect() -> None:
    logits = torch.randn(3, 7)
    found = agreement(logits, logits.clone())
    assert (found.changed, found.error, found.scale) == (0, 0.0, 1.0)
    assert found.objection("float32") is None


@pytest.mark.parametrize("shift", [1e-6, 0.5])
def test_constant_logits_have_a_scale(shift: float) -> None:
    logits = torch.ones(2, 3)
    assert (agreement(logits, logits + shift).objection("float32") is None) == (shift < 1e-3)
