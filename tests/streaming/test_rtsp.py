"""`kinema stream rtsp://…` against GStreamer's RTSP server on loopback."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tiny import moving_square, write_video

from kinema.models import create_model
from kinema.recognizer import Recognizer
from kinema.streaming import open_source
from kinema.streaming.sources import Arrived

SYSTEM_PYTHON = "/usr/bin/python3"  # GStreamer's bindings come with the system, not from PyPI
SERVER = Path(__file__).with_name("rtsp_server.py")
ELEMENTS = "filesrc qtdemux rtph264pay"
PROBE = f"""
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
missing = [name for name in "{ELEMENTS}".split() if Gst.ElementFactory.find(name) is None]
assert not missing, missing
"""
PACKAGES = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
RATE = 12
LONGEST = 120  # seconds, after which the command is killed, so that a test fails instead of waiting for a line
pytestmark = pytest.mark.slow  # needs packages of the system, and their server to keep time


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        probe = subprocess.run([SYSTEM_PYTHON, "-c", PROBE], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        pytest.skip(f"no {SYSTEM_PYTHON}, which would run GStreamer's RTSP server")
    if probe.returncode:
        pytest.skip(f"GStreamer's RTSP server is not installed; on Debian: apt-get install {PACKAGES}")
    clips = [moving_square(np.random.default_rng(i), bool(i % 2), frames=12) for i in range(4)]
    return write_video(tmp_path_factory.mktemp("rtsp") / "film.mp4", np.concatenate(clips * 15), rate=RATE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(film: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that plays the film; it is killed at the end, with whoever is connected."""
    server = subprocess.Popen([SYSTEM_PYTHON, str(SERVER), str(film), str(port)], stderr=subprocess.DEVNULL)
    try:
        yield server
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = create_model("tsm_r18", num_classes=3, width=0.125, frames=4, causal=True)
    spec = model.clip_spec.replace(short_side=40, crop=32)
    return Recognizer(model.eval(), ("a", "b", "c"), spec).save(tmp_path_factory.mktemp("network") / "r")


def losses(stderr: Path, address: str) -> list[str]:
    return [line for line in stderr.read_text(encoding="utf-8").splitlines() if address in line]


def test_the_command_outlives_three_deaths_of_the_server_and_accounts_for_all_frames(
    film: Path, folder: Path, tmp_path: Path
) -> None:
    port = free_port()
    address = f"rtsp://127.0.0.1:{port}/live"
    words = [sys.executable, "-m", "kinema", "stream", str(folder), address, "--rate", str(RATE), "--json"]
    said = tmp_path / "stderr"
    with said.open("w", encoding="utf-8") as errors:
        command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert command.stdout is not None
        decisions = []
        watch = threading.Timer(LONGEST, command.kill)
        watch.start()
        try:
            for life in range(4):
                with serving(film, port):
                    fresh = 0  # decisions since the connection is there again
                    while fresh < 6:
                        decisions.append(json.loads(command.stdout.readline()))
                        fresh += len(losses(said, address)) >= life
                    if life == 3:
                        command.send_signal(signal.SIGINT)
                        *rest, last = map(json.loads, command.stdout.read().splitlines())
                        assert command.wait(30) == 0
        finally:
            watch.cancel()
            command.kill()
    decisions += rest
    times = [decision["time"] for decision in decisions]
    assert times == sorted(times)
    assert len(decisions) >= 24
    assert last["used"] - len(decisions) in (0, 1)  # the network may be at work on a frame when Ctrl-C comes
    assert last["arrived"] == last["used"] + last["skipped"] + last["dropped"]
    lines = losses(said, address)
    assert last["unreadable"] == len(lines) >= 3
    assert all("trying again in" in line for line in lines)


def test_its_frames_are_those_of_the_film_from_its_first_key_frame(film: Path) -> None:
    port = free_port()
    with serving(film, port):
        frames: list[Arrived] = []
        for event in open_source(f"rtsp://127.0.0.1:{port}/live", give_up=20).events():
            if isinstance(event, Arrived):
                frames.append(event)
            if len(frames) == 25:
                break
    assert np.diff([frame.time for frame in frames[1:]]) == pytest.approx(1 / RATE, abs=1e-3)
    shown = [event.pixels for event in open_source(str(film)).events() if isinstance(event, Arrived)]
    start = next(i for i, pixels in enumerate(shown) if np.array_equal(pixels, frames[0].pixels))
    assert all(np.array_equal(a.pixels, b) for a, b in zip(frames, shown[start:], strict=False))


@pytest.mark.parametrize("path", ["nothing", "live/2"])
def test_a_path_that_the_server_does_not_have_is_given_up_with_a_sentence(
    path: str, film: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kinema.cli import main

    port = free_port()
    address = f"rtsp://127.0.0.1:{port}/{path}"
    with serving(film, port):
        assert main(["stream", str(folder), address, "--rate", "4", "--json", "--give-up", "1"]) == 1
    out, err = capsys.readouterr()
    assert f"{address}: no frame for 1 s" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert json.loads(out)["arrived"] == 0
