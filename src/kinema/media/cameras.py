"""Cameras of visitors: JPEG frames that arrive one by one, and the decision of a recognizer for each."""

from __future__ import annotations

import secrets
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kinema.errors import KinemaError
from kinema.media.sessions import Session
from kinema.recognizer import Recognizer
from kinema.streaming.live import Live
from kinema.text import plural

MOST_BYTES = 1_000_000  # bytes of one frame; a JPEG of 640x480 has about 50 000
MOST_PIXELS = 1920 * 1080
_HELD = "camera"  # name in `Session.held`
_WINDOW = 2.0  # seconds of a clip if the card does not state the frame spacing
_SILENT = 10.0  # seconds without a frame after which a camera no longer counts as open
_COUNTED = 3.0  # seconds over which frames are counted


@dataclass(eq=False)
class Camera:
    """One camera whose frames are being classified.

    Attributes:
        key: distinguishes its frames from those of an earlier start.
        live: state of the stream.
        seen: arrival time of its last frame, in seconds of the clock.
        arrivals: arrival times of the frames of the last seconds.
        last: time of its newest frame, in seconds from its first one.
        lock: held while a frame is processed.
    """

    key: str
    live: Live
    seen: float
    arrivals: list[float] = field(default_factory=list)
    last: float = -1.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Cameras:
    """All cameras of a server, one per visitor; safe to use from several threads.

    Args:
        most: largest number of open cameras; further ones are refused.
        clock: returns seconds; tests replace it.
    """

    def __init__(self, most: int = 4, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._all: weakref.WeakSet[Camera] = weakref.WeakSet()
        self._lock = threading.Lock()

    def begin(self, session: Session, recognizer: Recognizer) -> dict[str, Any]:
        """Opens the camera of a visitor, and closes the visitor's earlier one.

        Networks that can stream see each frame once; others see sliding windows. If the network streams, scores are
        averaged over the number of frames in a clip; scores of windows, which overlap, are not averaged.

        Args:
            session: session of the visitor.
            recognizer: the recognizer.

        Returns:
            Plain values: `key` for `feed`, the `mode`, and `interval`, the seconds between two frames.

        Raises:
            KinemaError: too many cameras are open.
        """
        now = self._clock()
        rate = recognizer.rate or recognizer.spec.frames / _WINDOW
        live = Live(recognizer, rate=rate, average="none")
        if live.mode != "window":
            live = Live(recognizer, rate=rate, average=f"last:{recognizer.spec.frames}")
        camera = Camera(secrets.token_hex(8), live, now)
        with self._lock:
            self._forget(session)
            busy = sum(now - other.seen < _SILENT for other in self._all)
            if busy >= self._most:
                raise KinemaError(f"{plural(busy, 'camera')} in use already, which is the limit: try again later")
            session.held[_HELD] = camera
            self._all.add(camera)
        return {"key": camera.key, "mode": live.mode, "interval": live.interval}

    def feed(self, session: Session, key: str, jpeg: bytes, seconds: float) -> dict[str, Any]:
        """Classifies a frame of a visitor's camera.

        Args:
            session: session of the visitor.
            key: the key from `begin`.
            jpeg: the frame, of at most `MOST_BYTES` bytes and `MOST_PIXELS` pixels.
            seconds: time since the first frame; greater than that of the previous frame.

        Returns:
            Plain values: `label`, `score`, `top` (pairs of label and score), `seconds` that the network took, and
            `rate`, the recent number of frames per second. The label is None before the first decision.

        Raises:
            KinemaError: the camera is no longer open, or the frame is not a picture, too large or too old.
        """
        camera = session.held.get(_HELD)
        if camera is None or camera.key != key:
            raise KinemaError("this camera is no longer open: start it again")
        with camera.lock:
            if not seconds > camera.last:
                raise KinemaError(
                    f"frame: its time {seconds:g} s is not after the previous {camera.last:g} s: send them in order"
                )
            pixels = decode_jpeg(jpeg)
            camera.last, camera.seen = seconds, self._clock()
            camera.arrivals = [*(t for t in camera.arrivals if camera.seen - t < _COUNTED), camera.seen]
            began = time.monotonic()
            found = camera.live.feed(pixels, seconds)
            decision = None if found is None else camera.live.decide(*found, began)
        shown: dict[str, Any] = {"label": None, "score": None, "top": []}
        if decision is not None:
            values = asdict(decision)
            shown = {"label": values["label"], "score": values["score"], "top": values["top_k"][:3]}
        span = camera.arrivals[-1] - camera.arrivals[0]
        rate = (len(camera.arrivals) - 1) / span if span > 0 else None
        return {**shown, "seconds": time.monotonic() - began, "rate": rate}

    def end(self, session: Session) -> None:
        """Closes the camera of a visitor, if there is one."""
        with self._lock:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        camera = session.held.pop(_HELD, None)
        if camera is not None:
            self._all.discard(camera)


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decodes a JPEG picture to uint8 H W 3.

    Raises:
        KinemaError: it is not a JPEG picture, or it is damaged or too large.
    """
    if len(data) > MOST_BYTES:
        raise KinemaError(
            f"frame: it has {len(data)} bytes, but at most {MOST_BYTES} are accepted: send smaller pictures"
        )
    try:
        with Image.open(BytesIO(data), formats=["JPEG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise KinemaError(
                    f"frame: it has {image.width}x{image.height} pixels, but at most 1920x1080 are accepted"
                )
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, KinemaError):
            raise
        raise KinemaError(f"frame: it is not a JPEG picture ({error}): send a JPEG") from error
