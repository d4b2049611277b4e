"""Latency of tiny networks, and ratios of networks that take turns."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.evaluation import latency as module
from kinema.evaluation.latency import (
    WARM_UP,
    Latency,
    Network,
    Ratio,
    Rounds,
    latency,
    latency_ratio,
    measure,
)

TINY = {"num_classes": 3, "frames": 2, "size": 32, "options": {"width": 0.0625}, "repeats": 4}


class Slow(nn.Module):
    """Takes some seconds of a clock that only it moves, in the forward and in the backward pass."""

    def __init__(self, name: str, seconds: float, clock: list[float], log: list[str]) -> None:
        super().__init__()
        self.name, self.seconds, self.clock, self.log = name, seconds, clock, log
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        self.log.append(f"{self.name}{'+' if self.training else ''}")
        self._work(1)
        out = self.weight.expand(len(x), 3) * 1
        if out.requires_grad:
            out.register_hook(lambda grad: self._work(2))
        return out

    def _work(self, times: float) -> None:
        self.clock[0] += times * self.seconds * (10 if len(self.log) > 20 else 1)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The machine becomes ten times slower half-way."""
    log: list[str] = []
    clock = [0.0]
    monkeypatch.setattr(module, "create_model", lambda name, **_: Slow(name, {"a": 3.0, "b": 2.0}[name], clock, log))
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    return log


def timed(rounds: int, *, backward: bool) -> Rounds:
    networks = [Network(name, 3, 2, 8) for name in "ab"]
    seconds = module._time(networks, rounds, 1, backward, "cpu", torch.get_num_threads())
    return Rounds(1, seconds, np.zeros((2, 2), dtype=np.int64))


def test_the_ratio_is_of_runs_that_take_turns(log: list[str]) -> None:
    """The ratio is what it was before the machine became slower; two latencies in a row would be off."""
    rounds = timed(17, backward=False)
    assert log[:6] == ["a", "b", "b", "a", "a", "b"]
    assert len(log) == 2 * (WARM_UP + 17)
    assert np.allclose(rounds.seconds[0, 0] / rounds.seconds[0, 1], 1.5)
    assert rounds.seconds[0, 0].max() == 10 * rounds.seconds[0, 0].min()
    assert rounds.ratio(0, 1) == {"forward": Ratio(1.5, 1.5, 1.5)}


def test_forward_and_backward_are_timed_apart(log: list[str]) -> None:
    rounds = timed(4, backward=True)
    assert log[:4] == ["a", "a+", "b", "b+"]
    assert rounds.passes == ("forward", "training_forward", "backward")
    assert np.allclose(rounds.seconds[2], 2 * rounds.seconds[1])
    found = rounds.latency(0)
    assert found.training is not None
    assert found.training.backward.p50_ms == 2 * found.training.forward.p50_ms
    assert {name: ratio.median for name, ratio in rounds.ratio(0, 1).items()} == dict.fromkeys(rounds.passes, 1.5)


def test_a_network_takes_as_long_as_itself() -> None:
    # Tens of milliseconds per run: shorter ones measure the slices that a busy machine's scheduler deals out.
    found = latency_ratio("tsn_r18", "tsn_r18", num_classes=3, frames=8, size=96, options={"width": 0.25}, repeats=15)
    assert isinstance(found, Ratio)
    assert found.low <= found.median <= found.high
    assert 0.4 < found.median < 2.5


def test_latency_has_all_figures() -> None:
    found = latency("tsn_r18", batch=2, backward=True, **TINY)  # type: ignore[arg-type]
    assert isinstance(found, Latency)
    assert 0 < found.p25_ms <= found.p50_ms <= found.p75_ms <= found.p95_ms
    assert found.clips_per_s > 0
    assert found.training is not None
    assert 0 < found.training.backward.p25_ms <= found.training.backward.p95_ms


def test_a_training_step_holds_more_memory_than_a_forward_pass() -> None:
    """Of stored maps; by about 40 MiB here, far more than the megabytes by which a process varies."""
    peaks = module._alone(module._peaks, Network("tsn_r18", 3, 8, 128, {"width": 0.25}), 4, True, "cpu", 1)
    assert peaks[1] > peaks[0] + 10 * 2**20


def test_a_batch_that_batchnorm_cannot_take() -> None:
    with pytest.raises(KinemaError, match=r"x3d_s.*--batch"):
        measure([Network("x3d_s", 3, 1, 32, {"width": 0.25})], repeats=1, backward=True, memory=False)
