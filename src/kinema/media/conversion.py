"""Any video file as H.264 in MP4, decoded in a separate process."""

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

_CLOCK = Fraction(1, 90_000)  # seconds of a tick: hits the frames of all usual rates
_LARGEST = 1280  # pixels of the longer side that a page shows
_CHUNK = 8  # frames that are held at once


@dataclass(frozen=True)
class Converted:
    """A video that a browser plays.

    Attributes:
        seconds: how long it is.
        width: pixels, even.
        height: pixels, even.
        frames: how many it shows.
        lost: frames that could not be decoded; each shows the one before it.
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
    """Writes a video as H.264 in MP4 without sound, every frame at its own time, at most 1280 pixels wide or high.

    The decoder runs in a separate process: a file that crashes it, hangs it or makes it allocate without bound gives
    an error here.

    Args:
        source: a file that `check_file` has accepted.
        target: the MP4 file; replaced in one step.
        limits: on its length and the size of its pictures.
        name: that the visitor knows the file by, for messages.
        reading: what decoding may cost; default: 3 seconds per second of `limits.seconds`, at least 60.
        progress: called several times a second with the frames that are done and their number, 0 while that is not
            known; what it raises ends the decoder.

    Raises:
        UnreadableVideo: nothing of it can be decoded, or it is beyond a limit.
    """
    cost = reading or ReadLimits(seconds=max(60.0, 3 * limits.seconds))
    done: MutableSequence[float] = RawArray("d", 2)  # frames done and in all, from the process that decodes
    task = partial(_convert, target=target, limits=limits, name=name, done=done)

    def watch() -> None:
        if progress is not None:
            progress(done[0], done[1])

    try:
        (answer,) = call_each(task, [str(source)], _failed, workers=1, limits=cost, watch=watch)
    finally:
        for part in target.parent.glob(f".{target.name}.*"):  # of a decoder that was ended or has crashed
            part.unlink(missing_ok=True)
    if isinstance(answer, str):
        raise UnreadableVideo(name, answer.replace(str(source), name))
    return answer


def _failed(reason: str) -> Converted | str:
    return reason


def _convert(
    source: str, *, target: Path, limits: UploadLimits, name: str, done: MutableSequence[float]
) -> Converted | str:
    """The conversion, or why there is none, in the process that decodes."""
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
    stamps = np.maximum.accumulate(ticks) + steps  # each later than the one before
    end = max(round(reader.duration / _CLOCK), int(stamps[-1]) + 1)
    lost: list[int] = []

    def fill(part: Path) -> None:
        write_mp4(part, _pictures(reader, size, lost, done), stamps=stamps, end=end, clock=_CLOCK, size=size)

    replace_file(target, fill)
    if len(lost) == count:
        target.unlink()
        raise UnreadableVideo(str(target), "no frame of it can be decoded: send another file")
    return Converted(float(reader.duration), *size, count, len(lost))


def _pictures(
    reader: VideoReader | FrameFolder, size: tuple[int, int], lost: list[int], done: MutableSequence[float]
) -> Iterator[Pixels]:
    """All frames in order; one that cannot be read shows the one before it, and black at the beginning."""
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
