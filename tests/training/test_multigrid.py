"""Schedules of batch shapes by hand and by their promises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.errors import KinemaError
from kinema.training.multigrid import (
    BatchShape,
    Cycles,
    Multigrid,
    RateAt,
    Steps,
    all_steps,
    describe,
    long_shapes,
    phases,
    plan,
    short_shapes,
)

LONG = (BatchShape(256, 4, 158, 8), BatchShape(128, 8, 158, 4), BatchShape(64, 8, 224, 2), BatchShape(32, 16, 224, 1))


def steps(cycles: Cycles, samples: int, batch: int = 32, frames: int = 16, crop: int = 224) -> tuple[BatchShape, ...]:
    return plan(Multigrid(cycles), samples=samples, batch=batch, frames=frames, crop=crop)


def test_the_shapes_of_the_thesis() -> None:
    assert long_shapes(32, 16, 224) == LONG
    full = BatchShape(32, 16, 224)
    assert short_shapes(full) == (BatchShape(128, 16, 112), BatchShape(64, 16, 158), full)
    assert short_shapes(LONG[0]) == (BatchShape(1024, 4, 80, 8), BatchShape(512, 4, 112, 8), LONG[0])


def test_frames_round_down_and_crops_to_even_but_the_full_ones_stay() -> None:
    assert [(s.frames, s.crop) for s in long_shapes(2, 13, 35)] == [(3, 24), (6, 24), (6, 35), (13, 35)]
    assert [s.frames for s in long_shapes(2, 1, 32)] == [1, 1, 1, 1]
    assert [s.crop for s in short_shapes(BatchShape(1, 1, 1))] == [2, 2, 1]


def test_every_step_costs_about_the_same() -> None:
    for shapes in (LONG, short_shapes(LONG[3]), short_shapes(LONG[0])):
        pixels = [s.clips * s.frames * s.crop**2 for s in shapes]
        assert max(pixels) / min(pixels) < 1.05


def test_without_cycles_batches_are_all_alike_but_for_the_last() -> None:
    full = BatchShape(8, 16, 224)
    assert steps("none", 24, 8) == (full,) * 3
    assert steps("none", 27, 8) == (full, full, full, BatchShape(3, 16, 224))
    assert steps("none", 25, 8) == (full, full, BatchShape(9, 16, 224))  # one clip alone cannot be normalised
    assert steps("none", 1, 8) == (BatchShape(1, 16, 224),)
    assert steps("none", 3, 1) == (BatchShape(1, 16, 224),) * 3


def test_long_cycles_take_as_many_steps_of_each_shape_one_shape_after_the_other() -> None:
    assert steps("long", 15 * 32 * 3) == tuple(shape for shape in LONG for _ in range(3))
    # The rest is 8 + 2 full batches and 5 clips.
    rest = steps("long", 15 * 32 * 3 + 10 * 32 + 5)
    assert [rest.count(shape) for shape in LONG] == [4, 3, 4, 3]
    assert rest[-1] == BatchShape(5, 16, 224)
    assert [s.rate for s in rest] == sorted((s.rate for s in rest), reverse=True)


def test_the_full_shape_occurs_however_few_samples_there_are() -> None:
    assert steps("long", 8 * 32) == (LONG[1], LONG[2], LONG[3], LONG[3])
    assert steps("long", 2 * 32) == (LONG[3], LONG[3])
    assert steps("both", 60 * 32)[-1] == LONG[3]
    assert steps("both", 31) == (BatchShape(31, 16, 224),)


def test_short_cycles_change_the_shape_every_step() -> None:
    cycle = short_shapes(BatchShape(4, 16, 224))
    assert steps("short", 7 * 4 * 5, 4) == cycle * 5
    assert steps("short", 7 * 4 * 5 + 3 * 4 + 1, 4) == (*cycle * 5, cycle[1], BatchShape(5, 16, 224))


def test_both_run_short_cycles_within_each_long_phase() -> None:
    expected = tuple(shape for base in LONG for shape in short_shapes(base) * 2)
    assert steps("both", 105 * 32 * 2) == expected
    one_more = steps("both", 105 * 32 * 2 + 60 * 32)
    assert [one_more.count(short_shapes(base)[0]) for base in LONG] == [3, 3, 3, 3]
    assert len(one_more) == len(expected) + 4


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["none", "long", "short", "both"]), st.integers(1, 5000), st.integers(1, 40))
def test_what_every_schedule_promises(cycles: Cycles, samples: int, batch: int) -> None:
    got = steps(cycles, samples, batch)
    full = BatchShape(batch, 16, 224)
    assert sum(s.clips for s in got) == samples
    assert got == steps(cycles, samples, batch)
    assert (got[-1].frames, got[-1].rate) == (16, 1)
    assert [s.rate for s in got] == sorted((s.rate for s in got), reverse=True)
    if samples > batch + 1:
        assert any(s.clips >= batch and (s.frames, s.crop) == (16, 224) for s in got)
        assert batch == 1 or all(s.clips > 1 for s in got)
    whole = [s for s in got if s not in (full, BatchShape(batch + 1, 16, 224)) and s.clips >= batch]
    allowed = long_shapes(batch, 16, 224) if cycles in ("long", "both") else (full,)
    known = {small for s in allowed for small in (short_shapes(s) if cycles in ("short", "both") else (s,))}
    assert set(whole) <= known
    assert len(got) - len(whole) <= samples // batch + 1
    if cycles == "long" and samples >= 15 * batch:
        counts = [sum(s.rate == rate and s.clips >= batch for s in got) for rate in (8, 4, 2, 1)]
        assert max(counts) - min(counts) <= 1
        assert min(counts) == samples // (15 * batch)


def test_an_epoch_has_so_many_fewer_steps() -> None:
    many = 105 * 32 * 4
    fixed = len(steps("none", many))
    assert [fixed / len(steps(c, many)) for c in ("long", "short", "both")] == [15 / 4, 7 / 3, 35 / 4]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.data())
def test_the_steps_of_a_training_are_those_of_its_epochs(epochs: int, data: st.DataObject) -> None:
    full_epochs = data.draw(st.integers(0, epochs - 1))
    grid, shape = Multigrid("both", full_epochs=full_epochs), {"samples": 300, "batch": 2, "frames": 16, "crop": 64}
    got = all_steps(grid, epochs=epochs, **shape)
    usual, last = plan(grid, **shape), plan(Multigrid(), **shape)
    assert [got.of(e) for e in range(epochs)] == [usual] * (epochs - full_epochs) + [last] * full_epochs
    one_by_one = [(e, i) for e in range(epochs) for i in range(len(got.of(e)))]
    assert [got.at(step) for step in range(len(one_by_one))] == one_by_one
    assert [got.before(e) for e in range(epochs + 1)] == [
        sum(len(got.of(i)) for i in range(e)) for e in range(epochs + 1)
    ]
    assert got.at(len(one_by_one)) == (epochs, 0)  # which a schedule of rates asks for at the end
    assert got.of(epochs) == last


@pytest.mark.parametrize("cycles", ["long", "both"])
@pytest.mark.parametrize(("rate_at", "rates"), [("full", [8, 4, 2, 1]), ("first", [1, 1 / 2, 1 / 4, 1 / 8])])
def test_the_rate_belongs_to_the_phase_that_is_named(cycles: Cycles, rate_at: RateAt, rates: list[float]) -> None:
    grid = Multigrid(cycles, full_epochs=1, rate_at=rate_at)
    got = all_steps(grid, epochs=3, samples=105 * 32 + 7, batch=32, frames=16, crop=224)
    sizes = [(4, 158), (8, 158), (8, 224), (16, 224)]
    for step in got.usual:
        side = step.crop if cycles == "long" else max(s.crop for s in got.usual if s.rate == step.rate)
        assert step.rate == rates[sizes.index((step.frames, side))]
    assert list(dict.fromkeys(step.rate for step in got.usual)) == rates
    assert {step.rate for step in got.last} == {rates[-1]}  # the full shape goes on at its own rate
    other = plan(Multigrid(cycles), samples=105 * 32 + 7, batch=32, frames=16, crop=224)
    assert [(s.clips, s.frames, s.crop) for s in got.usual] == [(s.clips, s.frames, s.crop) for s in other]


@pytest.mark.parametrize("cycles", ["none", "short"])
def test_without_a_long_cycle_there_is_one_rate(cycles: Cycles) -> None:
    shape = {"epochs": 3, "samples": 200, "batch": 4, "frames": 8, "crop": 64}
    assert all_steps(Multigrid(cycles, rate_at="first"), **shape) == all_steps(Multigrid(cycles), **shape)


def test_an_unknown_place_of_the_rate_is_one_sentence() -> None:
    with pytest.raises(KinemaError, match=r"multigrid\.rate_at 'frist': did you mean 'first'"):
        Multigrid("long", rate_at="frist")  # type: ignore[arg-type]


def test_phases_and_description() -> None:
    got = steps("both", 105 * 32)
    assert phases(got) == [
        ("4 frames of 80/112/158 pixels, rate x8", 0, 2),
        ("8 frames of 80/112/158 pixels, rate x4", 3, 5),
        ("8 frames of 112/158/224 pixels, rate x2", 6, 8),
        ("16 frames of 112/158/224 pixels, rate x1", 9, 11),
    ]
    lines = describe(Steps(steps("long", 15 * 32 + 1), steps("none", 64), 9, 2))
    assert lines[0] == "1 x 256 clips of 4 frames of 158x158 pixels, rate x8: 256 clips, 53.2% of all"
    assert lines[3] == "1 x 33 clips of 16 frames of 224x224 pixels, rate x1: 33 clips, 6.9% of all"
    assert lines[4].startswith("4 steps, 481 clips, 26.")
    assert lines[5:] == [
        "the last 2 epochs:",
        "2 x 32 clips of 16 frames of 224x224 pixels, rate x1: 64 clips, 100.0% of all",
        "2 steps, 64 clips, 100.0% of the pixels of full clips",
    ]
    assert describe(Steps(got, got, 9))[-1].startswith("12 steps, 3360 clips")


def test_bad_values_are_one_sentence() -> None:
    with pytest.raises(KinemaError, match="did you mean 'long'"):
        Multigrid("lang")  # type: ignore[arg-type]
    with pytest.raises(KinemaError, match=r"multigrid\.full_epochs is -1: give 0 or more"):
        Multigrid("long", full_epochs=-1)
    with pytest.raises(KinemaError, match=r"multigrid\.full_epochs is 2, but every epoch has the full shape"):
        Multigrid(full_epochs=2)
    with pytest.raises(KinemaError, match="samples is 0"):
        steps("long", 0)
    with pytest.raises(KinemaError, match="batch is 0"):
        steps("long", 9, 0)
