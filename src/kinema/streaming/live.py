"""Decisions while frames arrive: frame by frame if the network can stream, else with sliding windows."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import inf
from time import monotonic
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.backends.packing import for_steps
from kinema.data.transforms import cut, test_boxes
from kinema.errors import KinemaError, unknown
from kinema.recognizer import Recognizer
from kinema.streaming.reader import SourceReader, Taken
from kinema.streaming.sources import Lost

Mode = Literal["auto", "step", "delayed", "window"]
_ROUNDING = 0.002  # seconds
_AVERAGE = re.compile(r"mean|none|ema:(0?\.\d+)|last:([1-9]\d*)")


@dataclass(frozen=True)
class Decision:
    """The decision after a frame.

    Attributes:
        time: time of the frame, in seconds from the first one.
        label: the most probable label.
        score: its score, averaged as requested.
        top_k: pairs of label and score, best first.
        latency: seconds from the arrival of the frame to the decision.
    """

    time: float
    label: str
    score: float
    top_k: tuple[tuple[str, float], ...]
    latency: float

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


class Pace:
    """Selects frames by their times, at most `rate` per second, even if the rate of the source changes.

    Args:
        rate: frames per second.

    Raises:
        KinemaError: the rate is not above 0.
    """

    def __init__(self, rate: float) -> None:
        if not 0 < rate < inf:
            raise KinemaError(f"rate is {rate:g}: give frames per second, above 0")
        self.interval = 1 / rate
        # Many containers round time stamps to milliseconds, so a frame may seem to be early by as much.
        self._early = min(_ROUNDING, self.interval / 10)
        self._due: float | None = None

    def wants(self, time: float) -> bool:
        """Returns True if the frame at this time is selected."""
        if self._due is None:
            self._due = time
        if time + self._early < self._due:
            return False
        self._due += self.interval * (1 + int((time + self._early - self._due) / self.interval))
        return True


class Live:
    """Recognises a stream frame by frame.

    Frames are selected by their time stamps, `1 / rate` seconds apart, even if the rate of the source changes. Modes:

    - `step`: streaming of the network itself, at the cost of one frame per decision.
    - `delayed`: the same for a network that looks ahead. Decisions are `model.delay` frames late, and equal those that
      the network makes for the whole stream at once.
    - `window`: the last T frames at every frame, as in the paper's online recognition (STM, section 4.6). At the
      beginning the first frame is repeated.
    - `auto`: `step` if the network can stream, else `window`.

    Args:
        recognizer: the recognizer.
        rate: frames per second to classify; normally the frame spacing used in training, see `Recognizer.rate`.
        mode: see above.
        average: average of the frame scores: `mean` of all so far (as in the paper), `last:N`, `ema:D` with the decay
            D, or `none`.
        top_k: number of labels per decision.

    Raises:
        KinemaError: the rate is not above 0, the mode or average is unknown, or the network does not have the mode.
    """

    def __init__(
        self, recognizer: Recognizer, *, rate: float, mode: Mode = "auto", average: str = "mean", top_k: int = 5
    ) -> None:
        pace = Pace(rate)
        if mode not in get_args(Mode):
            raise unknown("mode", str(mode), get_args(Mode))
        found = _AVERAGE.fullmatch(average)
        if found is None:
            raise KinemaError(f"average is {average!r}: give mean, none, last:N or ema:D, such as last:12 or ema:0.9")
        self.recognizer, self.interval, self.top_k = recognizer, pace.interval, top_k
        self.wants = pace.wants
        self._decay = float(found[1]) if found[1] else None
        self._last: deque[Tensor] | None = deque(maxlen=int(found[2])) if found[2] else None
        self._average, self._count, self._mean = average, 0, torch.zeros(len(recognizer.labels))
        self._model, delayed = recognizer.model.eval(), mode == "delayed"
        self._state: dict[str, Tensor] | None = None
        if mode != "window":
            try:
                self._model = for_steps(self._model, recognizer.spec.tested, delayed=delayed)
                self._state = self._model.initial_state(1, size=recognizer.spec.tested, delayed=delayed)
            except KinemaError:
                if mode != "auto":
                    raise
        self.mode: Mode = "window" if self._state is None else "delayed" if mode == "delayed" else "step"
        self._clip: deque[Tensor] = deque(maxlen=recognizer.spec.frames)
        self._times: deque[float] = deque()

    @torch.inference_mode()
    def feed(self, pixels: NDArray[np.uint8], time: float) -> tuple[float, Tensor] | None:
        """Classifies a selected frame.

        Args:
            pixels: uint8 H W 3.
            time: time of the frame, in seconds.

        Returns:
            The time of the newest classified frame and its scores, K, not averaged; None before the first one.
        """
        spec = self.recognizer.spec
        box = test_boxes(pixels.shape[0], pixels.shape[1], spec, 1)[0]
        frame = cut(torch.from_numpy(pixels)[None], box, spec.tested, flip=False)  # 1 S S 3
        self._times.append(time)
        if self._state is None:
            self._clip.append(frame)
            missing = spec.frames - len(self._clip)
            clip = torch.cat([*[self._clip[0]] * missing, *self._clip])
            return self._times.popleft(), self.recognizer.scores(clip[None])[0]
        logits, self._state = self._model.step(self.recognizer.to_input(frame[None]), self._state)
        if logits[0, -1].isnan().any():
            return None
        return self._times.popleft(), self.recognizer.to_scores(logits[0, -1]).cpu()

    @torch.inference_mode()
    def flush(self) -> Iterator[tuple[float, Tensor]]:
        """Returns the scores of the last frames of a `delayed` stream that has ended."""
        if self.mode == "delayed" and self._state is not None:
            logits, self._state = self._model.flush(self._state)  # type: ignore[operator]
            for row in logits[0]:
                if not row.isnan().any() and self._times:
                    yield self._times.popleft(), self.recognizer.to_scores(row).cpu()

    def decide(self, time: float, scores: Tensor, arrival: float) -> Decision:
        """Returns the decision after one more frame, with scores averaged over the frames so far."""
        averaged = self._averaged(scores)
        best = averaged.topk(min(max(1, self.top_k), len(averaged)))
        labels = self.recognizer.labels
        ranked = tuple((labels[i], float(s)) for s, i in zip(best.values, best.indices.tolist(), strict=True))
        return Decision(time, ranked[0][0], ranked[0][1], ranked, monotonic() - arrival)

    def _averaged(self, scores: Tensor) -> Tensor:
        if self._average == "none":
            return scores
        if self._last is not None:
            self._last.append(scores)
            return torch.stack(tuple(self._last)).mean(0)
        self._count += 1
        share = 1 / self._count if self._decay is None else max(1 - self._decay, 1 / self._count)
        self._mean = self._mean + share * (scores - self._mean)
        return self._mean


def recognise(reader: SourceReader, live: Live, *, seconds: float | None = None) -> Iterator[Decision | Lost]:
    """Yields a decision for every selected frame of a source, and the losses.

    Args:
        reader: reader of the source, already entered.
        live: makes the decisions.
        seconds: stop after this many seconds of the source; None reads to its end.
    """
    arrival = monotonic()
    for event in reader:
        if isinstance(event, Lost):
            yield event
            continue
        taken: Taken = event
        if seconds is not None and taken.frame.time > seconds:
            reader.tally.skipped += 1
            break
        if not live.wants(taken.frame.time):
            reader.tally.skipped += 1
            continue
        reader.tally.used += 1
        arrival = taken.arrival
        found = live.feed(taken.frame.pixels, taken.frame.time)
        if found is not None:
            yield live.decide(*found, arrival)
    for time, scores in live.flush():
        yield live.decide(time, scores, arrival)
