"""What `Recognizer.optimize` tried: plain data that is printed, stored and read again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from kinema.text import plural

REFERENCE = "eager"
Verdict = Literal["reference", "chosen", "slower", "wrong", "absent", "failed", "not tried"]


@dataclass(frozen=True)
class Trial:
    """One way to run the network.

    Attributes:
        name: of the backend; `eager` is the network itself.
        verdict: what became of it.
        ms: median milliseconds of a batch, or None if it was not timed.
        speed: how many times as fast as the network itself, from runs that took turns; or None.
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
    """What was tried, and what was chosen.

    Attributes:
        chosen: the name of the fastest way that is right.
        trials: all of them, the network itself first.
        place: what the choice holds for: network, shape, device, machine and versions.
        clips: on which top-1 labels were compared.
        seconds: that the choice took.
        stored: whether timings are of an earlier run, and only the logits were checked again.
        remarks: sentences on what a person should know besides.
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
        """The one that was chosen."""
        return next(trial for trial in self.trials if trial.name == self.chosen)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Report:
        """Reads what `to_dict` gave.

        Raises:
            TypeError, KeyError, StopIteration: it did not.
        """
        trials = tuple(Trial(**trial) for trial in values["trials"])
        found = replace(cls(**{**values, "trials": trials}), remarks=tuple(values["remarks"]))
        if not (found.trial.ms is None or found.trial.ms > 0) or not isinstance(found.place, dict):
            raise TypeError
        return found

    def rows(self) -> list[list[str]]:
        """Cells of a table: backend, verdict, milliseconds, speed, error, reason."""
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
        """What was chosen, where and on what."""
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
