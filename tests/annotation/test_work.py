"""What to label next, how far two people agree, and a training from segments."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import moving_square, write_video

from kinema import ClipSpec, create_model
from kinema.annotation import SegmentTable, TrainingJob, cohen_kappa, compare_tables, confusion, queue
from kinema.data.sources import Sample
from kinema.errors import KinemaError
from kinema.recognizer import Recognizer


def tiny_recognizer() -> Recognizer:
    import torch

    torch.manual_seed(0)
    model = create_model("tsn_r18", num_classes=2, frames=2, width=0.125)
    return Recognizer(model.eval(), ("go left", "go right"), ClipSpec(frames=2, short_side=32, crop=32))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for i in range(4):
        write_video(folder / f"{i}.mp4", moving_square(np.random.default_rng(i), i % 2 == 0, frames=24))
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def test_the_queue_is_sorted_and_stored(films: Path, tmp_path: Path) -> None:
    recognizer = tiny_recognizer()
    videos = sorted(films.glob("*.mp4"))
    steps: list[tuple[int, int]] = []
    found = queue(recognizer, videos, cache=tmp_path, workers=0, progress=lambda *step: steps.append(step))
    assert steps == [(i, 5) for i in range(1, 6)]
    assert Path(found[-1].path).name == "broken.mp4"
    assert found[-1].margin is None
    assert found[-1].error
    margins = [entry.margin for entry in found[:-1]]
    assert margins == sorted(margins)  # type: ignore[type-var]
    for entry in found[:-1]:
        prediction = recognizer.predict(entry.path)
        assert entry.margin == pytest.approx(prediction.top_k[0][1] - prediction.top_k[1][1], abs=1e-5)
        assert entry.label == prediction.label
    # Another start computes nothing; a video that has changed is looked at again; other weights do not share scores.
    steps.clear()
    assert queue(recognizer, videos, cache=tmp_path, workers=0, progress=lambda *step: steps.append(step)) == found
    assert steps == []
    write_video(films / "0.mp4", moving_square(np.random.default_rng(9), False, frames=20))
    queue(recognizer, videos, cache=tmp_path, workers=0, progress=lambda *step: steps.append(step))
    assert steps == [(5, 5)]
    (store,) = tmp_path.glob("*.json")
    store.write_text("{damaged", encoding="utf-8")
    assert len(queue(recognizer, videos, cache=tmp_path, workers=0)) == 5
    recognizer.labels = ("a", "b")
    assert queue(recognizer, videos[:1], cache=tmp_path, workers=0)[0].label in ("a", "b")


def test_the_queue_of_several_labels(films: Path, tmp_path: Path) -> None:
    recognizer = tiny_recognizer()
    recognizer.card["multi_label"] = True
    recognizer.threshold = 0.3
    (entry,) = queue(recognizer, [films / "1.mp4"], cache=tmp_path, workers=0)
    scores = [score for _, score in recognizer.predict(films / "1.mp4").top_k]
    assert entry.margin == pytest.approx(min(abs(score - 0.3) for score in scores), abs=1e-5)


STEP = 0.25
MARKS = st.lists(
    st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 39), st.none() | st.integers(1, 50)), max_size=6
)


def rows_of(marks: list[tuple[str, int | None, int | None]]) -> list[Sample]:
    return [
        Sample("v", label, None, None if start is None else start * STEP, None if end is None else end * STEP)
        for label, start, end in marks
        if end is None or (start or 0) < end
    ]


def sampled(rows: list[Sample], count: int = 40) -> list[str]:
    """A slow reference: what is said in the middle of every step."""
    said = []
    for i in range(count):
        at = (i + 0.5) * STEP
        labels = {r.label for r in rows if (r.start or 0.0) <= at < (1e9 if r.end is None else r.end)}
        said.append("+".join(sorted(labels)))
    return said


@settings(max_examples=60, deadline=None)
@given(MARKS, MARKS)
def test_kappa_is_that_of_the_sequence_in_steps(first: list, second: list) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = rows_of(first), rows_of(second)
    found = confusion(a, b, 40 * STEP)
    assert sum(found.values()) == pytest.approx(40 * STEP)
    kappa, observed, expected = cohen_kappa(found)
    x, y = sampled(a), sampled(b)
    assert observed == pytest.approx(np.mean([i == j for i, j in zip(x, y, strict=True)]))
    if len({*x, *y}) == 1:
        assert (kappa, expected) == (None, pytest.approx(1.0))
    else:
        assert kappa == pytest.approx(metrics.cohen_kappa_score(x, y), abs=1e-9)


def test_two_people(films: Path, tmp_path: Path) -> None:
    ann, ben = SegmentTable(tmp_path / "ann.csv"), SegmentTable(tmp_path / "ben.csv")
    one, two, broken = str(films / "1.mp4"), str(films / "2.mp4"), str(films / "broken.mp4")
    ann.add(Sample(one, "walk", None, 0.0, 1.0))
    ben.add(Sample(one, "walk", None, 0.5, 1.5))
    ann.add(Sample(two, "fall"))
    for table in (ann, ben):
        table.add(Sample(broken, "fall"))
    found = compare_tables(ann.file, ben.file, workers=0)
    # One video of 2 s: both say walk for 0.5 s and nothing for 0.5 s; each says walk half of the time.
    assert (found.seconds, found.observed, found.expected, found.kappa) == pytest.approx((2.0, 0.5, 0.5, 0.0))
    assert found.labels == {"walk": pytest.approx(0.0)}
    assert [(Path(v.path).name, v.error is None) for v in found.videos] == [
        ("1.mp4", True), ("2.mp4", False), ("broken.mp4", False),
    ]  # fmt: skip
    assert "ben.csv" in str(found.videos[1].error)
    assert compare_tables(ann.file, ben.file, workers=0, videos=[one, two]).seconds == pytest.approx(4.0)
    assert compare_tables(ann.file, ben.file, workers=0, background=["walk"]).kappa is None
    with pytest.raises(KinemaError, match=r"nobody\.csv"):
        compare_tables(ann.file, tmp_path / "nobody.csv")


def test_training_refuses_what_it_cannot_train_on(films: Path, tmp_path: Path) -> None:
    table = SegmentTable(tmp_path / "segments.csv")
    job = TrainingJob(tmp_path / "job")
    assert job.progress() is None
    table.remove(table.add(Sample(str(films / "1.mp4"), "walk"))[0])
    with pytest.raises(KinemaError, match=r"segments\.csv"):
        job.start(table.file, model="tsn_r18")
    table.add(Sample(str(films / "1.mp4"), "walk"))
    with pytest.raises(KinemaError, match="one class"):
        job.start(table.file, model="tsn_r18")
    with pytest.raises(KinemaError, match="epochs"):
        job.start(table.file, model="tsn_r18", epochs=0)
    with pytest.raises(KinemaError, match="model"):
        job.start(table.file)
    assert job.progress() is None
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "recipe.yaml").write_text("epochs: many\n", encoding="utf-8")
    with pytest.raises(KinemaError, match=r"recipe\.yaml"):
        job.progress()


VALUES = {"batch": 2, "workers": 0, "logger": "none", "device": "cpu"}


def labelled(films: Path, folder: Path) -> SegmentTable:
    """A table with one segment of each of four films, of two classes."""
    table = SegmentTable(folder / "segments.csv")
    for i in range(4):
        table.add(Sample(str(films / f"{i}.mp4"), "right" if i % 2 else "left", None, 0.0, 1.5))
    return table


def test_a_training_in_a_process_of_its_own(films: Path, tmp_path: Path) -> None:
    table, job = labelled(films, tmp_path), TrainingJob(tmp_path / "job")
    job.start(table.file, recognizer=tiny_recognizer(), epochs=1, values=VALUES)
    with pytest.raises(KinemaError, match="running"):
        job.start(table.file, model="tsn_r18")
    until = time.monotonic() + 300
    while job.running and time.monotonic() < until:
        time.sleep(0.2)
    progress = job.progress()
    assert progress is not None
    assert (progress.state, progress.epoch, progress.epochs) == ("finished", 1, 1), progress.message
    assert progress.metrics["train_loss"] > 0
    assert job.run is not None
    assert Recognizer.load(job.run).labels == ("left", "right")
    assert TrainingJob(tmp_path / "job").progress() == progress  # the next day


@pytest.mark.slow
def test_other_segments_are_another_training_which_can_be_stopped(films: Path, tmp_path: Path) -> None:
    table, job = labelled(films, tmp_path), TrainingJob(tmp_path / "job")
    runs = []
    for _ in range(2):
        table.add(Sample(str(films / "0.mp4"), "left", None, 1.5 + len(runs) / 10, None))
        job.start(table.file, recognizer=tiny_recognizer(), epochs=500, values=VALUES)
        runs.append(job.run)
        job.stop()
    assert runs[0] != runs[1]
    job.start(table.file, recognizer=tiny_recognizer(), epochs=500, values=VALUES)
    assert job.run == runs[1]
    job.stop()
    stopped = job.progress()
    assert stopped is not None
    assert stopped.state == "stopped"
