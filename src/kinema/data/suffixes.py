"""The suffixes of video files."""

from __future__ import annotations

# fmt: off
SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".wmv", ".asf",
    ".flv", ".f4v", ".3gp", ".ogv", ".vob", ".divx", ".h264", ".264", ".hevc", ".h265", ".mjpeg", ".mjpg", ".ivf",
    ".y4m", ".gif", ".apng", ".webp", ".avif",
))
# fmt: on
