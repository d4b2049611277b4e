"""The learning rate by hand, and configurations that are refused."""

from __future__ import annotations

import math

import pytest

from kinema.errors import KinemaError
from kinema.training.config import Optim, TrainConfig, differences
from kinema.training.loading import EpochOrder
from kinema.training.schedule import factor


def test_step_falls_at_its_milestones() -> None:
    optim = Optim(schedule="step", milestones=(30, 40, 60), gamma=0.1)
    assert [factor(optim, e, 70) for e in (0, 29.99, 30, 45, 69)] == pytest.approx([1, 1, 0.1, 0.01, 0.001])


def test_cosine_and_warm_up() -> None:
    optim = Optim(schedule="cosine", warmup=2)
    assert factor(optim, 0, 10) == pytest.approx(0.01)
    assert factor(optim, 1, 10) == pytest.approx(0.5 * (1 + math.cos(math.pi / 10)) * 0.505)
    assert factor(optim, 5, 10) == pytest.approx(0.5)
    assert factor(optim, 10, 10) == pytest.approx(0, abs=1e-12)
    assert factor(Optim(schedule="constant"), 7, 10) == 1


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    order = EpochOrder(20, seed=3)
    first = list(order)
    assert sorted(i for _, i in first) == list(range(20))
    assert list(order) == first
    order.set_epoch(1)
    assert [i for _, i in order] != [i for _, i in first]
    assert {epoch for epoch, _ in order} == {1}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Optim(lr=0), r"optim\.lr"),
        (lambda: Optim(schedule="cosin"), "did you mean 'cosine'"),  # type: ignore[arg-type]
        (lambda: Optim(nesterov=True, momentum=0), "momentum"),
        (lambda: TrainConfig("stm_r18", "d", epochs=0), "epochs"),
        (lambda: TrainConfig("stm_r18", "d", options={"frames": 4}), r"clip\.frames"),
        (lambda: TrainConfig("stm_r18", "d", precision="f16"), "precision"),  # type: ignore[arg-type]
    ],
)
def test_bad_configurations_are_one_sentence(make: object, sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        make()  # type: ignore[operator]


def test_differences_are_named_with_dots_and_free_fields_do_not_count() -> None:
    a, b = TrainConfig("m", "d"), TrainConfig("m", "d", out="x", workers=3, optim=Optim(lr=1.0), batch=2)
    assert differences(a.to_dict(), b.to_dict()) == ["batch", "optim.lr"]
