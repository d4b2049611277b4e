"""Testing: accuracies with their coverage, statistics of paired runs, and the cost of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.evaluation.metrics import Metrics, measure
    from kinema.evaluation.result import TestResult
    from kinema.evaluation.results import read_scores, write_results
    from kinema.evaluation.runner import evaluate
    from kinema.evaluation.segments import SegmentMetrics, measure_segments
    from kinema.evaluation.statistics import (
        bootstrap_interval,
        mcnemar,
        pair_accuracy,
        paired_bootstrap,
        share_interval,
    )
    from kinema.evaluation.testing import TestRun, run_test

__all__ = [
    "Metrics",
    "SegmentMetrics",
    "TestResult",
    "TestRun",
    "bootstrap_interval",
    "evaluate",
    "mcnemar",
    "measure",
    "measure_segments",
    "pair_accuracy",
    "paired_bootstrap",
    "read_scores",
    "run_test",
    "share_interval",
    "write_results",
]

_HOMES = {
    "Metrics": "metrics",
    "SegmentMetrics": "segments",
    "TestResult": "result",
    "TestRun": "testing",
    "bootstrap_interval": "statistics",
    "evaluate": "runner",
    "mcnemar": "statistics",
    "measure": "metrics",
    "measure_segments": "segments",
    "pair_accuracy": "statistics",
    "paired_bootstrap": "statistics",
    "read_scores": "results",
    "run_test": "testing",
    "share_interval": "statistics",
    "write_results": "results",
}

# `kinema models` counts without importing the video and table libraries
__getattr__ = lazy_names(__name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()})
