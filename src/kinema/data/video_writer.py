"""Writes MP4 and GIF files picture by picture, each at its time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace, VideoReformatter
from PIL import Image

from kinema.data.reading.pyav import ONE_THREAD
from kinema.errors import RunError

Pixels = npt.NDArray[np.uint8]

# A short look-ahead limits the pictures that the encoder holds. With B frames, the length of the file would follow the
# decoding order, which cuts a last picture that is shown for long.
_X264 = {"preset": "veryfast", "crf": "20", "bf": "0", "x264-params": "rc-lookahead=10"}
_BT709, _BT601, _LIMITED = 1, 6, 1  # FFmpeg's numbers for transfer and primaries, matrix, range
_HUNDREDTH = Fraction(1, 100)  # the clock of GIF, in seconds
_SHORTEST = 2  # hundredths of a second: browsers show a shorter GIF picture for ten
GIF_WIDTH = 640  # pixels


def write_mp4(
    path: Path, pictures: Iterable[Pixels], *, stamps: Sequence[int] | npt.NDArray[np.int64], end: int,
    clock: Fraction, size: tuple[int, int],
) -> None:  # fmt: skip
    """Writes H.264 in MP4, 4:2:0 with 8 bits, without sound, with the index first so that browsers start at once.

    Args:
        path: the file.
        pictures: uint8 RGB `H W 3`, one per timestamp.
        stamps: ticks at which the pictures are shown, strictly ascending.
        end: end of the last picture, in ticks.
        clock: seconds per tick.
        size: width and height, even.

    Raises:
        OSError: the file cannot be written.
        RunError: the encoder fails.
    """
    ends = _ends(stamps, end)
    try:
        with av.open(
            str(path.absolute()), "w", format="mp4", container_options={"movflags": "+faststart"}
        ) as container:
            seconds = float((end - int(stamps[0])) * clock)
            # A hint for the encoder's rate control: only the timestamps say when a picture is shown.
            rate = Fraction(len(stamps) / max(seconds, 1e-3)).limit_denominator(1001)
            stream = container.add_stream("libx264", rate=max(rate, Fraction(1, 1001)), options=_X264)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.time_base = clock
            context.colorspace, context.color_range = _BT601, _LIMITED
            context.color_primaries, context.color_trc = _BT709, _BT709
            reformatter = VideoReformatter()

            def mux(packets: list[av.Packet]) -> None:
                for packet in packets:
                    if packet.pts in ends:  # otherwise the last picture gets the length of the previous one
                        packet.duration = ends[packet.pts] - packet.pts
                    container.mux(packet)

            for stamp, picture in zip(np.asarray(stamps).tolist(), pictures, strict=True):
                frame = reformatter.reformat(
                    av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"), *size, "yuv420p",
                    dst_colorspace=Colorspace.ITU601, **ONE_THREAD,
                )  # fmt: skip
                frame.pts, frame.time_base = stamp, clock
                mux(stream.encode(frame))
            mux(stream.encode(None))
    except av.FFmpegError as error:
        raise _said(path, error) from error


def gif_times(
    stamps: Sequence[int] | npt.NDArray[np.int64], end: int, clock: Fraction
) -> tuple[list[int], list[int], int]:
    """Chooses the pictures that a GIF can show, and their times.

    Returns:
        Indices of the pictures that are kept, the times at which they are shown in hundredths of a second, and the end.
        A picture that would be shown for less than 0.02 s is left out.
    """
    places, times = [0], [0]
    last = max(_SHORTEST, round(Fraction(end - int(stamps[0])) * clock / _HUNDREDTH))
    for place, stamp in enumerate(stamps[1:], 1):
        time = round(Fraction(int(stamp) - int(stamps[0])) * clock / _HUNDREDTH)
        if time - times[-1] >= _SHORTEST and last - time >= _SHORTEST:
            places.append(place)
            times.append(time)
    return places, times, last


def write_gif(path: Path, pictures: Iterable[Pixels], *, times: Sequence[int], end: int, size: tuple[int, int]) -> None:
    """Writes a GIF that repeats forever; every picture has its own 256 colours, and few are in memory at once.

    Args:
        path: the file.
        pictures: uint8 RGB `H W 3`, one per time.
        times: hundredths of a second at which the pictures are shown, ascending, at least 2 apart.
        end: end of the last picture, in hundredths of a second.
        size: width and height.

    Raises:
        OSError: the file cannot be written.
        RunError: the encoder fails.
    """
    ends = _ends(times, end)
    options = {"loop": "0", "final_delay": str(end - times[-1])}
    try:
        with av.open(str(path.absolute()), "w", format="gif", container_options=options) as container:
            stream = container.add_stream("gif", rate=100)
            stream.width, stream.height = size
            stream.pix_fmt = "pal8"
            stream.codec_context.time_base = _HUNDREDTH
            for time, picture in zip(times, pictures, strict=True):
                frame = _indexed(picture)
                frame.pts, frame.time_base = time, _HUNDREDTH
                for packet in stream.encode(frame):
                    if packet.pts in ends:
                        packet.duration = ends[packet.pts] - packet.pts
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
    except av.FFmpegError as error:
        raise _said(path, error) from error


def _indexed(picture: Pixels) -> av.VideoFrame:
    """Converts a picture to one with a palette."""
    image = Image.fromarray(picture).quantize(256, dither=Image.Dither.NONE)
    palette = np.zeros((256, 4), np.uint8)
    listed = np.asarray(image.getpalette(), np.uint8).reshape(-1, 3)
    palette[:, 0] = 255  # alpha, as the order in memory is A R G B
    palette[: len(listed), 1:] = listed
    indexed: Any = (np.asarray(image), palette)  # PyAV's type annotations omit this form
    return av.VideoFrame.from_ndarray(indexed, format="pal8")


def _ends(stamps: Sequence[int] | npt.NDArray[np.int64], end: int) -> dict[int, int]:
    return dict(pairwise([*np.asarray(stamps).tolist(), end]))


def _said(path: Path, error: av.FFmpegError) -> Exception:
    """Returns an error of the disk unchanged, and an error of FFmpeg as a `RunError`."""
    return error if isinstance(error, OSError) else RunError(f"{path}: cannot be encoded ({error.strerror})")
