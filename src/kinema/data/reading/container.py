"""Opens a file and finds its video stream, or says in one sentence why this fails."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from kinema.data.reading.boxes import why_truncated
from kinema.data.reading.limits import check_size
from kinema.data.reading.pyav import is_cover, leave_unread, open_input
from kinema.errors import UnreadableVideo

# Files of these formats contain addresses and names of other files, and would show the pictures in those.
_PLAYLISTS = frozenset(("hls", "concat", "dash", "sdp", "rtsp", "imf", "webm_dash_manifest", "avisynth", "vapoursynth"))
_STILLS = frozenset(b"ftyp" + brand for brand in (b"avif", b"heic", b"heix", b"mif1"))  # "avis", "hevc" are videos


def open_video_stream(path: Path) -> tuple[InputContainer, VideoStream]:
    """Opens the container and returns its best video stream. Cover pictures do not count; other streams are not read.

    Raises:
        UnreadableVideo: there is no file, it is not a video, or it contains no video.
    """
    if not path.exists():
        raise UnreadableVideo(path, "there is no such file")
    if not path.is_file():
        raise UnreadableVideo(path, "it is neither a file nor a folder of frames")
    if path.stat().st_size == 0:
        raise UnreadableVideo(path, "the file is empty (0 bytes): copy or download it again")
    try:
        container = open_input(path)
    except av.FFmpegError as error:
        raise UnreadableVideo(path, _truncated(path) or _why_not_opened(error)) from error
    if container.format.name == "tty":  # FFmpeg draws any text file as a video of its letters
        container.close()
        raise UnreadableVideo(path, "it is a text file, not a video")
    if not _PLAYLISTS.isdisjoint(container.format.name.split(",")):
        container.close()
        raise UnreadableVideo(path, "it is a list of other files, not a video: give the files in the list")
    if _is_picture(path, container):
        container.close()
        raise UnreadableVideo(path, "it is a single picture, not a video: give the folder that contains all pictures")
    videos = [s for s in container.streams.video if not is_cover(container, s)]
    best = container.streams.best("video")
    stream = best if best in videos else next(iter(videos), None)
    if stream is None or stream.codec_context is None:
        holds = "sound but no video" if container.streams.audio else f"no video ({container.format.long_name})"
        container.close()
        truncated = None if container.streams.audio else _truncated(path)
        if stream is not None:
            raise UnreadableVideo(path, truncated or "no decoder for its video codec is installed: convert it to H.264")
        raise UnreadableVideo(path, truncated or f"it contains {holds}")
    try:
        check_size(path, stream.codec_context.width, stream.codec_context.height)
    except UnreadableVideo:
        container.close()
        raise
    leave_unread(container, stream)
    return container, stream


def _is_picture(path: Path, container: InputContainer) -> bool:
    """True if FFmpeg opened it as a picture: `image2`, or formats such as `jpeg_pipe`, which also match MJPEG files."""
    if container.format.name.startswith("mov"):
        with path.open("rb") as file:
            return file.read(12)[4:] in _STILLS
    if not container.format.name.endswith("_pipe"):
        return container.format.name == "image2"
    with open_input(path) as again:  # packets read from the first one would be missing afterwards
        return sum(packet.size > 0 for packet, _ in zip(again.demux(), range(2), strict=False)) < 2


def _truncated(path: Path) -> str | None:
    missing = why_truncated(path)
    return None if missing is None else f"{missing}: copy or download it again"


def _why_not_opened(error: av.FFmpegError) -> str:
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        return "it is not a video file, or its beginning is damaged: copy or download it again"
    return f"it cannot be opened ({error.strerror})"
