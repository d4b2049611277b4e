"""Average precision of several labels per video against scikit-learn and by hand, and what is not read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.data.label_sets import joined, label_set
from kinema.errors import KinemaError
from kinema.evaluation.multi_label import average_precision, mean_average_precision, measure_sets
from kinema.evaluation.result import TestResult
from kinema.evaluation.results import _table, _write_table, read_scores
from kinema.evaluation.tested import open_test

LABELS = ("a", "b", "c", "never")


def drawn(seed: int, n: int = 40, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth bool n 4, the last class without a video, and scores; with `levels` many of them are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, 4)) < 0.4
    truth[:, 3] = False
    scores = rng.random((n, 4))
    return truth, (np.round(scores * levels) / levels if levels else scores)


@pytest.mark.parametrize("levels", [0, 5, 1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_scikit_learns(seed: int, levels: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, scores = drawn(seed, levels=levels)
    wanted = [metrics.average_precision_score(truth[:, k], scores[:, k]) for k in range(3)]
    found = [average_precision(truth[:, k], scores[:, k]) for k in range(4)]
    assert found[3] is None
    assert found[:3] == pytest.approx(wanted, abs=1e-9)
    assert mean_average_precision(truth, scores) == pytest.approx(np.mean(wanted), abs=1e-9)
    kept = measure_sets(truth, scores.astype(np.float32), LABELS)
    assert kept.classes_tested == 3
    low, high = kept.mean_ap_interval
    assert 0 <= low < high <= 1
    assert kept.mean_ap_interval == measure_sets(truth, scores.astype(np.float32), LABELS).mean_ap_interval


def slow(truth: list[bool], scores: list[float]) -> float | None:
    """Precision at every positive, where equal scores are retrieved together."""
    if not any(truth):
        return None
    values = []
    for shown, score in zip(truth, scores, strict=True):
        if shown:
            kept = [t for t, s in zip(truth, scores, strict=True) if s >= score]
            values.append(sum(kept) / len(kept))
    return sum(values) / len(values)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=12))
def test_it_is_the_mean_precision_at_the_positives(pairs: list[tuple[bool, int]]) -> None:
    truth, scores = [t for t, _ in pairs], [s / 4 for _, s in pairs]
    found = average_precision(np.array(truth), np.array(scores))
    wanted = slow(truth, scores)
    assert (found is None) == (wanted is None)
    assert found is None or found == pytest.approx(wanted, abs=1e-12)


def test_an_unread_video_is_never_retrieved() -> None:
    truth, scores = drawn(3)
    scores = scores.astype(np.float32)
    all_read = measure_sets(truth, scores, LABELS)
    lost = scores.copy()
    lost[:6] = np.nan
    some = measure_sets(truth, lost, LABELS)
    for k, found in enumerate(some.per_class[:3]):
        alone = average_precision(truth[6:, k], scores[6:, k])
        assert alone is not None
        assert found.average_precision == pytest.approx(alone * truth[6:, k].sum() / truth[:, k].sum(), abs=1e-12)
        assert (found.videos, found.failed) == (truth[:, k].sum(), truth[:6, k].sum())
    assert (some.coverage.expected, some.coverage.read, some.coverage.failed) == (40, 34, 6)
    assert some.hit1 < all_read.hit1
    only_negatives = truth.copy()
    only_negatives[:6] = False
    assert measure_sets(only_negatives, lost, LABELS).mean_ap == pytest.approx(
        mean_average_precision(truth[6:], scores[6:]), abs=1e-12
    )
    nothing = measure_sets(truth, np.full_like(scores, np.nan), LABELS)
    assert (nothing.mean_ap, nothing.hit1) == (0, 0)


def result(truth: tuple[str, ...], scores: np.ndarray) -> TestResult:
    errors = tuple("broken" if np.isnan(row).any() else None for row in scores)
    views = tuple(None if error else 1 for error in errors)
    return TestResult(
        LABELS, "/data", tuple(f"{i}.mp4" for i in range(len(truth))), ((None, None),) * len(truth), truth,
        scores.astype(np.float32), errors, (1,) * len(truth), views, multi_label=True,
    )  # fmt: skip


def test_the_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    scores = np.array([[0.9, 0.6, 0.2, 0.1], [np.nan] * 4, [0.1, 0.2, 0.3, 0.4]])
    made = result(("a;b", "c", ";"), scores)
    assert made.predictions == ("a;b", None, ";")
    assert made.truth_sets.tolist() == [[True, True, False, False], [False, False, True, False], [False] * 4]
    _write_table(_table(made), tmp_path / "scores.parquet")
    back = read_scores(tmp_path)
    assert back.multi_label
    assert (back.truth, back.predictions, back.errors) == (made.truth, made.predictions, made.errors)
    assert back.set_metrics == made.set_metrics
    json.dumps(back.set_metrics.to_dict())
    opened = open_test(tmp_path, "x")
    assert (opened.figures, opened.set_metrics) == (made.set_metrics, made.set_metrics)
    with pytest.raises(KinemaError, match="set_metrics"):
        _ = made.metrics


def test_a_cell_holds_a_set() -> None:
    assert label_set("b; a;;b ") == ("a", "b")
    assert label_set(";") == label_set(" ; ; ") == ()
    assert joined(("b", "a")) == "a;b"
    assert joined(()) == ";"
    assert label_set("one label") == ("one label",)
