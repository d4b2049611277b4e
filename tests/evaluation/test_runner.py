from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation.mixed_data import BAD, GOOD, LABELS, SPEC, VIDEOS, mixed_data, recognizer
from torch.nn.functional import interpolate

from kinema.data import views
from kinema.data.datasets import TestVideos
from kinema.data.loading.limits import ReadLimits
from kinema.data.manifest import Manifest, read_manifest
from kinema.data.sources import Sample
from kinema.data.video import open_video
from kinema.errors import KinemaError, RunError
from kinema.evaluation import TestResult, evaluate

VIEWS = (3, 3)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(mixed_data(tmp_path_factory.mktemp("mixed data")), check=False).split("test")


@pytest.fixture(scope="module")
def result(manifest: Manifest) -> TestResult:
    return evaluate(recognizer(), manifest, views=VIEWS, workers=0)


def only(manifest: Manifest, names: list[str]) -> Manifest:
    return replace(manifest, samples=tuple(s for s in manifest.samples if Path(s.path).name in names))


def row(result: TestResult, name: str) -> int:
    return [Path(path).name for path in result.paths].index(name)


def test_every_video_is_counted_once_and_the_unreadable_ones_are_named(result: TestResult) -> None:
    assert [Path(path).name for path in result.paths] == list(VIDEOS)
    coverage = result.metrics.coverage
    assert (coverage.expected, coverage.read, coverage.failed) == (11, 6, 5)
    assert [Path(path).name for path, _ in result.failures] == BAD
    assert all(reason for _, reason in result.failures)
    for name in VIDEOS:
        i = row(result, name)
        assert (result.errors[i] is None) == (name in GOOD)
        assert np.isnan(result.scores[i]).all() == (name in BAD)
        assert (result.predictions[i] is None) == (name in BAD)
        assert (result.distinct_views[i] is None) == (name in BAD)
        assert LABELS[result.targets[i]] == VIDEOS[name][0]  # the label of an unreadable video is its own
    assert "no such file" in {Path(p).name: e for p, e in result.failures}["missing.mp4"]


def test_failures_count_as_errors_in_every_figure(result: TestResult) -> None:
    right = [result.predictions[row(result, name)] == VIDEOS[name][0] for name in VIDEOS]
    assert not any(right[row(result, name)] for name in BAD)
    assert 0 < sum(right) < 6  # else the next lines would prove little
    assert result.metrics.top1 == pytest.approx(sum(right) / 11)
    assert result.metrics.topk == pytest.approx(6 / 11)  # of three labels the true one is always among five
    recalls = []
    for label in LABELS:
        mine = [r for r, (own, _) in zip(right, VIDEOS.values(), strict=True) if own == label]
        recalls.append(sum(mine) / len(mine))
    assert result.metrics.mean_class == pytest.approx(np.mean(recalls))
    assert result.correct.tolist() == right


def test_an_unreadable_video_is_not_replaced_by_a_neighbour(manifest: Manifest, result: TestResult) -> None:
    alone = evaluate(recognizer(), only(manifest, GOOD), views=VIEWS, workers=0)
    assert [Path(path).name for path in alone.paths] == GOOD
    readable = [row(result, name) for name in GOOD]
    np.testing.assert_allclose(alone.scores, result.scores[readable], atol=1e-6)
    assert alone.metrics.coverage.failed == 0
    assert alone.metrics.top1 == pytest.approx(result.metrics.top1 * 11 / 6)


def slow_scores(path: str, clips: int) -> np.ndarray:
    """Every frame decoded, every view cut, scaled and scored alone, softmax averaged; 64x48 pixels, T = 4."""
    with open_video(path) as reader:
        frames = reader.read(np.arange(reader.info.frames))
    n, length, rec = len(frames), max(len(frames), SPEC.frames), recognizer()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (SPEC.mean, SPEC.std))
    rows = []
    for clip in range(clips):
        for left in (0, (64 - 43) // 2, 64 - 43):  # 48 * 32 / 36 = 42.67
            images = []
            for part in range(SPEC.frames):
                at = length * (part + (clip + 0.5) / clips) / SPEC.frames
                tick = int(at) - (1 if at == int(at) and at > length / 2 else 0)
                image = frames[tick % n, 2 : 2 + 43, left : left + 43].permute(2, 0, 1)[None]
                small = interpolate(image, size=(32, 32), mode="bilinear", antialias=True)[0]
                images.append((small.float() / 255 - mean) / std)
            with torch.no_grad():
                rows.append(rec.model(torch.stack(images, 1)[None])[0].softmax(0).numpy())
    return np.mean(rows, axis=0)


@pytest.mark.parametrize("name", ["long one.mp4", "short.mp4", "tiny.mp4"])
def test_scores_are_the_mean_softmax_of_views_cut_one_by_one(name: str, manifest: Manifest, result: TestResult) -> None:
    path = str(Path(manifest.samples[0].path).parent / name)
    np.testing.assert_allclose(result.scores[row(result, name)], slow_scores(path, 3), atol=1e-5)


def test_the_result_does_not_depend_on_workers_or_batch(manifest: Manifest, result: TestResult) -> None:
    """Eleven videos never fill the last batch, and a worker meets each kind of broken file."""
    for workers, batch in ((0, 1), (1, 20), (2, 100)):
        other = evaluate(recognizer(), manifest, views=VIEWS, workers=workers, batch=batch)
        np.testing.assert_allclose(other.scores, result.scores, atol=1e-5)
        assert other.predictions == result.predictions
        assert other.errors == result.errors
        assert other.distinct_views == result.distinct_views
        assert other.views == result.views
        assert other.metrics.coverage == result.metrics.coverage
        assert other.metrics.top1 == result.metrics.top1


def test_whether_the_views_differ_is_stated(result: TestResult) -> None:
    for name in GOOD:
        distinct = result.distinct_views[row(result, name)]
        assert distinct is not None
        assert distinct % 3 == 0  # every clip has its three crops
        assert (distinct == 9) == (name != "tiny.mp4")
    v = result.views
    assert v is not None
    assert (v.all_distinct, v.coinciding, v.same_clips, v.same_crops, v.repeated_frames) == (5, 1, 1, 0, 1)
    assert str(v).startswith("3x3 = 9 per video; all differ for 5 of 6 read, for 1 some are equal")


def test_a_video_is_opened_once_for_all_its_views(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def counting(path: str) -> object:
        opened.append(path)
        return open_video(path)

    monkeypatch.setattr(views, "open_video", counting)
    evaluate(recognizer(), manifest, views=VIEWS, workers=0)
    assert opened == [s.path for s in manifest.samples]


def test_nothing_read_is_a_failed_run(manifest: Manifest) -> None:
    with pytest.raises(RunError, match=r"none of 5 videos could be read \(first .*corrupt\.mp4: ") as caught:
        evaluate(recognizer(), only(manifest, BAD), workers=0)
    assert caught.value.exit_status == 1


def test_a_label_that_the_card_does_not_have_is_named(manifest: Manifest) -> None:
    with pytest.raises(KinemaError, match=r"videos\.csv: unknown label 'jump': did you mean 'jumping'\?"):
        evaluate(recognizer(("jumping", "run, fast", "sit")), manifest, workers=0)


def test_labels_keep_the_order_of_the_card(manifest: Manifest, result: TestResult) -> None:
    """The card's order is not the alphabet's: scores and targets must follow the card."""
    order = [2, 0, 1]
    turned = recognizer(tuple(LABELS[i] for i in order))
    with torch.no_grad():
        for mine, own in zip(
            turned.model.classifier.parameters(), recognizer().model.classifier.parameters(), strict=True
        ):
            mine.copy_(own[order])
    other = evaluate(turned, manifest, views=VIEWS, workers=0)
    assert other.predictions == result.predictions
    np.testing.assert_allclose(other.scores, result.scores[:, order], atol=1e-6)
    assert other.metrics.top1 == result.metrics.top1


def test_parts_of_one_video_are_videos_of_their_own(manifest: Manifest) -> None:
    path = manifest.samples[0].path  # 40 frames, 12 a second
    parts = (
        Sample(path, "jump", "test", 0.0, 1.0),
        Sample(path, "sit", "test", 1.0, 3.0),
        Sample(path, "sit", "test", 9.0),
    )
    found = evaluate(recognizer(), replace(manifest, samples=parts), workers=0)
    assert not np.allclose(found.scores[0], found.scores[1], atol=1e-3)
    assert found.errors[:2] == (None, None)
    assert found.errors[2] is not None
    assert "no frame from 9 s to the end" in found.errors[2]


def test_a_video_too_short_for_the_specification_is_a_failure_and_not_a_crash(manifest: Manifest) -> None:
    strict = recognizer(spec=SPEC.replace(pad="error"))
    found = evaluate(strict, only(manifest, ["tiny.mp4", "long one.mp4"]), workers=0)
    reasons = [error for error in found.errors if error is not None]
    assert len(reasons) == 1
    assert "needs 4 frames but the video has 2" in reasons[0]


def test_dropout_is_off_and_two_tests_agree_in_every_bit(manifest: Manifest) -> None:
    rec = recognizer()
    rec.model.train()
    data = only(manifest, GOOD[:2])
    one, two = (evaluate(rec, data, workers=0) for _ in range(2))
    assert (one.scores == two.scores).all()


def test_damaged_weights_do_not_become_a_prediction(manifest: Manifest) -> None:
    rec = recognizer()
    with torch.no_grad():
        rec.model.classifier.bias[1] = float("nan")
    with pytest.raises(RunError, match=r"long one\.mp4: the network's scores are not finite"):
        evaluate(rec, manifest, workers=0)


@pytest.mark.parametrize("disaster", ["crash", "hang", "memory"])
def test_a_video_that_takes_its_reader_down_costs_one_row(
    disaster: str, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(recognizer(), manifest, workers=2)
    plain, bad = TestVideos.__getitem__, row(whole, GOOD[0])

    def read(self: TestVideos, i: int) -> Any:
        if i == bad and disaster == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if i == bad and disaster == "hang":
            time.sleep(1000)
        if i == bad:
            return [bytes(2**27) for _ in range(10_000)]
        return plain(self, i)

    monkeypatch.setattr(TestVideos, "__getitem__", read)
    result = evaluate(recognizer(), manifest, workers=2, limits=ReadLimits(stalled=1.5, memory=1))
    assert [i for i, (a, b) in enumerate(zip(whole.errors, result.errors, strict=True)) if a != b] == [bad]
    assert {"crash": "SIGSEGV", "hang": "no progress", "memory": "1 GiB"}[disaster] in str(result.errors[bad])
    assert result.metrics.coverage.failed == whole.metrics.coverage.failed + 1
    rest = np.arange(len(whole.errors)) != bad
    # One video less in a batch is computed in another order.
    np.testing.assert_allclose(result.scores[rest], whole.scores[rest], atol=1e-5)


def test_progress_ends_with_all_videos(manifest: Manifest) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(recognizer(), manifest, workers=0, batch=4, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 11), (8, 11), (11, 11)]


def test_bad_arguments_are_refused(manifest: Manifest) -> None:
    for options in ({"batch": 0}, {"workers": -2}):
        with pytest.raises(KinemaError, match="batch of at least 1"):
            evaluate(recognizer(), manifest, **options)  # type: ignore[arg-type]
    with pytest.raises(KinemaError, match="no video to test on"):
        evaluate(recognizer(), replace(manifest, samples=()))
    with pytest.raises(KinemaError, match="2 crops"):
        evaluate(recognizer(), manifest, views=(1, 2))
