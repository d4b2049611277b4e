"""One video as a small file that decodes fast from anywhere: short side scaled down, a keyframe every few frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from kinema.data.reading.pyav import ONE_THREAD
from kinema.data.video import FrameFolder, VideoReader, open_video
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of, replace_file

# Without B frames, arithmetic coding and deblocking a clip decodes in less than half the time; the constant quality
# makes up for what they would have given, at the price of a larger file. Without x264's macroblock tree the same
# pictures always give the same bytes: with it, up to a third of the runs differed at widths of 4, 6 and 9 macroblocks.
_X264 = {"preset": "veryfast", "tune": "fastdecode", "crf": "22", "bf": "0", "x264-params": "mbtree=0"}
_CLOCK = 90_000  # ticks a second of the file's stamps, for frame rates of every kind and none
_CHUNK = 64 * 2**20  # bytes of whole frames that are held at once


@dataclass(frozen=True)
class Reencoded:
    """What was written.

    Attributes:
        frames: as many as the source has.
        width: pixels.
        height: pixels.
        size: of the file, bytes.
    """

    frames: int
    width: int
    height: int
    size: int


def reencode(source: str | Path, target: Path, *, short_side: int = 256, gop: int = 12) -> Reencoded:
    """Writes a video as H.264 in MP4, upright, without sound, with every frame at its time; nothing is enlarged.

    The file is read back before it takes its place: as many frames, at the same times to a tick of 1/90000 s.

    Args:
        source: a video file or a folder of frames (which has 30 a second).
        target: the file; what stands there is replaced in one step.
        short_side: of the picture in pixels, even; a smaller source keeps its size (an odd side loses one pixel, for
            4:2:0 pictures have even sides).
        gop: frames from one keyframe to the next, at most.

    Raises:
        UnreadableVideo: a frame of the source cannot be had, it is a pixel wide, or the file came back different.
        RunError: the file cannot be written.
    """
    with on_behalf_of(source):
        reader = open_video(source)
    with reader:
        with on_behalf_of(source):
            width, height = packed_size(reader.info.width, reader.info.height, short_side)
        if not width or not height:
            raise UnreadableVideo(source, f"{reader.info.width}x{reader.info.height} pixels are too few for a video")
        stamps = _stamps(reader.times)

        def write(part: Path) -> None:
            try:
                _encode(reader, part, stamps, (width, height), gop)
                _check(source, part, stamps, (width, height))
            except av.FFmpegError as error:
                if isinstance(error, OSError):  # the disk's
                    raise
                raise UnreadableVideo(source, f"it cannot be encoded ({error.strerror})") from error

        replace_file(target, write)
    return Reencoded(len(stamps), width, height, target.stat().st_size)


def packed_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height of the written picture: even, never larger than the source's."""
    scale = min(1.0, short_side / min(width, height))
    shrunk = [min(side // 2 * 2, 2 * round(side * scale / 2)) for side in (width, height)]
    return shrunk[0], shrunk[1]


def _stamps(times: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Times as ticks, each later than the one before: an encoder refuses two frames at once."""
    ticks = np.round((times - times[0]) * _CLOCK).astype(np.int64)
    steps = np.arange(len(ticks))
    return np.maximum.accumulate(ticks - steps) + steps


def _encode(
    reader: VideoReader | FrameFolder, part: Path, stamps: npt.NDArray[np.int64], size: tuple[int, int], gop: int
) -> None:
    with av.open(str(part.absolute()), "w", format="mp4") as container:
        # A hint for the encoder's rate control: the stamps alone say when a frame is shown.
        rate = max(Fraction(1, 1001), Fraction(reader.info.fps).limit_denominator(1001))
        stream = container.add_stream("libx264", rate=rate, options=_X264)
        stream.width, stream.height = size
        stream.pix_fmt, stream.gop_size = "yuv420p", gop
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        reformatter = VideoReformatter()
        ends = dict(pairwise([*stamps.tolist(), max(round(reader.duration * _CLOCK), int(stamps[-1]) + 1)]))

        def mux(packets: list[av.Packet]) -> None:
            for packet in packets:
                if packet.pts in ends:  # else the last frame would get the length of the one before it
                    packet.duration = ends[packet.pts] - packet.pts
                container.mux(packet)

        for stamp, picture in zip(stamps.tolist(), _pictures(reader), strict=True):
            frame = reformatter.reformat(
                av.VideoFrame.from_ndarray(picture, format="rgb24"), *size, "yuv420p",
                interpolation="BICUBIC", **ONE_THREAD,
            )  # fmt: skip
            frame.pts, frame.time_base = stamp, Fraction(1, _CLOCK)
            mux(stream.encode(frame))
        mux(stream.encode(None))


def _pictures(reader: VideoReader | FrameFolder) -> Iterator[npt.NDArray[np.uint8]]:
    """All frames as shown, uint8 H W 3."""
    step = max(1, _CHUNK // (reader.info.width * reader.info.height * 3))
    for begin in range(0, len(reader), step):
        with on_behalf_of(reader.path):
            pictures = reader.read(np.arange(begin, min(begin + step, len(reader)))).numpy()
        yield from pictures


def _check(source: str | Path, part: Path, stamps: npt.NDArray[np.int64], size: tuple[int, int]) -> None:
    with av.open(str(part), format="mp4") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        tick = stream.time_base or Fraction(1, _CLOCK)
        found = [((frame.pts or 0) * tick, frame.width, frame.height) for frame in container.decode(stream)]
    wanted = [(Fraction(stamp, _CLOCK), *size) for stamp in stamps.tolist()]
    if found != wanted:
        same = sum(a == b for a, b in zip(found, wanted, strict=False))
        raise UnreadableVideo(source, f"{same} of its {len(wanted)} frames came back from the packed file")
