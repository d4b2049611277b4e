"""Tests of several labels per video made of scores: what was shown, and how well a recognizer tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from evaluation.mixed_data import recognizer

from kinema.data.label_sets import joined
from kinema.evaluation import TestResult, write_results
from kinema.evaluation.results import Test
from kinema.evaluation.tested import Tested
from kinema.evaluation.views import ViewSummary

LABELS = ("sit", "read", "wave", "never")


def made_sets(
    name: str,
    *,
    seed: int = 0,
    skill: float = 1.0,
    videos: int = 60,
    labels: Sequence[str] = LABELS,
    unread: Sequence[int] = (),
    document: dict[str, Any] | None = None,
    folder: str | Path = "/runs",
) -> Tested:
    """The videos of all tests made here are the same; the last label is of none of them.

    Args:
        name: of the test.
        seed: of the noise of its scores.
        skill: by how many standard deviations of the noise a true label's score is higher.
        videos: their number.
        labels: of the recognizer.
        unread: videos that could not be read.
        document: its `metrics.json`.
        folder: in which its files would lie.
    """
    truth = np.random.default_rng(99).random((videos, len(labels))) < 0.35
    truth[:, -1] = False
    noise = np.random.default_rng(seed).normal(size=truth.shape) + skill * truth
    scores = (1 / (1 + np.exp(skill / 2 - noise))).astype(np.float32)
    scores[list(unread)] = np.nan
    result = TestResult(
        labels=tuple(labels),
        root="/data",
        paths=tuple(f"{i}.mp4" for i in range(videos)),
        spans=((None, None),) * videos,
        truth=tuple(joined(label for label, there in zip(labels, row, strict=True) if there) for row in truth),
        scores=scores,
        errors=tuple("broken" if i in unread else None for i in range(videos)),
        sizes=(None,) * videos,
        distinct_views=tuple(None if i in unread else 1 for i in range(videos)),
        multi_label=True,
    )
    return Tested(name, Path(folder, name, "test-test", "scores.parquet"), result, document or {"test": {}})


def written_sets(folder: Path, test: Tested) -> Path:
    """The files of a test made here, in a folder `test-test` below the one that is returned."""
    result = replace(test.result, views=ViewSummary(1, 1, len(test.result.paths), 0, 1, 0, 0, 0))
    net = recognizer()
    net.card = {"training": {"config": {"model": test.name.rpartition("_")[0], "seed": test.name}}}
    write_results(folder / "test-test", result, net, Test("recognizer", "data", "test", "1x1"))
    return folder
