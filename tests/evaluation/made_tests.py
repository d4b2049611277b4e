"""Tests made of labels alone: what was shown and what two recognizers said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinema.evaluation import TestResult
from kinema.evaluation.tested import Tested


def made_test(
    name: str,
    truth: Sequence[str],
    said: Sequence[str | None],
    *,
    labels: Sequence[str] = ("a", "b", "c"),
    paths: Sequence[str] | None = None,
    spans: Sequence[tuple[float | None, float | None]] | None = None,
    root: str = "/data",
    sizes: Sequence[int | None] | None = None,
    document: dict[str, Any] | None = None,
) -> Tested:
    """A test of which only the most probable label of each video is known; None is an unreadable video."""
    scores = np.full((len(truth), len(labels)), np.nan, dtype=np.float32)
    for i, label in enumerate(said):
        if label is not None:
            scores[i] = 0.1
            scores[i, list(labels).index(label)] = 0.8
    kept = TestResult(
        labels=tuple(labels),
        root=root,
        paths=tuple(paths or [f"{i}.mp4" for i in range(len(truth))]),
        spans=tuple(spans or [(None, None)] * len(truth)),
        truth=tuple(truth),
        scores=scores,
        errors=tuple("broken" if label is None else None for label in said),
        sizes=tuple(sizes or [None] * len(truth)),
        distinct_views=tuple(None if label is None else 1 for label in said),
    )
    return Tested(name, Path(f"/runs/{name}/test-test/scores.parquet"), kept, document or {"test": {}})
