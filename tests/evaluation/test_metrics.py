from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from kinema.evaluation.metrics import confusion_matrix, measure, true_ranks
from kinema.evaluation.statistics import share_interval

LABELS = ("a", "b", "c")
NAN = [np.nan] * 3


def test_an_unreadable_video_is_wrong_everywhere() -> None:
    targets = np.array([0, 0, 0, 1, 1])
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], NAN, [0.2, 0.5, 0.3], NAN], dtype=np.float32)
    m = measure(targets, scores, LABELS)
    assert m.top1 == pytest.approx(2 / 5)
    assert (m.topk, m.k) == (pytest.approx(3 / 5), 3)
    assert m.mean_class == pytest.approx((1 / 3 + 1 / 2) / 2)  # c does not occur
    assert m.classes_tested == 2
    assert (m.coverage.expected, m.coverage.read, m.coverage.failed) == (5, 3, 2)
    assert str(m.coverage) == "5 expected / 3 read / 2 failed"
    more = measure(targets, scores, LABELS, absent=1)
    assert str(more.coverage) == "5 expected / 3 read / 2 failed; 1 more that the annotation names is absent"
    assert more.top1 == m.top1
    assert m.top1_interval == share_interval(2, 5)
    first, second, third = m.per_class
    assert (first.videos, first.failed, first.recall, first.predicted) == (3, 1, pytest.approx(1 / 3), {"a": 1, "b": 1})
    assert (second.videos, second.failed, second.predicted) == (2, 1, {"b": 1})
    assert (third.videos, third.recall, third.predicted) == (0, None, {})


def test_the_rows_of_the_confusion_and_the_failures_add_up() -> None:
    rng = np.random.default_rng(0)
    targets, scores = rng.integers(0, 3, 50), rng.random((50, 3)).astype(np.float32)
    scores[rng.random(50) < 0.2] = np.nan
    m = measure(targets, scores, LABELS)
    for i, row in enumerate(m.per_class):
        assert sum(row.predicted.values()) + row.failed == row.videos == (targets == i).sum()
    assert m.coverage.read + m.coverage.failed == m.coverage.expected == 50


def test_figures_equal_torchmetrics_where_everything_was_read() -> None:
    rng = np.random.default_rng(1)
    targets = rng.permutation(np.concatenate([np.arange(9), rng.integers(0, 9, 91)]))
    scores = rng.random((100, 9)).astype(np.float32)
    scores[np.arange(100), targets] += 0.3
    m = measure(targets, scores, [f"class {i}" for i in range(9)])
    x, y = torch.from_numpy(scores), torch.from_numpy(targets)
    assert m.top1 == pytest.approx(float(multiclass_accuracy(x, y, 9, average="micro")))
    assert m.topk == pytest.approx(float(multiclass_accuracy(x, y, 9, top_k=5, average="micro")))
    assert m.k == 5
    assert m.mean_class == pytest.approx(float(multiclass_accuracy(x, y, 9, average="macro")))
    assert (confusion_matrix(targets, scores.argmax(1), 9) == multiclass_confusion_matrix(x, y, 9).numpy()).all()


def test_ranks_equal_a_stable_sort_with_ties_too() -> None:
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 3, (200, 6)).astype(np.float32)
    targets = rng.integers(0, 6, 200)
    expected = [
        sorted(range(6), key=lambda j, row=row: -row[j]).index(t) for row, t in zip(scores, targets, strict=True)
    ]
    assert true_ranks(targets, scores).tolist() == expected
    assert ((true_ranks(targets, scores) == 0) == (scores.argmax(1) == targets)).all()


def test_equal_scores_do_not_make_a_right_answer() -> None:
    """A network that says nothing is right only where the first label is true."""
    m = measure(np.array([0, 1, 2, 2]), np.full((4, 3), 1 / 3, dtype=np.float32), LABELS)
    assert m.top1 == 0.25


def test_majority_of_test_and_of_training() -> None:
    targets = np.array([1, 1, 1, 2])
    scores = np.zeros((4, 3), dtype=np.float32)
    m = measure(targets, scores, LABELS, train_labels=["c", "c", "a"])
    assert (m.majority.label, m.majority.share) == ("b", 0.75)
    assert m.train_majority is not None
    assert (m.train_majority.label, m.train_majority.share) == ("c", 0.25)
    assert measure(targets, scores, LABELS).train_majority is None


def test_plain_values_are_json() -> None:
    m = measure(np.array([0, 1]), np.array([[1, 0, 0], NAN], dtype=np.float32), LABELS)
    values = json.loads(json.dumps(m.to_dict(), allow_nan=False))
    assert values["coverage"] == {"expected": 2, "read": 1, "failed": 1, "absent": 0}
    assert values["interval"] == {"method": "wilson", "level": 0.95}
    assert values["per_class"][2]["recall"] is None
