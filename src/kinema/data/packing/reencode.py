"""Re-encodes one video as a small file that decodes fast from any position: scaled down, with frequent keyframes."""

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

# Without B frames, arithmetic coding and deblocking, a clip decodes in less than half the time. The constant quality
# compensates for the loss, at the cost of a larger file. Without x264's macroblock tree, the same pictures always give
# the same bytes: with it, up to a third of the runs differed at widths of 4, 6 and 9 macroblocks.
_X264 = {"preset": "veryfast", "tune": "fastdecode", "crf": "22", "bf": "0", "x264-params": "mbtree=0"}
_CLOCK = 90_000  # ticks per second of the file's timestamps, for any constant or variable frame rate
_CHUNK = 64 * 2**20  # bytes of frames in memory at a time


@dataclass(frozen=True)
class Reencoded:
    """Properties of the written file.

    Attributes:
        frames: number of frames, equal to that of the source.
        width: width, in pixels.
        height: height, in pixels.
        size: size of the file, in bytes.
    """

    frames: int
    width: int
    height: int
    size: int


def reencode(source: str | Path, target: Path, *, short_side: int = 256, gop: int = 12) -> Reencoded:
    """Writes a video as H.264 in MP4, upright, without sound, every frame at its time; pictures are not enlarged.

    The file is read back before it replaces the target: it must have as many frames, at the same times to 1/90000 s.

    Args:
        source: a video file, or a folder of frames (at 30 frames per second).
        target: the file; an existing file is replaced in one step.
        short_side: short side of the picture, in pixels, even; a smaller source keeps its size (an odd side loses one
            pixel, because 4:2:0 pictures have even sides).
        gop: largest distance between keyframes, in frames.

    Raises:
        UnreadableVideo: a frame of the source is not readable, the source is 1 pixel wide, or the written file differs.
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
                if isinstance(error, OSError):  # an error of the disk
                    raise
                raise UnreadableVideo(source, f"cannot be encoded ({error.strerror})") from error

        replace_file(target, write)
    return Reencoded(len(stamps), width, height, target.stat().st_size)


def packed_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Returns width and height of the written picture: even, and never larger than the source's."""
    scale = min(1.0, short_side / min(width, height))
    shrunk = [min(side // 2 * 2, 2 * round(side * scale / 2)) for side in (width, height)]
    return shrunk[0], shrunk[1]


def _stamps(times: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Returns times as ticks, each later than the previous one: an encoder rejects two frames at the same time."""
    ticks = np.round((times - times[0]) * _CLOCK).astype(np.int64)
    steps = np.arange(len(ticks))
    return np.maximum.accumulate(ticks - steps) + steps


def _encode(
    reader: VideoReader | FrameFolder, part: Path, stamps: npt.NDArray[np.int64], size: tuple[int, int], gop: int
) -> None:
    with av.open(str(part.absolute()), "w", format="mp4") as container:
        # A hint for the encoder's rate control: only the timestamps say when a frame is shown.
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
                if packet.pts in ends:  # otherwise the last frame would get the duration of the previous one
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
    """Yields all frames as shown, uint8 H W 3."""
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
        raise UnreadableVideo(source, f"only {same} of its {len(wanted)} frames are the same in the packed file")
