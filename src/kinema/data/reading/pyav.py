"""The differences between PyAV 14 and 19, so that the rest of this folder does not depend on the release.

| release | what it added or removed |
|---|---|
| 14.1 | `Stream.disposition` |
| 14.2 | `Codec.canonical_name` |
| 17.0 | `Stream.index_entries`, `CodecContext.reorder_depth`, `VideoReformatter.reformat(threads=…)` |
| 17.1 | `Stream.discard` |
| 18.1 | `CodecContext.field_order` |
| 19.0 | `av.open` without `metadata_errors`: metadata that is not UTF-8 no longer raises |

Without `index_entries` and `discard`, files are read more slowly; the frames are the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from kinema.data.reading.limits import LARGEST_FRAME
from kinema.data.reading.sequence import is_progressive

_MAJOR = int(av.__version__.split(".")[0])
_PICTURE_CODECS = frozenset(("mjpeg", "png", "bmp", "webp", "gif"))
# Decoders that do not have the name of their codec.
_CANONICAL = {
    "libdav1d": "av1",
    "libaom-av1": "av1",
    "libvpx": "vp8",
    "libvpx-vp9": "vp9",
    "msmpeg4": "msmpeg4v3",
    "flv": "flv1",
    "mpegvideo": "mpeg2video",
}

# For `VideoReformatter.reformat`: the default, as many threads as cores, would compete with the other readers.
ONE_THREAD: dict[str, Any] = {"threads": 1} if _MAJOR >= 17 else {}


def open_input(path: Path, **options: str) -> InputContainer:
    """Opens a local file for reading, with metadata in any encoding.

    Args:
        path: the file.
        **options: options of the container.

    Raises:
        av.FFmpegError: FFmpeg cannot open it.
    """
    arguments: dict[str, Any] = {"metadata_errors": "replace"} if _MAJOR < 19 else {}
    # An absolute path, because FFmpeg reads "a:b.mp4" as a protocol; only local files, because a playlist may contain
    # network addresses.
    # No stream options are given here: PyAV 14 crashes with them if streams are found later (MPEG-PS).
    options = {"protocol_whitelist": "file", **options}
    return av.open(str(path.absolute()), container_options=options, **arguments)


def prepare(context: VideoCodecContext) -> None:
    """Makes a decoder reject frames that are too large, before it allocates memory, and damaged MJPEG pictures.

    FFmpeg has nearly the same size limit, which also applies while it probes the streams. For a damaged JPEG, it would
    otherwise show old memory in the rest of the picture, which may be another frame.
    """
    context.options = {"max_pixels": str(LARGEST_FRAME)}
    if canonical_name(context) == "mjpeg":
        context.options = {**context.options, "err_detect": "explode"}


def is_cover(container: InputContainer, stream: VideoStream) -> bool:
    """True if a video stream is only an attached picture, such as an album cover."""
    if hasattr(stream, "disposition"):
        return bool(stream.disposition & av.stream.Disposition.attached_pic)
    context = stream.codec_context
    return bool(context) and context.name in _PICTURE_CODECS and len(container.streams) > 1 and stream.frames <= 1


def leave_unread(container: InputContainer, wanted: VideoStream) -> None:
    """Makes FFmpeg skip the packets of all other streams, if PyAV can."""
    for stream in container.streams:
        if stream is not wanted and hasattr(stream, "discard"):
            stream.discard = av.stream.Discard.all


def canonical_name(context: VideoCodecContext) -> str:
    """Returns FFmpeg's name of the codec, not of the decoder."""
    name: str | None = getattr(context.codec, "canonical_name", None)
    return name or _CANONICAL.get(context.codec.name, context.codec.name)


def index_entries(stream: VideoStream) -> list[Any] | None:
    """Returns FFmpeg's index of a stream, or None if PyAV does not expose it."""
    entries = getattr(stream, "index_entries", None)
    return None if entries is None else list(entries)


def reorder_depth(context: VideoCodecContext) -> int:
    """Returns how many frames the decoder may hold back to reorder them; 1 means any number if PyAV exposes no more."""
    depth = getattr(context, "reorder_depth", None)
    return int(context.has_b_frames) if depth is None else int(depth)


def progressive(context: VideoCodecContext) -> bool:
    """True if a stream is known to contain no interlaced pictures."""
    order = getattr(context, "field_order", None)
    if order is None:
        return is_progressive(canonical_name(context), context.extradata)
    return int(order) == 1


def new_header(packet: av.Packet) -> bytes | None:
    """The header that replaces the stream's from a packet on, or None; PyAV before 15 shows none."""
    if not hasattr(packet, "has_sidedata") or not packet.has_sidedata("new_extradata"):
        return None
    return bytes(packet.get_sidedata("new_extradata"))
