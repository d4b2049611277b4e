"""The report of `Recognizer.optimize`: plain data that is printed, stored and read again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from kinema.text import plural

REFERENCE = "eager"
Verdict = Literal["reference", "chosen", "slower", "wrong", "absent", "failed", "not tried"]


@dataclass(frozen=True)
class Trial:
    """The trial of one backend.

    Attributes:
        name: name of the backend; `eager` is the network itself.
        verdict: outcome of the trial.
        ms: median milliseconds per batch, or None if it was not timed.
        speed: speed relative to the network itself, from interleaved runs; or None.
        error: largest difference of a logit, in standard deviations of the network's logits; or None.
        reason: why it was not chosen.
    """

    name: str
    verdict: Verdict
    ms: float | None = None
    speed: float | None = None
    error: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """All trials, and the chosen backend.

    Attributes:
        chosen: name of the fastest correct backend.
        trials: all trials, the network itself first.
        place: conditions of the choice: network, shape, device, machine and versions.
        clips: description of the clips whose top-1 labels were compared.
        seconds: duration of the choice.
        stored: whether the timings are from an earlier run, so that only the logits were checked again.
        remarks: further sentences for the user.
    """

    chosen: str
    trials: tuple[Trial, ...]
    place: dict[str, Any]
    clips: str
    seconds: float
    stored: bool = False
    remarks: tuple[str, ...] = field(default=())

    @property
    def trial(self) -> Trial:
        """The trial of the chosen backend."""
        return next(trial for trial in self.trials if trial.name == self.chosen)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Report:
        """Reads the result of `to_dict`.

        Raises:
            TypeError, KeyError, StopIteration: it is not such a result.
        """
        trials = tuple(Trial(**trial) for trial in values["trials"])
        found = replace(cls(**{**values, "trials": trials}), remarks=tuple(values["remarks"]))
        if not (found.trial.ms is None or found.trial.ms > 0) or not isinstance(found.place, dict):
            raise TypeError
        return found

    def rows(self) -> list[list[str]]:
        """Returns the cells of a table: backend, verdict, milliseconds, speed, error, reason."""
        return [
            [
                trial.name,
                trial.verdict,
                _number(trial.ms, ".1f"),
                _number(trial.speed, ".2f"),
                _number(trial.error, ".1e"),
                trial.reason,
            ]
            for trial in self.trials
        ]

    def sentence(self) -> str:
        """Returns a sentence with the chosen backend and the conditions of the choice."""
        place, trial = self.place, self.trial
        speed = "" if trial.speed is None else f", {trial.speed:.2f} times as fast as eager PyTorch"
        shape = " x ".join(map(str, place["shape"]))
        when = ", as stored" if self.stored else f" in {self.seconds:.0f} s"
        return (
            f"{self.chosen}{speed}{when}: {place['network']}, {shape}, {place['processor']}, "
            f"{plural(place['threads'], 'thread')}; top-1 compared on {self.clips}"
        )


COLUMNS = ("backend", "verdict", "ms", "speed", "error", "reason")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
