"""The learning rate by hand, and configurations that are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kinema.errors import KinemaError
from kinema.processes import Rank
from kinema.training.config import Optim, TrainConfig, completed, differences
from kinema.training.loading import Batches
from kinema.training.multigrid import Multigrid, all_steps
from kinema.training.schedule import factor, unreached

ALONE = Rank()


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


def test_what_a_short_training_never_reaches_is_said() -> None:
    assert unreached(Optim(warmup=2), 3) == []
    assert unreached(Optim(milestones=(30, 40)), 3) == []  # which cosine does not look at
    assert "optim.warmup is 2 of 2 epochs" in unreached(Optim(warmup=2), 2)[0]
    late = unreached(Optim(schedule="step", milestones=(2, 3, 40)), 3)
    assert len(late) == 1 and late[0].startswith("optim.milestones [3, 40] are at or after the end of 3 epochs")


def batches(n: int = 20, place: Rank = ALONE, **changes: Any) -> Batches:
    config = TrainConfig("stm_r18", "data", batch=6, seed=3, **changes)
    steps = all_steps(config.multigrid, epochs=config.epochs, samples=n, batch=6, frames=8, crop=224)
    return Batches(steps, [i % 4 == 0 for i in range(n)], config, place)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    order = batches()
    first = list(order)
    assert [len(keys) for keys in first] == [6, 6, 6, 2]
    assert sorted(key.sample for keys in first for key in keys) == list(range(20))
    assert list(order) == first
    order.set_epoch(1)
    assert [key.sample for keys in order for key in keys] != [key.sample for keys in first for key in keys]
    assert {key.epoch for keys in order for key in keys} == {1}


def test_an_epoch_can_be_taken_up_at_any_step() -> None:
    whole = batches()
    order = batches()
    order.go_on(0, 2)
    assert list(order) == list(whole)[2:]
    for each in (order, whole):
        each.set_epoch(1)
    assert list(order) == list(whole)


def test_the_last_epochs_have_more_batches_of_smaller_size() -> None:
    order = batches(90, multigrid=Multigrid("long", full_epochs=1), epochs=3)
    seen = []
    for epoch in range(3):
        order.set_epoch(epoch)
        epochs_batches = list(order)
        assert sorted(key.sample for keys in epochs_batches for key in keys) == list(range(90))
        seen.append([(len(keys), keys[0].frames) for keys in epochs_batches])
    assert seen == [[(48, 2), (24, 4), (12, 4), (6, 8)]] * 2 + [[(6, 8)] * 15]
    order.go_on(2, 13)
    assert [len(keys) for keys in order] == [6, 6]


def test_processes_share_every_batch() -> None:
    whole = list(batches())
    parts = [list(batches(place=Rank(rank, 3))) for rank in range(3)]
    for step, keys in enumerate(whole):
        assert sorted(key for part in parts for key in part[step]) == sorted(keys)
        assert max(len(part[step]) for part in parts) - min(len(part[step]) for part in parts) <= 1


def test_balanced_classes_come_equally_often_and_repeats_are_other_draws() -> None:
    keys = [key for batch in batches(balance="classes") for key in batch]
    assert len(keys) == 20
    assert sum(key.sample % 4 == 0 for key in keys) == 10
    assert len(set(keys)) == 20  # five clips of the rare class, each twice, as two draws
    assert {key.draw for key in keys} == {0, 1}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Optim(lr=0), r"optim\.lr"),
        (lambda: Optim(schedule="cosin"), "did you mean 'cosine'"),  # type: ignore[arg-type]
        (lambda: Optim(nesterov=True, momentum=0), "momentum"),
        (lambda: Optim(lr_mult={"stem": -1}), r"optim\.lr_mult\.stem is -1"),
        (lambda: Optim(lr_mult={"stem": "0.1"}), r"optim\.lr_mult\.stem is '0\.1'"),  # type: ignore[dict-item]
        (lambda: Optim(lr_mult={"stem": True}), r"optim\.lr_mult\.stem is True"),
        (lambda: Optim(lr_mult={4: 0.1}), r"optim\.lr_mult has the key 4"),  # type: ignore[dict-item]
        (lambda: Optim(lr_mult=0.1), r"optim\.lr_mult is 0\.1: give a factor per part"),  # type: ignore[arg-type]
        (lambda: TrainConfig("stm_r18", "d", epochs=0), "epochs"),
        (
            lambda: TrainConfig("stm_r18", "d", trainable="classifier", optim=Optim(lr_mult={"features": 0.1})),
            r"optim\.lr_mult\.features is 0\.1, which has no effect if trainable is classifier: remove one",
        ),
        (
            lambda: TrainConfig("stm_r18", "d", epochs=3, multigrid=Multigrid("long", full_epochs=3)),
            r"multigrid\.full_epochs is 3, which leaves no epoch .* epochs is 3",
        ),
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


def test_a_configuration_of_an_earlier_version_is_completed() -> None:
    config = TrainConfig("stm_r18", "data", optim=Optim(lr=0.5), options={"width": 0.5})
    old = config.to_dict()
    del old["multigrid"], old["optim"]["lr_mult"], old["ema"]
    assert completed(old) == config.to_dict()
    assert differences(completed(old), TrainConfig("stm_r18", "data", ema=0.9).to_dict()) == [
        "ema",
        "optim.lr",
        "options.width",
    ]
