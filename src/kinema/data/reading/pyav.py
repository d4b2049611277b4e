"""The differences between PyAV 14 and 19, so that the rest of this folder does not depend on the release.

| release | what it added or removed |
|---|---|
| 14.1 | `Stream.disposition` |
| 14.2 | `Codec.canonical_name` |
| 17.0 | `Stream.index_entries`, `CodecContext.reorder_depth`, `VideoReformatter.reformat(threads=…)` |
| 17.1 | `Stream.discard` |
| 18.1 | `CodecContext.field_order` |
| 19.0 | `av.open` without `metadata_errors`: metadata that is not UTF-8 no longer raises |

Without `index_entries` and `discard` files are read more slowly; the frames are the same.
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
# Decoders that are not named after their codec.
_CANONICAL = {
    "libdav1d": "av1",
    "libaom-av1": "av1",
    "libvpx": "vp8",
    "libvpx-vp9": "vp9",
    "msmpeg4": "msmpeg4v3",
    "flv": "flv1",
    "mpegvideo": "mpeg2video",
}

# For `VideoReformatter.reformat`: as many threads as there are cores would compete with the other readers.
ONE_THREAD: dict[str, Any] = {"threads": 1} if _MAJOR >= 17 else {}


def open_input(path: Path, **options: str) -> InputContainer:
    """Opens a local file for reading, whatever the encoding of its metadata.

    Args:
        path: the file.
        **options: of the container.

    Raises:
        av.FFmpegError: FFmpeg cannot open it.
    """
    arguments: dict[str, Any] = {"metadata_errors": "replace"} if _MAJOR < 19 else {}
    # An absolute path, because FFmpeg takes "a:b.mp4" for a protocol; local files only, because a playlist may name
    # addresses in the network.
    # Options of streams are not given here: PyAV 14 crashes with them where streams are found later (MPEG-PS).
    options = {"protocol_whitelist": "file", **options}
    return av.open(str(path.absolute()), container_options=options, **arguments)


def prepare(context: VideoCodecContext) -> None:
    """Lets a decoder refuse frames that are too large, before it takes memory for them, and damaged pictures of MJPEG.

    FFmpeg has nearly the same limit of its own, which also holds while it looks at the streams. Of a damaged JPEG it
    else shows the rest of the picture as it lay in memory, which may be another frame.
    """
    context.options = {"max_pixels": str(LARGEST_FRAME)}
    if canonical_name(context) == "mjpeg":
        context.options = {**context.options, "err_detect": "explode"}


def is_cover(container: InputContainer, stream: VideoStream) -> bool:
    """Whether a video stream is only a picture attached to something else, such as the cover of an album."""
    if hasattr(stream, "disposition"):
        return bool(stream.disposition & av.stream.Disposition.attached_pic)
    context = stream.codec_context
    return bool(context) and context.name in _PICTURE_CODECS and len(container.streams) > 1 and stream.frames <= 1


def leave_unread(container: InputContainer, wanted: VideoStream) -> None:
    """Tells FFmpeg to skip the packets of all other streams, where PyAV can."""
    for stream in container.streams:
        if stream is not wanted and hasattr(stream, "discard"):
            stream.discard = av.stream.Discard.all


def canonical_name(context: VideoCodecContext) -> str:
    """FFmpeg's name of the codec, not of the decoder."""
    name: str | None = getattr(context.codec, "canonical_name", None)
    return name or _CANONICAL.get(context.codec.name, context.codec.name)


def index_entries(stream: VideoStream) -> list[Any] | None:
    """FFmpeg's index of a stream, or None where PyAV does not show it."""
    entries = getattr(stream, "index_entries", None)
    return None if entries is None else list(entries)


def reorder_depth(context: VideoCodecContext) -> int:
    """How many frames the decoder may hold back to reorder them; 1 stands for any number where PyAV shows no more."""
    depth = getattr(context, "reorder_depth", None)
    return int(context.has_b_frames) if depth is None else int(depth)


def progressive(context: VideoCodecContext) -> bool:
    """Whether a stream is known to hold no interlaced pictures."""
    order = getattr(context, "field_order", None)
    if order is None:
        return is_progressive(canonical_name(context), context.extradata)
    return int(order) == 1


def new_header(packet: av.Packet) -> bytes | None:
    """The header that replaces the stream's from a packet on, or None; PyAV before 15 shows none."""
    if not hasattr(packet, "has_sidedata") or not packet.has_sidedata("new_extradata"):
        return None
    return bytes(packet.get_sidedata("new_extradata"))
