"""Choice of the fastest way to run a network with the same results, by timed runs and a numerical check."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from kinema.backends.agreement import Agreement, agreement
from kinema.backends.base import BACKENDS, Backend, Runner, devices_of, find_backend, library_at, precision_of
from kinema.backends.clips import clips_to_check
from kinema.backends.convolutions import convolution_faults
from kinema.backends.exported import ExportedNetwork
from kinema.backends.report import REFERENCE, Report, Trial
from kinema.backends.stored import (
    library_ignored,
    library_of,
    place_of,
    read_choice,
    store_choice,
    store_library,
    version_of,
)
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, RunError
from kinema.models.modes import in_evaluation
from kinema.text import first_line

_ROUNDS = 5  # pairs of runs, one of the network and one of the backend
_HOPELESS = 2.0  # a backend this many times slower than the network in the first pair is timed no further
_SHARE = 0.1  # share of the budget for timing one backend, after two pairs
_GAIN = 1.05  # smallest speed-up over the network for a backend to be chosen


@dataclass(frozen=True)
class Choice:
    """A runner, or None if the network itself is the fastest, and the report of the choice."""

    runner: Runner | None
    report: Report


@dataclass
class _Right:
    """A backend that agrees with the network."""

    backend: Backend
    runner: Runner
    trial: Trial


@torch.no_grad()
def choose(
    network: nn.Module,
    clips: Tensor,
    *,
    batch: int = 1,
    budget: float = 30.0,
    int8: bool = False,
    described: str = "given clips",
    remarks: Sequence[str] = (),
    backends: Mapping[str, Backend] | None = None,
    store: bool = True,
) -> Choice:
    """Tries backends and returns the fastest one whose logits agree with the network's.

    Every backend runs on all clips, with two batch sizes. Backends that agree are timed in runs interleaved with the
    network's. The fastest must also pass a check of 3-D convolutions; otherwise the next fastest is checked.

    Args:
        network: in any mode; it is left unchanged.
        clips: N 3 T H W float32, N at least 2, on the network's device; their top-1 labels must not change.
        batch: clips per timed run, at most N.
        budget: seconds after which no further backend is tried; the current one is completed.
        int8: also try 8-bit integers, whose ranges are calibrated on the clips.
        described: description of the clips, for the report.
        remarks: remarks for the report.
        backends: name -> backend; None is all of `BACKENDS`.
        store: read and keep the choice in the cache folder.

    Raises:
        KinemaError: an invalid budget, batch or shape of the clips.
        RunError: the network's logits are not finite.
    """
    if not (isinstance(budget, int | float) and budget > 0 and math.isfinite(budget)):
        raise KinemaError(f"budget is {budget!r}: give seconds above 0")
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= len(clips):
        raise KinemaError(f"batch is {batch!r}: give a number from 1 to {len(clips)}, the number of clips to check on")
    if len(clips) < 2:
        raise KinemaError(
            f"clips of shape {tuple(clips.shape)}: give at least 2 clips, so that two batches can be compared"
        )
    with in_evaluation(network), TemporaryDirectory() as folder:
        probe = _Probe(network, clips, batch, time.perf_counter(), float(budget))
        asked = {"int8": int8, "backends": sorted(backends) if backends is not None else None}
        place = place_of(network, clips[:batch])
        earlier = read_choice(place, asked) if store else None
        if earlier is not None and (found := probe.again(earlier, backends, Path(folder) / "again.pt2")):
            return found
        made = Path(folder) if store else None
        runner, trials = probe.all(_candidates(backends, int8, clips.device.type), made)
        spent = time.perf_counter() - probe.began
        chosen = next((trial.name for trial in trials if trial.verdict == "chosen"), REFERENCE)
        report = Report(chosen, tuple(trials), place, described, spent, remarks=tuple(remarks))
        if store:
            store_choice(report, asked)
            if (library := Path(folder) / f"{chosen}.pt2").is_file():
                store_library(library, library_of(network, place, chosen))
    return Choice(runner, report)


def choose_for(
    network: nn.Module,
    spec: ClipSpec,
    to_input: Callable[[Tensor], Tensor],
    videos: Sequence[str | Path] = (),
    *,
    batch: int = 1,
    **options: Any,
) -> Choice:
    """Does the same as `choose`, on clips of videos; the runner passes clips of other shapes to the network.

    Args:
        network: as in `choose`; not an exported file.
        spec: clip specification.
        to_input: converts pixels N T H W 3 to the network's input.
        videos: see `clips_to_check`.
        batch: as in `choose`, without its upper limit.
        **options: further arguments of `choose`.

    Raises:
        KinemaError: as in `choose`, or an exported file.
    """
    if isinstance(network, ExportedNetwork):
        raise KinemaError(
            f"{network.path}: an exported file cannot be optimized; optimize the recognizer that was exported"
        )
    pixels, described, remarks = clips_to_check(spec, videos, batch if isinstance(batch, int) else 2)
    clips = to_input(pixels)
    found = choose(network, clips, batch=batch, described=described, remarks=remarks, **options)
    fast = found.runner
    if fast is None:
        return found

    def run(x: Tensor) -> Tensor:
        logits: Tensor = fast(x) if x.shape[1:] == clips.shape[1:] else network(x)
        return logits

    return replace(found, runner=run)


def _candidates(
    backends: Mapping[str, Backend] | None, int8: bool, device: str
) -> list[tuple[str, Callable[[], Backend]]]:
    """Returns name and constructor of every requested backend."""
    if backends is not None:
        return [(name, partial(_same, backend)) for name, backend in backends.items()]
    names = [name for name in BACKENDS if int8 or name != "int8"]
    return [(name, partial(find_backend, name)) for name in names if device == "cpu" or name != "int8"]


def _same(backend: Backend) -> Backend:
    return backend


class _Probe:
    """Builds, checks and times backends against one network."""

    def __init__(self, network: nn.Module, clips: Tensor, batch: int, began: float, budget: float) -> None:
        self.network, self.clips, self.batch, self.began, self.budget = network, clips, batch, began, budget
        self.expected = torch.cat([network(part) for part in clips.split(batch)]).float()
        if not bool(self.expected.isfinite().all()):
            raise RunError("the network's logits are not finite, so no backend can be compared with it")
        self.own = self._time(network)

    def all(
        self, candidates: Sequence[tuple[str, Callable[[], Backend]]], folder: Path | None
    ) -> tuple[Runner | None, list[Trial]]:
        """Tries all backends; returns the runner of the chosen one and the trials.

        Args:
            candidates: name and constructor of each.
            folder: for the files of compiled networks; None writes none.
        """
        trials = [Trial(REFERENCE, "reference", 1000 * self.own, 1.0, 0.0)]
        right: list[_Right] = []
        for name, make in candidates:
            if time.perf_counter() - self.began > self.budget:
                trials.append(Trial(name, "not tried", reason=f"the budget of {self.budget:g} s is used up"))
                continue
            found = self._try(name, make, folder and folder / f"{name}.pt2")
            if isinstance(found, Trial):
                trials.append(found)
                continue
            trials.append(found.trial)
            if (found.trial.speed or 0) >= _GAIN:
                right.append(found)
        for one in sorted(right, key=lambda one: -(one.trial.speed or 0)):
            at = trials.index(one.trial)
            if fault := self._fault(one.backend):
                trials[at] = replace(one.trial, verdict="wrong", reason=fault)
            else:
                trials[at] = replace(one.trial, verdict="chosen", reason="")
                return one.runner, trials
        return None, trials

    def again(self, earlier: Report, backends: Mapping[str, Backend] | None, made: Path) -> Choice | None:
        """Returns the stored choice if it still agrees with the network, whose weights may have changed; else None.

        Args:
            earlier: the choice.
            backends: as in `choose`.
            made: file for the compiled network, if it has to be compiled again.
        """
        if earlier.chosen == REFERENCE:
            return Choice(None, replace(earlier, stored=True))
        if earlier.chosen not in (BACKENDS if backends is None else backends):
            return None
        backend = find_backend(earlier.chosen) if backends is None else backends[earlier.chosen]
        if backend.available() is not None:
            return None
        library = library_of(self.network, earlier.place, earlier.chosen)
        if library.is_file():
            built = self._build(earlier.chosen, backend, library)
            if not isinstance(built, Trial):
                return self._chosen_again(built[0], earlier)
            library_ignored(library, built.reason)
        built = self._build(earlier.chosen, backend, made)
        if isinstance(built, Trial):
            return None
        if made.is_file():
            store_library(made, library)
        return self._chosen_again(built[0], earlier)

    def _chosen_again(self, runner: Runner, earlier: Report) -> Choice:
        return Choice(runner, replace(earlier, stored=True, seconds=time.perf_counter() - self.began))

    def _try(self, name: str, make: Callable[[], Backend], library: Path | None) -> Trial | _Right:
        try:
            backend = make()
        except ImportError as error:
            return Trial(name, "absent", reason=f"{error.name or error} cannot be imported")
        device = self.clips.device.type
        if device not in devices_of(backend):
            return Trial(name, "absent", reason=f"does not run on {device}")
        if reason := backend.available():
            return Trial(name, "absent", reason=reason)
        built = self._build(name, backend, library)
        if isinstance(built, Trial):
            return built
        runner, found = built
        ours, theirs = [], []
        for _ in range(_ROUNDS):
            theirs.append(self._time(runner))
            ours.append(self._time(self.network))
            enough = len(ours) > 1 and sum(ours) + sum(theirs) > self.budget * _SHARE
            if enough or theirs[0] > _HOPELESS * ours[0]:
                break
        speed = median(mine / other for mine, other in zip(ours, theirs, strict=True))
        trial = Trial(name, "slower", 1000 * median(theirs), speed, found.error, "another backend is faster")
        if speed < _GAIN:
            says = f"{1 / speed:.1f} times as slow as the network" if speed < 1 / _GAIN else "not faster"
            trial = replace(trial, reason=says)
        return _Right(backend, runner, trial)

    def _build(self, name: str, backend: Backend, library: Path | None) -> tuple[Runner, Agreement] | Trial:
        """Returns a runner that agrees with the network, or a trial that says what is wrong."""
        try:
            with library_at(backend, library):
                runner = backend.build(self.network, self.clips, list(self.clips.split(1)))
            parts = [self._logits(runner, part) for part in self.clips.split(self.batch)]
            other = self._logits(runner, self.clips[: 2 if self.batch == 1 else 1])  # also with another batch size
        except Exception as error:  # a backend is third-party code, whose failures must not end the run
            return Trial(name, "failed", reason=first_line(error))
        precision = precision_of(backend)
        for found, expected in ((torch.cat(parts), self.expected), (other, self.expected[: len(other)])):
            compared = agreement(expected, found)
            if objection := compared.objection(precision):
                return Trial(name, "wrong", error=_finite(compared.error), reason=objection)
        return runner, agreement(self.expected, torch.cat(parts))

    def _fault(self, backend: Backend) -> str | None:
        """Returns why the library of a backend cannot be trusted with 3-D convolutions; None if it can."""
        try:
            faults = convolution_faults(backend, self.clips.device.type)
        except Exception as error:  # as in `_build`
            return f"the check of its 3-D convolutions failed: {first_line(error)}"
        if not faults:
            return None
        return f"{_library(backend)} computes 3-D convolutions wrong in {precision_of(backend)}: {'; '.join(faults)}"

    def _logits(self, run: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
        return run(clips).to(self.expected.device).float()

    def _time(self, run: Callable[[Tensor], Any]) -> float:
        clips = self.clips[: self.batch]
        _wait(clips)
        began = time.perf_counter()
        run(clips)
        _wait(clips)
        return time.perf_counter() - began


def _wait(clips: Tensor) -> None:
    if clips.device.type == "cuda":
        torch.cuda.synchronize()


def _library(backend: Backend) -> str:
    """Returns the package that computes, with its version."""
    name = backend.name.split("+")[0]
    package = {"openvino": "openvino", "onnx": "onnxruntime", "int8": "openvino"}.get(name, "torch")
    inside = ""
    if package == "torch":
        shown = torch.__config__.show()
        inside = next(
            (f" with {line.strip(' -')}" for line in shown.splitlines() if "DNN" in line and " v" in line), ""
        )
    return f"{package} {version_of(package)}{inside}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
