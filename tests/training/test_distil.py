"""Distillation: the loss against its formula and its gradient, and trainings that learn from another network."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import tiny_data
from torch import Tensor

from kinema.cli import main
from kinema.clip_spec import ClipSpec
from kinema.data.transforms import to_input
from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.recognizer import Recognizer
from kinema.training.config import TrainConfig
from kinema.training.distil import Distil, Teacher, distillation_loss, renormalised
from kinema.training.module import Training
from kinema.training.run import train

SPEC = ClipSpec(frames=4, short_side=40, crop=32)
LABELS = ("go left", "go right")


def logits(seed: int) -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_loss(student: Tensor, teacher: Tensor, temperature: float) -> float:
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p, q = ([math.exp(v / temperature) for v in row] for row in (t, s))
        p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_loss_is_its_formula_and_its_gradient_is_that_of_the_scores(temperature: float) -> None:
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()
    loss = distillation_loss(student, teacher, temperature)
    assert loss.item() == pytest.approx(slow_loss(student, teacher, temperature), rel=1e-10)
    loss.backward()
    # d/ds T^2 KL = T (softmax(s / T) - softmax(t / T)), over the batch
    expected = temperature * ((student / temperature).softmax(1) - (teacher / temperature).softmax(1)) / 5
    assert torch.allclose(student.grad, expected)
    assert teacher.grad is None
    assert torch.autograd.gradcheck(lambda s: distillation_loss(s, teacher, temperature), (logits(2).requires_grad_(),))


def test_equal_scores_cost_nothing_whatever_is_added_to_the_logits() -> None:
    assert distillation_loss(logits(0), logits(0) + 7, 3.0).item() == pytest.approx(0, abs=1e-12)
    half = logits(0).half()
    assert distillation_loss(half, half, 1.0).dtype == torch.float32


def test_clips_are_normalised_again_as_the_teacher_wants_them() -> None:
    pixels = torch.randint(0, 256, (2, 4, 8, 8, 3), dtype=torch.uint8)
    other = SPEC.replace(mean=(0.3, 0.4, 0.5), std=(0.2, 0.3, 0.4), colour="bgr")
    assert torch.allclose(renormalised(to_input(pixels, SPEC), SPEC, other), to_input(pixels, other), atol=1e-5)
    assert torch.allclose(renormalised(to_input(pixels, other), other, SPEC), to_input(pixels, SPEC), atol=1e-5)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    model = create_model("stm_r18", num_classes=2, width=0.0625, frames=4)
    torch.nn.init.normal_(model.classifier.weight)
    return Recognizer(model, LABELS[::-1], SPEC).save(tmp_path / "teacher")  # in another order


def step(config: TrainConfig, teacher: Teacher | None) -> tuple[Tensor, Training]:
    torch.manual_seed(0)
    model = create_model("tsm_r18", num_classes=2, width=0.0625, frames=4, dropout=0.0, causal=True)
    module = Training(model, SPEC, config, None, teacher=teacher)  # type: ignore[arg-type]
    clips = torch.randint(0, 256, (3, 4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    batch = {"clip": clips, "label": torch.tensor([0, 1, 1]), "path": ["a", "b", "c"]}
    inputs, targets = module._inputs(batch, 0)
    return module._loss(inputs, targets, batch["label"], 3)[0], module


def test_the_step_mixes_both_losses_and_the_teacher_stays_as_it_is(teacher: Path) -> None:
    config = TrainConfig("tsm_r18", "data", distil=Distil(str(teacher), 0.3, 2.0), logger="none")
    there = Teacher(config.distil, LABELS, SPEC)
    before = {k: v.clone() for k, v in there._model.state_dict().items()}
    seen: list[Tensor] = []
    there._model.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "current_epoch", 0)
        patch.setattr(Training, "global_rank", 0)
        plain, _ = step(replace(config, distil=Distil()), None)
        taught, module = step(config, there)
        (x,) = seen
        student = module.model(x)
        own = Recognizer.load(teacher)
        wanted = own.model(x)[:, [1, 0]]  # the order of the student's labels
    expected = 0.7 * plain + 0.3 * distillation_loss(student, wanted, 2.0)
    assert taught.item() == pytest.approx(expected.item(), rel=1e-4)
    taught.backward()
    assert all(torch.equal(v, before[k]) for k, v in there._model.state_dict().items())
    assert all(p.grad is None for p in there._model.parameters())
    assert not any("teacher" in key for key in module.state_dict())
    assert module.model.classifier.weight.grad.abs().sum() > 0


def test_a_training_with_a_teacher_runs_and_says_whose_labels_differ(teacher: Path, tmp_path: Path) -> None:
    data = tiny_data(tmp_path / "data", train=3, test=1)
    clip = {"frames": 4, "short_side": 40, "crop": 32, "sampler": "segments"}
    config = TrainConfig(
        "stm_r18", str(data), out=str(tmp_path / "run"), options={"width": 0.0625, "causal": True}, clip=clip, epochs=1,
        batch=3, logger="none", workers=0, distil=Distil(str(teacher)),
    )  # fmt: skip
    run = train(config, say=lambda line: None)
    assert Recognizer.load(run).labels == LABELS
    with pytest.raises(KinemaError, match=r"distil\.teacher.*frames"):
        train(replace(config, out=str(tmp_path / "b"), clip={**clip, "frames": 8}), say=lambda line: None)
    other = Recognizer.load(teacher)
    other.labels = ("go left", "stay")
    odd = other.save(tmp_path / "odd")
    with pytest.raises(KinemaError, match=r"distil\.teacher.*labels"):
        train(replace(config, out=str(tmp_path / "c"), distil=Distil(str(odd))), say=lambda line: None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--distil.teacher", "nowhere"], "nowhere"),
        (["--distil.teacher", ""], "distil.teacher"),
        (["--distil.teacher", "x", "--distil.weight", "1.5"], "distil.weight"),
        (["--distil.teacher", "x", "--distil.weight", "0"], "distil.weight"),
        (["--distil.teacher", "x", "--distil.temperature", "0"], "distil.temperature"),
        (["--distil.weight", "0.9"], "distil.teacher"),
        (["--distil.techer", "x"], "distil.teacher"),
    ],
)
def test_bad_options_are_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny_data(tmp_path / "data", train=1, test=1)
    given = [
        "train",
        "--model",
        "stm_r18",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "r"),
        "--options.width",
        "0.0625",
    ]
    assert main([*given, *words]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err
    assert "Traceback" not in err
