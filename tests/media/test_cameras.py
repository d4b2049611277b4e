"""Frames of a visitor's camera: what is recognised, what is refused, and that visitors have states of their own."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinema import ClipSpec, create_model
from kinema.errors import KinemaError
from kinema.media.cameras import MOST_BYTES, Cameras, decode_jpeg
from kinema.media.sessions import Session, Sessions
from kinema.recognizer import Recognizer


def recognizer(*, causal: bool = False) -> Recognizer:
    model = create_model("tsm_r18", num_classes=2, frames=4, width=0.125, causal=causal)
    return Recognizer(model.eval(), ("a", "b"), ClipSpec(frames=4, short_side=32, crop=32))


def jpeg(seed: int = 0, size: tuple[int, int] = (48, 36), form: str = "JPEG") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, form)
    return file.getvalue()


@pytest.fixture
def visitors(tmp_path: Path) -> tuple[Session, Session]:
    sessions = Sessions(tmp_path)
    return sessions.find(sessions.new()), sessions.find(sessions.new())


def test_windows_give_the_scores_of_the_clip(visitors: tuple[Session, Session]) -> None:
    one, network, cameras = visitors[0], recognizer(), Cameras()
    begun = cameras.begin(one, network)
    assert begun["mode"] == "window" and begun["interval"] == pytest.approx(0.5)
    frames = [jpeg(i) for i in range(5)]
    for i, frame in enumerate(frames):
        said = cameras.feed(one, begun["key"], frame, i / 2)
    from kinema.streaming.live import Live

    live = Live(network, rate=2.0, mode="window", average="none")
    for i, frame in enumerate(frames):
        found = live.feed(decode_jpeg(frame), i / 2)
    assert found is not None
    scores = found[1]
    assert said["label"] == network.labels[int(scores.argmax())]
    assert said["score"] == pytest.approx(float(scores.max()), abs=1e-6)
    assert said["rate"] > 0 and said["seconds"] > 0 and len(said["top"]) == 2


def test_networks_that_stream_see_each_frame_once(visitors: tuple[Session, Session]) -> None:
    cameras = Cameras()
    begun = cameras.begin(visitors[0], recognizer(causal=True))
    assert begun["mode"] == "step"
    assert cameras.feed(visitors[0], begun["key"], jpeg(), 0.0)["label"] in ("a", "b")


def test_visitors_have_states_of_their_own(visitors: tuple[Session, Session]) -> None:
    cameras, network = Cameras(), recognizer()
    one, two = (cameras.begin(visitor, network)["key"] for visitor in visitors)
    alone = cameras.feed(visitors[0], one, jpeg(0), 0.0)["score"]
    for i in range(4):
        cameras.feed(visitors[1], two, jpeg(7 + i), i / 2)
    cameras.begin(visitors[0], network)
    with pytest.raises(KinemaError, match="no longer open"):
        cameras.feed(visitors[0], one, jpeg(0), 1.0)
    with pytest.raises(KinemaError, match="no longer open"):
        cameras.feed(visitors[0], two, jpeg(0), 1.0)
    again = cameras.begin(visitors[0], network)["key"]
    assert cameras.feed(visitors[0], again, jpeg(0), 0.0)["score"] == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", jpeg(form="PNG"), jpeg()[:400], bytes(MOST_BYTES + 1), jpeg(size=(4000, 1000))],
    ids=["empty", "text", "png", "cut", "long", "large"],
)
def test_frames_that_are_refused_leave_the_camera_as_it_was(data: bytes, visitors: tuple[Session, Session]) -> None:
    cameras = Cameras()
    key = cameras.begin(visitors[0], recognizer())["key"]
    with pytest.raises(KinemaError, match="frame"):
        cameras.feed(visitors[0], key, data, 0.0)
    assert cameras.feed(visitors[0], key, jpeg(), 0.0)["label"] in ("a", "b")
    for time in (0.0, -1.0, float("nan")):
        with pytest.raises(KinemaError, match="time"):
            cameras.feed(visitors[0], key, jpeg(), time)


def test_cameras_beyond_the_limit_are_refused_until_one_is_silent(visitors: tuple[Session, Session]) -> None:
    now = [0.0]
    cameras, network = Cameras(1, clock=lambda: now[0]), recognizer()
    cameras.begin(visitors[0], network)
    cameras.begin(visitors[0], network)  # takes its own place
    with pytest.raises(KinemaError, match="1 camera"):
        cameras.begin(visitors[1], network)
    now[0] = 60.0
    cameras.begin(visitors[1], network)
    cameras.end(visitors[1])
    cameras.begin(visitors[0], network)
