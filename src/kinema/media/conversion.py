"""Conversion of any video file to H.264 in MP4, with decoding in a separate process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableSequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from multiprocessing import RawArray
from pathlib import Path

import numpy as np
from PIL import Image

from kinema.data.loading.calls import call_each
from kinema.data.loading.limits import ReadLimits
from kinema.data.video import FrameFolder, VideoReader, open_video
from kinema.data.video_writer import Pixels, write_mp4
from kinema.errors import KinemaError, UnreadableVideo
from kinema.files import replace_file
from kinema.media.limits import UploadLimits

_CLOCK = Fraction(1, 90_000)  # seconds per tick; divides the frame intervals of all common rates
_LARGEST = 1280  # longest side in pixels
_CHUNK = 8  # frames that are kept in memory at once


@dataclass(frozen=True)
class Converted:
    """A video that a browser can play.

    Attributes:
        seconds: its duration.
        width: pixels, even.
        height: pixels, even.
        frames: number of frames.
        lost: number of frames that could not be decoded; each repeats the previous frame.
    """

    seconds: float
    width: int
    height: int
    frames: int
    lost: int


def convert(
    source: Path, target: Path, limits: UploadLimits, *, name: str, reading: ReadLimits | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Converted:  # fmt: skip
    """Writes a video as H.264 in MP4 without sound. Every frame keeps its time; the long side is at most 1280 pixels.

    The decoder runs in a separate process: a file that makes it crash, hang or allocate without bound raises an error
    here.

    Args:
        source: a file that `check_file` has accepted.
        target: the MP4 file; replaced in one step.
        limits: limits of its duration and frame size.
        name: the visitor's name of the file, for messages.
        reading: limits of decoding; default: 3 seconds per second of `limits.seconds`, at least 60.
        progress: called several times per second with the number of finished frames and their total, 0 while it is not
            known; an exception that it raises ends the decoder.

    Raises:
        UnreadableVideo: no frame can be decoded, or the video exceeds a limit.
    """
    cost = reading or ReadLimits(seconds=max(60.0, 3 * limits.seconds))
    done: MutableSequence[float] = RawArray("d", 2)  # finished frames and their total, from the decoding process
    task = partial(_convert, target=target, limits=limits, name=name, done=done)

    def watch() -> None:
        if progress is not None:
            progress(done[0], done[1])

    try:
        (answer,) = call_each(task, [str(source)], _failed, workers=1, limits=cost, watch=watch)
    finally:
        for part in target.parent.glob(f".{target.name}.*"):  # left by a decoder that was ended or crashed
            part.unlink(missing_ok=True)
    if isinstance(answer, str):
        raise UnreadableVideo(name, answer.replace(str(source), name))
    return answer


def _failed(reason: str) -> Converted | str:
    return reason


def _convert(
    source: str, *, target: Path, limits: UploadLimits, name: str, done: MutableSequence[float]
) -> Converted | str:
    """Returns the conversion, or the reason for its failure; runs in the decoding process."""
    try:
        with open_video(source) as reader:
            info = reader.info
            limits.check_picture(name, info.width, info.height)
            limits.check_duration(name, info.duration)
            return _write(reader, target, done)
    except UnreadableVideo as error:
        return error.reason
    except KinemaError as error:
        return str(error)


def _write(reader: VideoReader | FrameFolder, target: Path, done: MutableSequence[float]) -> Converted:
    width, height = reader.info.width, reader.info.height
    factor = min(1.0, _LARGEST / max(width, height))
    size = (max(2, round(width * factor) // 2 * 2), max(2, round(height * factor) // 2 * 2))
    count = len(reader)
    done[1] = count
    steps = np.arange(count)
    ticks = np.round(reader.times / float(_CLOCK)).astype(np.int64) - steps
    stamps = np.maximum.accumulate(ticks) + steps  # each later than the previous one
    end = max(round(reader.duration / _CLOCK), int(stamps[-1]) + 1)
    lost: list[int] = []

    def fill(part: Path) -> None:
        write_mp4(part, _pictures(reader, size, lost, done), stamps=stamps, end=end, clock=_CLOCK, size=size)

    replace_file(target, fill)
    if len(lost) == count:
        target.unlink()
        raise UnreadableVideo(str(target), "no frame can be decoded: send another file")
    return Converted(float(reader.duration), *size, count, len(lost))


def _pictures(
    reader: VideoReader | FrameFolder, size: tuple[int, int], lost: list[int], done: MutableSequence[float]
) -> Iterator[Pixels]:
    """Yields all frames in order. An unreadable frame repeats the previous one; at the beginning it is black."""
    last: Pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for first in range(0, len(reader), _CHUNK):
        done[0] = first
        numbers = range(first, min(first + _CHUNK, len(reader)))
        there: dict[int, Pixels] = {}
        try:
            for number, picture in reader.frames(list(numbers)):
                image = Image.fromarray(picture)
                there[number] = np.asarray(image.resize(size) if image.size != size else image).copy()
        except UnreadableVideo:
            pass  # counted below
        for number in numbers:
            if number not in there:
                lost.append(number)
            last = there.get(number, last)
            yield last
