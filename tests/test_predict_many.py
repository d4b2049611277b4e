"""Prediction of many videos: batches, readers, failures as values, and files that take their reader down."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluation.mixed_data import mixed_data, recognizer

from kinema.data import views as views_module
from kinema.data import windows as windows_module
from kinema.data.loading.limits import ReadLimits
from kinema.data.manifest import Manifest, read_manifest
from kinema.errors import KinemaError, UnreadableVideo
from kinema.evaluation import evaluate
from kinema.recognizer import FailedWindow, Prediction


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(mixed_data(tmp_path_factory.mktemp("many")), check=False).split("test")


@pytest.mark.parametrize(
    ("views", "workers", "batch"), [((1, 1), 0, 1), ((1, 1), 2, 3), ((3, 3), 2, 8), ((2, 1), 1, 64)]
)
def test_scores_are_those_of_a_test(views: tuple[int, int], workers: int, batch: int, manifest: Manifest) -> None:
    rec = recognizer()
    tested = evaluate(rec, manifest, views=views, workers=0)
    paths = [sample.path for sample in manifest.samples if sample.start is None and sample.end is None]
    rows = [i for i, s in enumerate(manifest.samples) if s.start is None and s.end is None]
    found = list(rec.predict_many(paths, views=views, workers=workers, batch=batch, top_k=3))
    assert len(found) == len(paths)
    for row, path, answer in zip(rows, paths, found, strict=True):
        if tested.errors[row] is not None:
            assert isinstance(answer, UnreadableVideo)
            assert (answer.path, answer.reason) == (path, tested.errors[row])
            continue
        assert isinstance(answer, Prediction)
        assert answer.label == tested.predictions[row]
        for label, score in answer.top_k:
            # Another number of videos in a batch is computed in another order.
            assert score == pytest.approx(float(tested.scores[row][rec.labels.index(label)]), abs=5e-6)
        alone = rec.predict(path, views=views, top_k=3)
        assert (alone.label, alone.t_start, alone.t_end) == (answer.label, answer.t_start, answer.t_end)
        assert alone.score == pytest.approx(answer.score, abs=5e-6)


def test_in_equal_batches_scores_are_those_of_a_test_to_the_last_bits(manifest: Manifest) -> None:
    rec, whole = recognizer(), replace(manifest, samples=tuple(s for s in manifest.samples if s.start is s.end is None))
    tested = evaluate(rec, whole, views=(3, 3), workers=2)
    found = rec.predict_many([s.path for s in whole.samples], views=(3, 3), workers=1, top_k=3)
    for row, answer in enumerate(found):
        if isinstance(answer, Prediction):
            scores = {label: float(score) for label, score in zip(rec.labels, tested.scores[row], strict=True)}
            assert dict(answer.top_k) == pytest.approx(scores, abs=1e-6)


def test_videos_may_come_from_an_iterator(manifest: Manifest) -> None:
    path = next(s.path for s in manifest.samples if s.path.endswith("long one.mp4"))
    taken = []

    def endless() -> Any:
        while True:
            taken.append(path)
            yield path

    found = recognizer().predict_many(endless(), workers=1, batch=2)
    assert all(isinstance(next(found), Prediction) for _ in range(5))
    found.close()  # type: ignore[attr-defined]
    assert len(taken) < 40


@pytest.mark.parametrize("disaster", ["crash", "hang", "memory"])
def test_a_video_that_takes_its_reader_down_is_one_failure(
    disaster: str, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rec, plain = recognizer(), views_module.open_video
    good = next(s.path for s in manifest.samples if s.path.endswith("long one.mp4"))
    poison = "poison.mp4"

    def opened(path: Any) -> Any:
        if str(path) == poison and disaster == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if str(path) == poison and disaster == "hang":
            time.sleep(1000)
        if str(path) == poison:
            return [bytes(2**27) for _ in range(10_000)]
        return plain(path)

    monkeypatch.setattr(views_module, "open_video", opened)
    limits = ReadLimits(stalled=1.5, memory=1)
    found = list(rec.predict_many([good, poison, good, good], workers=2, limits=limits))
    assert [isinstance(f, UnreadableVideo) for f in found] == [False, True, False, False]
    assert {"crash": "SIGSEGV", "hang": "no progress", "memory": "1 GiB"}[disaster] in str(found[1])
    if disaster == "crash":
        with pytest.raises(UnreadableVideo, match=r"poison\.mp4: .*SIGSEGV"):
            rec.predict(poison)


def test_bad_arguments_are_refused_at_once() -> None:
    rec = recognizer()
    for options in ({"batch": 0}, {"workers": -2}, {"views": (0, 1)}, {"views": (1, 2)}):
        with pytest.raises(KinemaError):
            rec.predict_many([], **options)  # type: ignore[arg-type]
    assert list(rec.predict_many([])) == []


def test_where_processes_start_slowly_one_video_is_read_here(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path: Path | str = next(s.path for s in manifest.samples if s.path.endswith("long one.mp4"))
    rec = recognizer()
    expected = rec.predict(path)
    monkeypatch.setattr("kinema.recognizer.SINGLE_VIDEO_READERS", 0)
    monkeypatch.setattr("kinema.data.loading.loader.ReaderPool", None)
    assert rec.predict(path) == expected


@pytest.mark.parametrize("disaster", ["crash", "hang"])
def test_a_window_that_takes_its_reader_down_is_one_failure(
    disaster: str, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rec = recognizer()
    path = next(s.path for s in manifest.samples if s.path.endswith("long one.mp4"))
    whole = list(rec.predict_windows(path, window=0.3))
    assert len(whole) >= 4
    poisoned(monkeypatch, {2}, disaster)
    found = list(rec.predict_windows(path, window=0.3, limits=ReadLimits(stalled=1.5)))
    assert len(found) == len(whole)
    assert [isinstance(f, FailedWindow) for f in found] == [i == 2 for i in range(len(whole))]
    assert {"crash": "SIGSEGV", "hang": "no progress"}[disaster] in found[2].reason  # type: ignore[union-attr]
    assert (found[2].t_start, found[2].t_end) == pytest.approx((0.6, 0.9))
    assert [f for i, f in enumerate(found) if i != 2] == [f for i, f in enumerate(whole) if i != 2]


def test_of_a_video_that_takes_down_one_reader_after_another_the_rest_is_given_up(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next(s.path for s in manifest.samples if s.path.endswith("long one.mp4"))
    poisoned(monkeypatch, set(range(1, 99)), "crash")
    found = list(recognizer().predict_windows(path, window=0.1))
    assert [isinstance(f, FailedWindow) for f in found] == [False, True, True, True]
    poisoned(monkeypatch, set(range(99)), "crash")
    with pytest.raises(UnreadableVideo, match=r"long one\.mp4: .*SIGSEGV"):
        list(recognizer().predict_windows(path, window=0.1))


def poisoned(monkeypatch: pytest.MonkeyPatch, numbers: set[int], disaster: str) -> None:
    """Lets the windows of some numbers take their reader down."""
    plain = windows_module.windows

    def windows(*arguments: Any, first: int = 0) -> Any:
        for number, window in enumerate(plain(*arguments, first=first), first):
            while number in numbers and disaster == "hang":
                time.sleep(1)
            if number in numbers:
                os.kill(os.getpid(), signal.SIGSEGV)
            yield window

    monkeypatch.setattr("kinema.data.windows.windows", windows)
