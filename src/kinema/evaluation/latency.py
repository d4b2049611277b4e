"""Measured cost of networks: time of the forward and backward pass in interleaved rounds, throughput, memory."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from kinema.errors import KinemaError, RunError
from kinema.evaluation.resident import resident_peak
from kinema.memory import keep_freed_memory
from kinema.models import create_model

WARM_UP = 3
PASSES = ("forward", "training_forward", "backward")


@dataclass(frozen=True)
class Network:
    """A network to measure.

    Attributes:
        name: name of the network.
        num_classes: outputs of its classifier.
        frames: T of the clip.
        size: height and width of the clip in pixels.
        options: further options of `create_model`.
    """

    name: str
    num_classes: int
    frames: int
    size: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pass:
    """Milliseconds for one pass of a batch: quartiles and the 95th percentile over the rounds."""

    p25_ms: float
    p50_ms: float
    p75_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Training:
    """Timings of a training step without the optimiser: BatchNorm with the statistics of the batch, cross-entropy.

    Attributes:
        forward: the forward pass, which keeps everything that the backward pass needs.
        backward: the backward pass, with the gradients of all weights.
        peak_mib: peak memory of forward and backward pass together, measured like `Latency.peak_mib`.
    """

    forward: Pass
    backward: Pass
    peak_mib: float


@dataclass(frozen=True)
class Latency:
    """Timings of the forward pass in inference mode, and of a training step if it was measured.

    Attributes:
        batch: clips per pass.
        p25_ms: lower quartile of the milliseconds of one batch.
        p50_ms: median of the same.
        p75_ms: upper quartile of the same.
        p95_ms: 95th percentile of the same.
        clips_per_s: clips of all timed runs divided by their time.
        peak_mib: on a GPU, the peak of allocated memory; on a CPU, the increase of the peak resident size of the
            process over its size with the network and the clip loaded.
        training: None if no backward pass was measured.
    """

    batch: int
    p25_ms: float
    p50_ms: float
    p75_ms: float
    p95_ms: float
    clips_per_s: float
    peak_mib: float
    training: Training | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Ratio:
    """Relative latency of two networks, from interleaved runs.

    Attributes:
        median: median of the ratios of all rounds.
        low: their lower quartile.
        high: their upper quartile.
    """

    median: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Rounds:
    """Timings of networks that ran interleaved.

    Attributes:
        batch: clips per pass.
        seconds: float64 [passes, networks, rounds]; the passes are those of `PASSES`, or only the first one.
        peaks: bytes, int64 [networks, 2]: of the forward pass in inference mode, and of a training step (0: not
            measured).
    """

    batch: int
    seconds: NDArray[np.float64]
    peaks: NDArray[np.int64]

    @property
    def passes(self) -> tuple[str, ...]:
        """The names of the timed passes."""
        return PASSES[: len(self.seconds)]

    def latency(self, i: int) -> Latency:
        """Returns the figures of network `i`."""
        forward, *step = (_pass(seconds[i]) for seconds in self.seconds)
        peaks = self.peaks[i] / 2**20
        training = Training(step[0], step[1], float(peaks[1])) if step else None
        rate = self.batch * self.seconds.shape[2] / self.seconds[0, i].sum()
        return Latency(self.batch, **asdict(forward), clips_per_s=float(rate), peak_mib=float(peaks[0]),
                       training=training)  # fmt: skip

    def ratio(self, i: int, baseline: int) -> dict[str, Ratio]:
        """Returns the time of network `i` divided by that of `baseline`, round by round, for each pass.

        Other work of the machine slows neighbouring runs equally and cancels out in the ratio of a round; it may affect
        two separate measurements differently.
        """
        return {
            name: Ratio(*(float(v) for v in np.percentile(seconds[i] / seconds[baseline], [50, 25, 75])))
            for name, seconds in zip(self.passes, self.seconds, strict=True)
        }


def _pass(seconds: NDArray[np.float64]) -> Pass:
    return Pass(*(float(v) for v in np.percentile(seconds, [25, 50, 75, 95]) * 1e3))


def measure(
    networks: Sequence[Network],
    *,
    batch: int = 1,
    repeats: int = 20,
    backward: bool = False,
    device: str = "cpu",
    memory: bool = True,
) -> Rounds:
    """Runs networks interleaved on random clips: each round runs each of them once, every other round in reverse order.

    Times are measured in one process for all networks, memory in a separate process per network.

    Args:
        networks: the networks to run.
        batch: clips per pass.
        repeats: number of timed rounds, after `WARM_UP` others.
        backward: also time a training step: forward pass in training mode and backward pass, without the optimiser.
        device: device of the networks.
        memory: also measure peak memory; else `peaks` is 0.

    Raises:
        KinemaError: a network cannot be built, or the batch gives BatchNorm a single value per channel.
        RunError: there is not enough memory.
    """
    given = list(networks)
    shared = (batch, backward, device, torch.get_num_threads())
    seconds = _alone(_time, given, repeats, *shared)
    peaks = [_alone(_peaks, one, *shared) for one in given] if memory else np.zeros((len(given), 2))
    return Rounds(batch, seconds, np.array(peaks, dtype=np.int64))


def latency(
    name: str, *, num_classes: int, frames: int, size: int, options: Mapping[str, Any], batch: int = 1,
    repeats: int = 20, backward: bool = False, device: str = "cpu",
) -> Latency:  # fmt: skip
    """Measures a single network, see `measure`."""
    one = Network(name, num_classes, frames, size, options)
    return measure([one], batch=batch, repeats=repeats, backward=backward, device=device).latency(0)


def latency_ratio(
    first: str, second: str, *, num_classes: int, frames: int, size: int, options: Mapping[str, Any], batch: int = 1,
    repeats: int = 20, device: str = "cpu",
) -> Ratio:  # fmt: skip
    """Measures the time of the forward pass of one network divided by that of another, see `Rounds.ratio`."""
    two = [Network(name, num_classes, frames, size, options) for name in (first, second)]
    return measure(two, batch=batch, repeats=repeats, device=device, memory=False).ratio(0, 1)["forward"]


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function in a separate process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except (BrokenProcessPool, torch.OutOfMemoryError) as error:
            raise RunError("not enough memory for this measurement: lower --batch or --size") from error
        except RuntimeError as error:  # message of the CPU allocator
            if "alloc" not in str(error):
                raise
            raise RunError("not enough memory for this measurement: lower --batch or --size") from error


class _Runner:
    """A network with its inputs."""

    def __init__(self, network: Network, batch: int, device: str) -> None:
        options = {**network.options, "frames": network.frames}
        self.name = network.name
        self.model: nn.Module = create_model(network.name, num_classes=network.num_classes, **options).to(device)
        shape = (batch, 3, network.frames, network.size, network.size)
        self.clips = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last_3d)
        self.labels = torch.randint(network.num_classes, (batch,), device=device)
        self.cuda = device.startswith("cuda")

    def forward(self) -> float:
        self.model.eval()
        with torch.inference_mode():
            return self._timed(lambda: self.model(self.clips))[0]

    def step(self) -> tuple[float, float]:
        self.model.train()
        try:
            forward, loss = self._timed(lambda: cross_entropy(self.model(self.clips), self.labels))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise KinemaError(
                f"{self.name}: a BatchNorm gets a single value per channel in training: raise --batch or --size"
            ) from error
        backward, _ = self._timed(loss.backward)
        self.model.zero_grad(set_to_none=True)
        return forward, backward

    def _timed(self, call: Callable[[], Any]) -> tuple[float, Any]:
        self._wait()
        start = time.perf_counter()
        found = call()
        self._wait()
        return time.perf_counter() - start, found

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()


def _time(
    networks: list[Network], repeats: int, batch: int, backward: bool, device: str, threads: int
) -> NDArray[np.float64]:
    """Returns seconds [passes, networks, rounds]."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    runners = [_Runner(network, batch, device) for network in networks]
    seconds = np.zeros((len(PASSES) if backward else 1, len(runners), WARM_UP + repeats))
    for turn in range(WARM_UP + repeats):
        order = list(range(len(runners)))
        for i in order if turn % 2 == 0 else reversed(order):
            seconds[0, i, turn] = runners[i].forward()
            if backward:
                seconds[1:, i, turn] = runners[i].step()
    return seconds[:, :, WARM_UP:]


def _peaks(network: Network, batch: int, backward: bool, device: str, threads: int) -> tuple[int, int]:
    """Returns the peak bytes of the forward pass and of a training step."""
    torch.set_num_threads(threads)
    runner = _Runner(network, batch, device)
    forward = _raised(runner.forward, runner.cuda)
    return forward, _raised(runner.step, runner.cuda) if backward else 0


def _raised(run: Callable[[], Any], cuda: bool) -> int:
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        resident_peak()  # reset the peak, which may come from earlier temporary memory, such as that of importing torch
    before = 0 if cuda else resident_peak()
    for _ in range(WARM_UP):
        run()
    return torch.cuda.max_memory_allocated() if cuda else resident_peak() - before
