"""Sources of frames: a camera, an address, a file, a pipe, or a folder that receives video files."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import ETIMEDOUT
from math import inf
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from kinema.data.clutter import is_clutter
from kinema.data.paths import locate, nearest_name
from kinema.data.reading.container import open_video_stream
from kinema.data.reading.picture import Picture
from kinema.data.video import SUFFIXES
from kinema.errors import KinemaError, RunError, UnreadableVideo

_ADDRESS = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|srt|rtp)://", re.IGNORECASE)
_CAMERA = re.compile(r"(?:camera:)?(\d+)|/dev/video(\d+)")
_CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "{}")}
PATIENCE = 10.0  # seconds without a byte after which a connection is considered broken
GIVE_UP = 60.0  # seconds without a frame after which a reconnecting source gives up
_BACK_OFF = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt; the last value repeats
_SETTLED = 1.0  # seconds without a change of size after which a file in a folder is considered complete
_JUMP = 10.0  # a larger gap in seconds between two frames means that the time stamps have restarted


@dataclass(frozen=True)
class Arrived:
    """A frame of a source.

    Attributes:
        pixels: uint8 H W 3, in display orientation; the size may change from frame to frame.
        time: seconds from the first frame, by the time stamps of the source; never decreases.
    """

    pixels: NDArray[np.uint8]
    time: float


@dataclass(frozen=True)
class Lost:
    """A part of a source that could not be read; the source continues.

    Attributes:
        reason: the reason, in a sentence.
    """

    reason: str


Event = Arrived | Lost


@dataclass(frozen=True)
class Source:
    """A stream of frames.

    Attributes:
        name: the name given by the user.
        live: whether the source cannot wait, so that a slow consumer misses frames.
        events: yields frames and losses until the source ends; called once.
    """

    name: str
    live: bool
    events: Callable[[], Iterator[Event]]


def open_source(text: str, *, realtime: bool = False, give_up: float = GIVE_UP, idle: float | None = None) -> Source:
    """Opens a source for `kinema stream`: a camera, an address, a file, a folder or standard input.

    Args:
        text: a camera (`0`, `camera:0`, `/dev/video0`), an address (`rtsp://…`, `http://…`, `udp://…`), a video file,
            `-` for standard input, or a folder into which video files are written.
        realtime: reads a file at its playback speed, like a camera; no effect on other sources.
        give_up: seconds without a frame after which an address ends with an error.
        idle: seconds without a new file after which a folder is considered complete; None waits forever.

    Returns:
        The source; give it to `kinema.streaming.reader.SourceReader`.

    Raises:
        KinemaError: there is no such camera, file or folder, or the times are not above 0.
    """
    if not give_up > 0 or (idle is not None and not idle > 0):
        raise KinemaError(f"give_up {give_up}, idle {idle}: give seconds above 0")
    if text == "-":
        return Source("standard input", True, lambda: _clocked(_pipe(sys.stdin.buffer)))
    if _ADDRESS.match(text):
        return Source(text, True, lambda: _clocked(_address(text, give_up)))
    camera = _CAMERA.fullmatch(text)
    if camera is not None and not Path(text).is_file():
        return _open_camera(text, int(camera[1] or camera[2]))
    path = locate(Path(), text)
    if path.is_dir():
        return Source(text, False, lambda: _clocked(_folder(path, idle)))
    if not path.exists():
        raise KinemaError(
            f"{text}: there is no such file, folder, camera or address{nearest_name(path)}: check the name"
        )
    open_video_stream(path)[0].close()  # reports a problem with the file immediately
    if realtime:
        return Source(text, True, lambda: _paced(_clocked(_file(path))))
    return Source(text, False, lambda: _clocked(_file(path)))


def _open_camera(text: str, number: int) -> Source:
    form, pattern = _CAMERAS.get(sys.platform, _CAMERAS["linux"])
    device = pattern.format(number)
    if form == "v4l2" and not Path(device).exists():
        there = sorted(str(path) for path in Path("/dev").glob("video*"))
        raise KinemaError(
            f"{text}: there is no camera {device}; "
            + (f"choose from {', '.join(there)}" if there else "connect a camera, or give this account access to it")
        )
    if form not in av.formats_available:
        raise KinemaError(f"{text}: this build of FFmpeg (PyAV {av.__version__}) cannot open cameras ({form})")

    def events() -> Iterator[Event]:
        try:
            container = av.open(device, format=form, timeout=PATIENCE)
        except (av.FFmpegError, OSError) as error:
            raise RunError(
                f"{text}: the camera {device} cannot be opened ({error.strerror}): close other programs that use it"
            ) from error
        yield from _clocked(_decoded(container))
        raise RunError(f"{text}: the camera {device} delivers no more frames: check that it is connected")

    return Source(text, True, events)


Timed = tuple[VideoFrame, NDArray[np.uint8]] | Lost


def _decoded(container: InputContainer, patience: float = inf) -> Iterator[Timed]:
    """Yields the frames of an open container and the losses, and closes it at the end. Frames may differ in size.

    Raises:
        TimeoutError: data came for `patience` seconds, but no frame.
    """
    picture: Picture | None = None
    size = (0, 0)
    seen = time.monotonic()
    with container:
        if not container.streams.video:
            raise KinemaError(f"{container.name}: it contains no video: give another source")
        stream = container.streams.video[0]
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                return
            except av.error.InvalidDataError as error:
                yield Lost(f"a part of it cannot be decoded ({error.strerror})")
                frames = []
            for frame in frames:
                if not isinstance(frame, VideoFrame):
                    continue
                if picture is None or (frame.width, frame.height) != size:
                    size = (frame.width, frame.height)
                    picture = Picture(size)
                yield frame, np.ascontiguousarray(picture.rgb(frame))
                seen = time.monotonic()
            if time.monotonic() - seen > patience:
                raise TimeoutError(ETIMEDOUT, "it sends data, but no frame can be decoded")


def _clocked(frames: Iterator[Timed]) -> Iterator[Event]:
    """Gives every frame a time from the first one, which continues if time stamps are missing or restart."""
    last_stamp: float | None = None
    first, now, step = True, 0.0, 1 / 25
    for found in frames:
        if isinstance(found, Lost):
            yield found
            continue
        frame, pixels = found
        stamp = frame.time
        if first or last_stamp is None or stamp is None:
            now += 0.0 if first else step
        elif 0 <= stamp - last_stamp <= _JUMP:
            step = stamp - last_stamp or step
            now += stamp - last_stamp
        else:
            now += step
        first, last_stamp = False, stamp if stamp is not None else last_stamp
        yield Arrived(pixels, now)


def _paced(events: Iterator[Event]) -> Iterator[Event]:
    """Delays every frame until its playback time."""
    began = time.monotonic()
    for event in events:
        if isinstance(event, Arrived):
            time.sleep(max(0.0, event.time - (time.monotonic() - began)))
        yield event


def _file(path: Path) -> Iterator[Timed]:
    container, _ = open_video_stream(path)
    yield from _decoded(container)


def _pipe(stream: IO[bytes]) -> Iterator[Timed]:
    try:
        container = av.open(stream, mode="r")
    except (av.FFmpegError, OSError) as error:
        raise KinemaError(
            f"standard input: it is not a video that can be read as a stream "
            f"({error}); give another format, such as Matroska"
        ) from error
    yield from _decoded(container)


def _address(text: str, give_up: float) -> Iterator[Timed]:
    """Reconnects whenever the connection breaks; raises an error after `give_up` seconds without a frame."""
    # Analyse the stream for one second, not five. The analysed part is then decoded at once, and the queue drops late
    # frames. The flag nobuffer would lose its key frame: no frame could be decoded until the next one.
    options: dict[str, Any] = {"analyzeduration": "1000000"}
    if text.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    last, tries = time.monotonic(), 0
    why = "it ended"
    while True:
        try:
            for frame in _decoded(av.open(text, options=options, timeout=PATIENCE), give_up):
                if not isinstance(frame, Lost):
                    last, tries = time.monotonic(), 0
                yield frame
            why = "it ended"
        except (av.FFmpegError, OSError) as error:
            why = error.strerror or type(error).__name__
        pause = _BACK_OFF[min(tries, len(_BACK_OFF) - 1)]
        tries += 1
        if time.monotonic() + pause - last > give_up:
            raise RunError(
                f"{text}: no frame for {give_up:g} s ({why}): check the address, and that the source is sending"
            )
        yield Lost(f"the connection broke ({why}), trying again in {pause:g} s")
        time.sleep(pause)


def _folder(path: Path, idle: float | None) -> Iterator[Timed]:
    """Yields the video files of a folder in the order in which they were written, each once it is complete."""
    done: set[str] = set()
    last = time.monotonic()
    while True:
        waiting = False
        for file in _new_files(path, done):
            if time.time() - file.stat().st_mtime < _SETTLED:
                waiting = True
                break  # the following files are newer
            done.add(file.name)
            last = time.monotonic()
            try:
                yield from _file(file)
            except UnreadableVideo as error:
                yield Lost(f"{file.name}: {error.reason}")
        if idle is not None and not waiting and time.monotonic() - last > idle:
            return
        time.sleep(0.2)


def _new_files(path: Path, done: set[str]) -> list[Path]:
    found = []
    for file in path.iterdir():
        if file.name not in done and file.suffix.lower() in SUFFIXES and not is_clutter(file.name) and file.is_file():
            found.append((file.stat().st_mtime, file.name, file))
    return [file for *_, file in sorted(found)]
