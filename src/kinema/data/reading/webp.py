"""`AnimatedPicture`: reads an animated WebP file with Pillow, because FFmpeg decodes it only from PyAV 19."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kinema.data.reading.decoder import Work
from kinema.data.reading.info import VideoInfo, is_variable
from kinema.data.reading.limits import check_size
from kinema.data.reading.progress import beat
from kinema.data.reading.video_file import VideoReader
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of

_UNTIMED = 100  # milliseconds for which browsers show a frame of duration 0
_MOST_FRAMES = 1_000_000


def is_animated_webp(path: Path) -> bool:
    """True if a file begins like an animated WebP file, whatever its name.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) > 20 and bool(head[20] & 2)


class AnimatedPicture(VideoReader):
    """Reads frames of an animated WebP file by number.

    Each frame is what a browser shows: partial frames are drawn over the previous ones. Transparency is dropped.

    Args:
        path: the file.

    Raises:
        UnreadableVideo: the file cannot be read, is cut off, or contains no frame.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = self.file = Path(path)
        self.converted = 0
        with on_behalf_of(self.path):
            self._size, durations = _contents(self.path)
        check_size(self.path, *self._size)
        self.times = np.concatenate([[0.0], np.cumsum(durations[:-1])]) / 1000
        self.duration = sum(durations) / 1000
        self.stored = len(durations)
        self._image: Image.Image | None = None

    @property
    def work(self) -> Work:
        """Not counted: Pillow decodes from the start whenever it goes back."""
        return Work()

    @property
    def info(self) -> VideoInfo:
        """Information about the animation."""
        frames = len(self.times)
        period = float(self.times[-1]) / (frames - 1) if frames > 1 else self.duration
        return VideoInfo(
            path=str(self.path),
            frames=frames,
            fps=1 / period,
            duration=self.duration,
            width=self._size[0],
            height=self._size[1],
            codec="webp",
            variable_rate=is_variable(self.times, 0.001),
            has_audio=False,
        )

    def read(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Reads frames by number, like `VideoReader.read`."""
        order = self._inside(indices)
        clip = torch.empty((len(order), self._size[1], self._size[0], 3), dtype=torch.uint8)
        for index, picture in self.frames(order):
            clip.numpy()[order == index] = picture
        return clip

    def frames(self, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields frames one at a time, like `VideoReader.frames`."""
        return self._decoded(np.unique(self._inside(indices)).tolist())

    def _decoded(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in wanted:
            beat()
            try:
                if self._image is None:
                    self._image = Image.open(self.file, formats=["WEBP"])
                self._image.seek(index)
                picture = np.asarray(self._image.convert("RGB"))
            except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
                reason = f"frame {index} of {len(self)} cannot be decoded ({error}): copy or download it again"
                raise UnreadableVideo(self.path, reason) from error
            self.converted += 1
            yield index, picture

    def close(self) -> None:
        """Closes the file."""
        if self._image is not None:
            self._image.close()


def _contents(path: Path) -> tuple[tuple[int, int], list[int]]:
    """Returns width and height of the picture, and the duration of every frame in milliseconds."""
    durations: list[int] = []
    with path.open("rb") as file:
        end = path.stat().st_size
        head = file.read(30)
        declared = int.from_bytes(head[4:8], "little") + 8
        size = int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        at = 12
        while at + 8 <= end:
            file.seek(at)
            chunk = file.read(24)
            length = int.from_bytes(chunk[4:8], "little")
            if chunk[:4] == b"ANMF" and at + 8 + length <= end:
                durations.append(int.from_bytes(chunk[20:23], "little") or _UNTIMED)
                if len(durations) > _MOST_FRAMES:
                    raise UnreadableVideo(path, f"it has more than {_MOST_FRAMES} frames: cut it into parts")
            at += 8 + length + length % 2
    if declared > end:
        found = f"it contains {end} of {declared} bytes and {len(durations)} complete frames"
        raise UnreadableVideo(path, f"the file is truncated: {found}: copy or download it again")
    if not durations:
        raise UnreadableVideo(path, "the animation contains no frame: save it again")
    return size, durations
