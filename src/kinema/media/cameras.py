"""Cameras of visitors: JPEG frames that arrive one by one, and what a recognizer says to each."""

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

MOST_BYTES = 1_000_000  # of one frame; a JPEG of 640x480 has about 50 000
MOST_PIXELS = 1920 * 1080
_HELD = "camera"  # name in `Session.held`
_WINDOW = 2.0  # seconds of a clip where the card does not state the spacing of frames
_SILENT = 10.0  # seconds without a frame after which a camera leaves its place to others
_COUNTED = 3.0  # seconds over which frames are counted


@dataclass(eq=False)
class Camera:
    """One camera that is being watched.

    Attributes:
        key: by which its frames are told from those of an earlier start.
        live: the state of the stream.
        seen: when its last frame came, seconds of the clock.
        arrivals: when the frames of the last seconds came.
        last: time of its newest frame, seconds from its first one.
        lock: one frame at a time.
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
        most: cameras that may be watched at once; further ones are refused.
        clock: gives seconds; another one in tests.
    """

    def __init__(self, most: int = 4, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._all: weakref.WeakSet[Camera] = weakref.WeakSet()
        self._lock = threading.Lock()

    def begin(self, session: Session, recognizer: Recognizer) -> dict[str, Any]:
        """Begins to watch the camera of a visitor, which ends what was watched of it before.

        Networks that stream see each frame once; others see sliding windows. Scores are averaged over as many frames
        as a clip has where the network streams, and not at all where windows overlap anyway.

        Args:
            session: of the visitor.
            recognizer: what recognises.

        Returns:
            Plain values: `key` for `feed`, the `mode`, and `interval`, the seconds between two frames.

        Raises:
            KinemaError: too many cameras are watched.
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
                raise KinemaError(f"{plural(busy, 'camera')} watched already, no more are allowed: try again later")
            session.held[_HELD] = camera
            self._all.add(camera)
        return {"key": camera.key, "mode": live.mode, "interval": live.interval}

    def feed(self, session: Session, key: str, jpeg: bytes, seconds: float) -> dict[str, Any]:
        """Takes a frame of a visitor's camera.

        Args:
            session: of the visitor.
            key: from `begin`.
            jpeg: the frame, at most `MOST_BYTES` long and `MOST_PIXELS` large.
            seconds: since the first frame; later than those of the frame before.

        Returns:
            Plain values: `label`, `score`, `top` (pairs of label and score), `seconds` that the network took, and
            `rate`, frames per second that arrived lately. The label is None where nothing is known yet.

        Raises:
            KinemaError: the camera is no longer watched, or the frame is not a picture, too large or too old.
        """
        camera = session.held.get(_HELD)
        if camera is None or camera.key != key:
            raise KinemaError("this camera is no longer watched: start it again")
        with camera.lock:
            if not seconds > camera.last:
                raise KinemaError(f"frame: its time {seconds:g} s is not after {camera.last:g} s, the one before it")
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
        """Forgets the camera of a visitor, if there is one."""
        with self._lock:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        camera = session.held.pop(_HELD, None)
        if camera is not None:
            self._all.discard(camera)


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a JPEG picture, uint8 H W 3.

    Raises:
        KinemaError: it is no JPEG picture, damaged or too large.
    """
    if len(data) > MOST_BYTES:
        raise KinemaError(f"frame: it has {len(data)} bytes, at most {MOST_BYTES} are accepted: send smaller pictures")
    try:
        with Image.open(BytesIO(data), formats=["JPEG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise KinemaError(f"frame: it is {image.width}x{image.height}, at most 1920x1080 pixels are accepted")
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, KinemaError):
            raise
        raise KinemaError(f"frame: it is not a JPEG picture ({error}): send one") from error
