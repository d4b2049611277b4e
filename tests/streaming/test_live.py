"""Streams from their sources to decisions."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from tiny import moving_square, write_video

from kinema.cli import main
from kinema.data.transforms import cut, to_input
from kinema.data.transforms import test_boxes as boxes_of
from kinema.errors import RunError
from kinema.models import create_model
from kinema.recognizer import Recognizer
from kinema.streaming import Live, open_source
from kinema.streaming.live import Decision, Pace, recognise
from kinema.streaming.reader import SourceReader
from kinema.streaming.sources import Arrived, Event, Lost, Source

RATE = 12


@pytest.fixture
def film(tmp_path: Path) -> Path:
    frames = [moving_square(np.random.default_rng(i), bool(i % 2), frames=12) for i in range(4)]
    return write_video(tmp_path / "a film.mp4", np.concatenate(frames), rate=RATE)


def recognizer(name: str = "stm_r18", **options: object) -> Recognizer:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, width=0.125, frames=4, dropout=0.0, **options)
    torch.nn.init.normal_(model.classifier.weight)
    spec = model.clip_spec.replace(short_side=40, crop=32)
    return Recognizer(model.eval(), ("a", "b", "c"), spec)


def decisions(source: Source, live: Live, **more: float) -> tuple[list[Decision], list[Lost], SourceReader]:
    with SourceReader(source) as reader:
        found = list(recognise(reader, live, **more))
    return [f for f in found if isinstance(f, Decision)], [f for f in found if isinstance(f, Lost)], reader


def pictures(source: Source) -> list[Arrived]:
    return [event for event in source.events() if isinstance(event, Arrived)]


def test_windows_are_those_of_the_offline_network(film: Path) -> None:
    """Invariant 13: the ring of frames gives what the network gives for the same window, the first frame repeated."""
    some = recognizer()
    live = Live(some, rate=RATE, average="none")
    assert live.mode == "window"
    found, lost, reader = decisions(open_source(str(film)), live)
    frames = [frame.pixels for frame in pictures(open_source(str(film)))]
    assert (len(found), lost, reader.tally.arrived, reader.tally.used) == (48, [], 48, 48)
    box = boxes_of(48, 48, some.spec, 1)[0]
    for i in (0, 2, 3, 30, 47):
        window = np.stack([frames[max(0, j)] for j in range(i - 3, i + 1)])
        scores = some.scores(cut(torch.from_numpy(window), box, 32, flip=False)[None])[0]
        expected = {label: float(s) for label, s in zip(some.labels, scores, strict=True)}
        assert dict(found[i].top_k) == pytest.approx(expected, abs=1e-5)
        assert found[i].time == pytest.approx(i / RATE, abs=1e-3)


def test_steps_are_those_of_the_whole_film_and_delayed_ones_too(film: Path) -> None:
    frames = torch.stack([torch.from_numpy(frame.pixels) for frame in pictures(open_source(str(film)))])
    for causal, mode in ((True, "auto"), (False, "delayed")):
        some = recognizer(causal=causal)
        live = Live(some, rate=RATE, average="none", mode=mode)  # type: ignore[arg-type]
        assert live.mode == ("step" if causal else "delayed")
        found, *_ = decisions(open_source(str(film)), live)
        clip = to_input(cut(frames, boxes_of(48, 48, some.spec, 1)[0], 32, flip=False)[None], some.spec)
        with torch.no_grad():
            logits = some.model.classifier(some.model.pool_frames(some.model.forward_features(clip)))[0]
        assert len(found) == 48
        for decision, row in zip(found, logits.softmax(1), strict=True):
            assert [dict(decision.top_k)[label] for label in some.labels] == pytest.approx(row.tolist(), abs=1e-4)
        assert [d.time for d in found] == pytest.approx([i / RATE for i in range(48)], abs=1e-3)


def test_frames_are_taken_by_their_times_at_any_rate(film: Path) -> None:
    """Half the rate of the film takes every second frame, and so where the rate changes midway."""
    found, _, reader = decisions(open_source(str(film)), Live(recognizer(), rate=RATE / 2))
    assert [round(d.time * RATE) for d in found] == list(range(0, 48, 2))
    assert (reader.tally.used, reader.tally.skipped) == (24, 24)

    def changing() -> Iterator[Event]:
        times = [*np.arange(0, 2, 1 / 30), *np.arange(2, 4, 1 / 10), *np.arange(4, 6, 1 / 50)]
        yield from (Arrived(np.zeros((48, 48 + 16 * (t > 3), 3), np.uint8), float(t)) for t in times)

    found, *_ = decisions(Source("changing", False, changing), Live(recognizer(), rate=5))
    gaps = np.diff([d.time for d in found])
    assert len(found) == 30
    assert gaps.min() > 0.13
    assert gaps.max() < 0.27


@pytest.mark.parametrize("rate", [12, 24, 29.97, 30, 59.94, 60])
def test_no_frame_is_missed_where_times_are_rounded_to_milliseconds(rate: float) -> None:
    pace = Pace(rate)
    times = np.round(np.arange(600) / rate, 3)
    assert all(map(pace.wants, times.tolist()))
    half = Pace(rate / 2)
    assert [half.wants(time) for time in times.tolist()] == [i % 2 == 0 for i in range(600)]


def test_averages(film: Path) -> None:
    some = recognizer()
    plain = [dict(d.top_k)["a"] for d in decisions(open_source(str(film)), Live(some, rate=RATE, average="none"))[0]]
    for average, expected in (
        ("mean", np.mean(plain)),
        ("last:5", np.mean(plain[-5:])),
        ("ema:0.5", None),
    ):
        last = dict(decisions(open_source(str(film)), Live(some, rate=RATE, average=average))[0][-1].top_k)["a"]
        if expected is None:
            expected = plain[0]
            for i, value in enumerate(plain[1:], 2):
                expected += max(0.5, 1 / i) * (value - expected)
        assert last == pytest.approx(expected, abs=1e-5)


def test_a_live_source_drops_the_oldest_and_every_frame_is_counted() -> None:
    def fast() -> Iterator[Event]:
        for i in range(300):
            yield Arrived(np.zeros((48, 48, 3), np.uint8), i / 100)
            if i == 150:
                yield Lost("a moment of darkness")

    found, lost, reader = decisions(Source("fast", True, fast), Live(recognizer(), rate=100))
    tally = reader.tally
    assert tally.arrived == 300 == tally.used + tally.dropped + tally.skipped
    assert tally.dropped > 0
    assert (len(lost), tally.unreadable, tally.used) == (1, 1, len(found))
    assert found[-1].time > 2.8  # the newest frames are the ones that are left


def test_errors_come_after_what_was_there() -> None:
    def broken() -> Iterator[Event]:
        yield Arrived(np.zeros((48, 48, 3), np.uint8), 0.0)
        raise RunError("the camera is gone")

    seen = []
    with pytest.raises(RunError, match="camera is gone"), SourceReader(Source("broken", True, broken)) as reader:
        seen.extend(recognise(reader, Live(recognizer(), rate=5)))
    assert len(seen) == 1


def test_a_folder_that_fills(film: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    content = film.read_bytes()

    def fill() -> None:
        for i in range(3):
            time.sleep(0.3)
            with (folder / f"{i}.mp4").open("wb") as file:
                file.write(content[: len(content) // 2])
                file.flush()
                time.sleep(0.3)
                file.write(content[len(content) // 2 :])
        (folder / "notes.txt").write_text("no video")
        (folder / "broken.mp4").write_bytes(b"nothing")

    thread = threading.Thread(target=fill)
    thread.start()
    found = list(open_source(str(folder), idle=2.5).events())
    thread.join()
    frames = [event for event in found if isinstance(event, Arrived)]
    assert len(frames) == 3 * 48
    assert [type(event) for event in found].count(Lost) == 1
    gaps = np.diff([frame.time for frame in frames])
    assert gaps.min() >= 0
    assert gaps.max() < 0.2  # time goes on from file to file


SERVER = """
import sys, time, av, numpy as np
port, gop = sys.argv[1:]
with av.open(f"tcp://127.0.0.1:{port}?listen=1", "w", format="mpegts") as out:
    stream = out.add_stream("libx264", rate=12, options={"preset": "ultrafast", "tune": "zerolatency", "g": gop})
    stream.width = stream.height = 48
    stream.pix_fmt = "yuv420p"
    for i in range(10000):
        for packet in stream.encode(av.VideoFrame.from_ndarray(np.full((48, 48, 3), i % 250, np.uint8))):
            if i or gop == "6":
                out.mux(packet)
        time.sleep(1 / 24)
"""


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serving(port: int, key_frame_every: int = 6) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", SERVER, str(port), str(key_frame_every)]
    return subprocess.Popen(words, stderr=subprocess.DEVNULL)


def test_an_address_is_connected_again_and_given_up_in_the_end() -> None:
    """FFmpeg listens and sends; it is killed three times in mid-stream, and then does not come back."""
    port, found, lost = free_port(), [], []

    def serve() -> None:
        for _ in range(4):
            before = len(found)
            server = serving(port)
            while len(found) < before + 10 and server.poll() is None:
                time.sleep(0.05)
            server.kill()
            server.wait()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with pytest.raises(RunError, match=rf"127.0.0.1:{port}: no frame for 12 s"):
        for event in open_source(f"tcp://127.0.0.1:{port}", give_up=12).events():
            (lost if isinstance(event, Lost) else found).append(event)
    thread.join()
    assert len(found) >= 40
    assert all(a.time <= b.time for a, b in pairwise(found))
    assert sum("broke" in loss.reason for loss in lost) >= 3


def test_an_address_that_sends_data_without_a_frame_is_given_up() -> None:
    """The key frame went by before, and no other comes."""
    port = free_port()
    server = serving(port, key_frame_every=9999)
    try:
        time.sleep(2)  # the server listens
        with pytest.raises(RunError, match=rf"127.0.0.1:{port}: no frame for 3 s .*no frame can be decoded"):
            list(open_source(f"tcp://127.0.0.1:{port}", give_up=3).events())
    finally:
        server.kill()
        server.wait()


def write_transport_stream(film: Path) -> Path:
    path = film.with_suffix(".ts")
    with av.open(str(film)) as source, av.open(str(path), "w", format="mpegts") as out:
        copy = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    return path


def test_http(film: Path) -> None:
    """The server ends each answer after the film; the source asks again and time goes on."""
    write_transport_stream(film)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(film.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a%20film.ts"
        events = list(islice(open_source(address, give_up=20).events(), 60))
        server.shutdown()
    frames = [event for event in events if isinstance(event, Arrived)]
    assert [type(event) for event in events].index(Lost) == 48
    assert len(frames) == 59
    assert np.diff([frame.time for frame in frames]) == pytest.approx(1 / RATE, abs=1e-3)


def test_a_pipe(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = write_transport_stream(film)

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    class Input:
        buffer = Pipe(stream.read_bytes())

    monkeypatch.setattr(sys, "stdin", Input())
    assert len(pictures(open_source("-"))) == 48


def test_a_camera_by_a_fake_device(monkeypatch: pytest.MonkeyPatch, film: Path) -> None:
    """There is no camera where the tests run: FFmpeg is given a file where it would be given the device."""
    opened = []
    plain = av.open

    def fake(device: str, **options: object) -> object:
        opened.append((device, options["format"]))
        return plain(str(film))

    monkeypatch.setattr("kinema.streaming.sources.Path.exists", lambda path: True)
    monkeypatch.setattr("kinema.streaming.sources.av.open", fake)
    monkeypatch.setattr("kinema.streaming.sources.av.formats_available", {"v4l2", "avfoundation", "dshow"})
    source = open_source("camera:1")
    assert source.live
    events = source.events()
    assert sum(1 for _, _ in zip(range(48), events, strict=False)) == 48
    with pytest.raises(RunError, match="no more frames"):
        next(events)
    assert opened[0][0].endswith("1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/dev/video77"], "/dev/video77"),
        (["nothing.mp4"], "nothing.mp4"),
        (["{film}", "--rate", "0"], "rate is 0"),
        (["{film}"], "--rate"),
        (["{film}", "--rate", "5", "--mode", "stepp"], "step"),
        (["{film}", "--rate", "5", "--mode", "step"], "causal=True"),
        (["{film}", "--rate", "5", "--average", "median"], "median"),
        (["{film}", "--rate", "5", "--queue", "0"], "--queue 0"),
        (["{film}", "--rate", "5", "--give-up", "0"], "give_up 0"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], said: str, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recognizer().save(tmp_path / "r")
    assert main(["stream", str(folder), *(word.format(film=film) for word in words)]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err
    assert "Traceback" not in err


def test_the_command(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = recognizer(causal=True).save(tmp_path / "r")
    assert main(["stream", str(folder), str(film), "--rate", "6", "--json", "--top-k", "2"]) == 0
    *lines, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(lines) == 24
    assert set(lines[0]) == {"time", "label", "score", "top_k", "latency"}
    assert last["arrived"] == 48 == last["used"] + last["dropped"] + last["skipped"]
    assert last["unreadable"] == 0
    assert last["latency_p95"] > 0
    assert main(["stream", str(folder), str(film), "--rate", "6", "--seconds", "1"]) == 0
    out = capsys.readouterr()
    assert len(out.out.splitlines()) == 7
    assert "arrived" in out.err
