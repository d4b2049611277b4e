"""What must hold for any video, any history of a table of labels, and any place at which a training is taken up."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from data.plain_videos import FRAMES, RATE, write_video
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelling.test_ledger import Killed, mortal

from kinema.clip_spec import ClipSpec
from kinema.data.samplers import sampler_names
from kinema.data.video import open_video
from kinema.data.views import views_of
from kinema.errors import UnreadableVideo
from kinema.labelling import read_labels
from kinema.labelling.inputs import Entry, numbered
from kinema.labelling.ledger import Ledger
from kinema.labelling.planning import plan
from kinema.labelling.rows import Row
from kinema.processes import Rank
from kinema.training.config import TrainConfig
from kinema.training.loading import Batches
from kinema.training.multigrid import Multigrid, all_steps

SETTINGS = {"card_hash": "c", "views": "1x1", "features": False}
NAMES = ("a.mp4", "b.mp4", "c d.mp4", "e.mp4")
quick = partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", size=(48, 32))


@quick(max_examples=40)
@given(
    sampler=st.sampled_from(sampler_names()),
    frames=st.integers(1, 12),
    stride=st.integers(1, 6),
    clips=st.integers(1, 4),
    crops=st.sampled_from([1, 3]),
    pad=st.sampled_from(["loop", "last", "error"]),
    part=st.none() | st.tuples(st.floats(0, 2), st.floats(0.01, 2)),
)
def test_every_view_is_cut_from_frames_of_its_part(
    film: Path, sampler: str, frames: int, stride: int, clips: int, crops: int, pad: str,
    part: tuple[float, float] | None,
) -> None:  # fmt: skip
    spec = ClipSpec(frames=frames, stride=stride, sampler=sampler, pad=pad, short_side=32, crop=24)  # type: ignore[arg-type]
    start, end = (None, None) if part is None else (part[0], part[0] + part[1])
    with open_video(film) as video:
        try:
            views = views_of(video, spec, clips, crops, start=start, end=end)
        except UnreadableVideo as error:
            past = start is not None and start >= video.duration
            assert past or pad == "error", error
            return
        again = views_of(video, spec, clips, crops, start=start, end=end)
        assert torch.equal(views.pixels, again.pixels)
        assert views.keys == again.keys
        shown = {index for indices, _ in views.keys for index in indices}
        low, high = start or 0.0, min(end or np.inf, video.duration)
        assert min(shown) >= 0
        assert max(shown) < FRAMES
        for index in shown:  # half of a frame lies within the part, or it is the only one
            middle = video.times[index] + 0.5 / RATE
            assert low - 1e-9 <= middle <= high + 1e-9 or len(shown) == 1
        # The same frames by a sole read, cut by hand.
        whole = video.read(sorted(shown)).numpy()
        place = {index: i for i, index in enumerate(sorted(shown))}
        for pixels, (indices, box) in zip(views.pixels.numpy(), views.keys, strict=True):
            if (box.height, box.width) == (24, 24):
                inside = np.s_[box.top : box.top + 24, box.left : box.left + 24]
                assert np.array_equal(pixels, np.stack([whole[place[i]][inside] for i in indices]))


actions = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 3)),
        st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("run"), st.sampled_from(["", "before", "half", "after"]), st.integers(1, 9)),
        st.tuples(st.just("damage"), st.sampled_from(["cut", "gone"]), st.integers(0, 5)),
    ),
    min_size=1,
    max_size=14,
)


def label_made(entries: list[Entry], table: Path) -> None:
    """What `label` does, with the hash of a file in place of a network's answer."""
    ledger = Ledger(table, SETTINGS, features=False, part_rows=3)
    planned = plan(entries, ledger, retry=None, workers=0, limits=None, windows=False)
    ledger.drop(planned.stale, planned.columns)
    for entry in planned.todo:
        file = Path(entry.place)
        if file.exists():
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            row = Row(
                entry.path, None, None, entry.repeat, digest, "c", digest[:4], 0.5, ("x",), (0.5,), 0.0, 1.0, 4, 4
            )
        else:
            row = Row(entry.path, None, None, entry.repeat, None, "c", stage="find", error="there is no such file")
        ledger.add(row)
    ledger.finish({})


@quick(max_examples=25)
@given(history=actions)
def test_whatever_happened_a_table_holds_one_true_row_for_every_input(
    history: list[tuple[str, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("history")
    table = folder / "table"
    inputs = [*NAMES, NAMES[0]]  # one is listed twice
    entries = numbered(Entry(str(folder / name)) for name in inputs)
    for kind, what, number in history:
        if kind == "write":
            (folder / what).write_bytes(bytes([number]) * 10)
        elif kind == "remove":
            (folder / what).unlink(missing_ok=True)
        elif kind == "damage":
            parts = sorted(table.glob("part-*.parquet"))
            if parts:
                part = parts[number % len(parts)]
                part.unlink() if what == "gone" else part.write_bytes(part.read_bytes()[:-7])
        else:
            with pytest.MonkeyPatch.context() as patch:
                if what:
                    mortal(patch, number, what)
                with suppress(Killed):
                    label_made(entries, table)
    label_made(entries, table)
    rows = read_labels(table).to_pylist()
    assert [(row["path"], row["repeat"]) for row in rows] == sorted(entry.key[::3] for entry in entries)
    for row in rows:
        file = Path(row["path"])
        expected = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None
        assert row["content_hash"] == expected
        assert row["label"] == (None if expected is None else expected[:4])
        assert (row["error"] is None) == (expected is not None)


@quick(max_examples=60)
@given(
    samples=st.integers(1, 60), batch=st.integers(1, 9), epochs=st.integers(1, 4), seed=st.integers(0, 9),
    world=st.integers(1, 3), balance=st.sampled_from(["none", "classes"]),
    cycles=st.sampled_from(["none", "long", "short", "both"]), data=st.data(),
)  # fmt: skip
def test_a_training_goes_on_from_any_step_with_the_batches_it_would_have_had(
    samples: int, batch: int, epochs: int, seed: int, world: int, balance: str, cycles: str, data: st.DataObject
) -> None:
    config = TrainConfig(model="tsm_r18", data="d", seed=seed, balance=balance)  # type: ignore[arg-type]
    steps = all_steps(Multigrid(cycles), epochs=epochs, samples=samples, batch=batch, frames=8, crop=64)  # type: ignore[arg-type]
    targets = [i % 3 for i in range(samples)]

    def batches(rank: int, begun: tuple[int, int] | None = None) -> list[tuple[int, list[object]]]:
        sampler = Batches(steps, targets, config, Rank(rank, world))
        if begun is not None:
            sampler.go_on(*begun)
        found = []
        for epoch in range(begun[0] if begun else 0, epochs):
            sampler.set_epoch(epoch)
            found += [(epoch, list(keys)) for keys in sampler]
        return found

    whole = [batches(rank) for rank in range(world)]
    per_epoch = [len(steps.of(epoch)) for epoch in range(epochs)]
    epoch = data.draw(st.integers(0, epochs - 1))
    step = data.draw(st.integers(0, per_epoch[epoch] - 1))
    done = sum(per_epoch[:epoch]) + step
    for rank in range(world):
        assert batches(rank, (epoch, step)) == whole[rank][done:]
    for number in range(epochs):  # of several processes together every clip once, however many they are
        keys = [key for own in whole for e, part in own if e == number for key in part]
        assert len(keys) == len(set(keys)) == samples
        if balance == "none":
            assert sorted(key.sample for key in keys) == list(range(samples))
