"""Latency of tiny networks, and the ratio of two that take turns."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinema.evaluation import latency as module
from kinema.evaluation.latency import WARM_UP, Latency, Ratio, latency, latency_ratio

TINY = {"num_classes": 3, "frames": 2, "size": 32, "options": {"width": 0.0625}, "repeats": 4}


def test_the_ratio_is_of_runs_that_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine becomes ten times slower half-way: the ratio is what it was, two latencies in a row would be off."""
    log: list[str] = []
    clock = [0.0]

    class Slow(nn.Module):
        def __init__(self, name: str, seconds: float) -> None:
            super().__init__()
            self.name, self.seconds = name, seconds

        def forward(self, x: Tensor) -> Tensor:
            log.append(self.name)
            clock[0] += self.seconds * (10 if len(log) > 20 else 1)
            return x

    monkeypatch.setattr(module, "create_model", lambda name, **_: Slow(name, {"a": 3.0, "b": 2.0}[name]))
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    seconds, _ = module._measure(("a", "b"), 3, 2, 8, {}, 1, 17, "cpu", torch.get_num_threads())
    assert log[:6] == ["a", "b", "b", "a", "a", "b"]
    assert len(log) == 2 * (WARM_UP + 17)
    assert np.allclose(seconds[0] / seconds[1], 1.5)
    assert seconds[0].max() == 10 * seconds[0].min()


def test_a_network_takes_as_long_as_itself() -> None:
    found = latency_ratio("tsn_r18", "tsn_r18", **{**TINY, "repeats": 15})  # type: ignore[arg-type]
    assert isinstance(found, Ratio)
    assert found.low <= found.median <= found.high
    assert 0.4 < found.median < 2.5


def test_latency_has_all_figures() -> None:
    found = latency("tsn_r18", batch=2, **TINY)  # type: ignore[arg-type]
    assert isinstance(found, Latency)
    assert 0 < found.p50_ms <= found.p95_ms
    assert found.clips_per_s > 0
