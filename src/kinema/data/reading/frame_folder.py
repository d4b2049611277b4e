"""`FrameFolder`: reads a folder of JPEG or PNG frames as if it were a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from PIL import Image, ImageOps

from kinema.data.reading.frame_sequence import frame_sequence
from kinema.data.reading.info import VideoInfo
from kinema.data.reading.limits import check_size
from kinema.data.reading.progress import beat
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of

_ORIENTATION = 0x0112  # EXIF; values of 5 and above exchange width and height


def frame_names(folder: Path) -> list[str]:
    """Returns the names of the frames of a folder, in the order of their numbers (see `frame_sequence.choose`).

    Raises:
        UnreadableVideo: there are none, or more than one possible sequence.
    """
    return list(frame_sequence(folder).names)


class FrameFolder:
    """Reads frames of a folder by their position in the sequence of file names (see `frame_sequence`).

    Pictures become RGB with 8 bits, alpha is dropped, and the rotation that a camera wrote into a JPEG is applied.

    Args:
        path: the folder.
        fps: frames per second, which a folder does not state.

    Raises:
        UnreadableVideo: the folder contains no JPEG or PNG file, or more than one possible sequence of frames.
    """

    def __init__(self, path: str | Path, fps: float = 30.0) -> None:
        self.path = Path(path)
        with on_behalf_of(self.path):
            if not self.path.is_dir():
                raise UnreadableVideo(path, "there is no such folder")
            self._names = frame_names(self.path)
        self._fps = fps
        self._info: VideoInfo | None = None
        self.times = np.arange(len(self._names)) / fps
        self.duration = len(self._names) / fps
        self.stored = len(self._names)

    def __enter__(self) -> FrameFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def info(self) -> VideoInfo:
        """Information about the frames; reads the header of every file.

        Raises:
            UnreadableVideo: a file is not a picture, or its size differs from that of the first one.
        """
        if self._info is None:
            sizes = [self._size(name) for name in self._names]
            for name, size in zip(self._names, sizes, strict=True):
                self._compare(name, size, sizes[0])
            width, height = sizes[0]
            suffix = Path(self._names[0]).suffix.lower()
            self._info = VideoInfo(
                path=str(self.path),
                frames=len(self._names),
                fps=self._fps,
                duration=self.duration,
                width=width,
                height=height,
                codec="png" if suffix == ".png" else "mjpeg",
                variable_rate=False,
                has_audio=False,
            )
        return self._info

    def read(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Reads frames by number, in any order, repeats allowed; only these files and the first one are opened.

        Args:
            indices: whole numbers in [0, frames).

        Returns:
            uint8 [len(indices), height, width, 3], RGB.

        Raises:
            UnreadableVideo: a file is not a picture, or its size differs from that of the first one.
            IndexError: a number is outside [0, frames).
        """
        order = self._inside(indices)
        width, height = self._size(self._names[0])
        clip = torch.empty((len(order), height, width, 3), dtype=torch.uint8)
        for index, picture in self.frames(order):
            clip.numpy()[order == index] = picture
        return clip

    def frames(self, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields frames one at a time, so that a caller can scale each and drop it before the next is opened.

        Args:
            indices: whole numbers in [0, frames), in any order; repeats count once.

        Returns:
            An iterator over (frame index, uint8 [height, width, 3] RGB), ascending.

        Raises:
            UnreadableVideo: while iterating: a file is not a picture, or its size differs from that of the first one.
            IndexError: a number is outside [0, frames).
        """
        return self._pictures(np.unique(self._inside(indices)).tolist())

    def _inside(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        order = np.asarray(indices, np.int64).reshape(-1)
        if len(order) and not (order.min() >= 0 and order.max() < len(self)):
            raise IndexError(
                f"{self.path}: frames {order.min()} to {order.max()} were requested, but there are {len(self)}"
            )
        return order

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        if not wanted:
            return
        first = self._size(self._names[0])
        for index in wanted:
            beat()
            picture = self._picture(self._names[index])
            self._compare(self._names[index], (picture.shape[1], picture.shape[0]), first)
            yield index, picture

    def _compare(self, name: str, size: tuple[int, int], first: tuple[int, int]) -> None:
        if size != first:
            raise UnreadableVideo(
                self.path,
                f"frame {name} has {size[0]} x {size[1]} pixels but {self._names[0]} has {first[0]} x {first[1]}: "
                "give all frames the same size",
            )

    def _size(self, name: str) -> tuple[int, int]:
        with self._opened(name) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            return (image.height, image.width) if turned else (image.width, image.height)

    def _picture(self, name: str) -> np.ndarray:
        with self._opened(name) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
                return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
            return np.asarray(image.convert("RGB"))

    @contextmanager
    def _opened(self, name: str) -> Iterator[Image.Image]:
        try:
            with Image.open(self.path / name) as image:
                check_size(self.path, image.width, image.height)
                yield image
        except UnreadableVideo:
            raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if isinstance(error, OSError) and error.errno:  # the file system's error, not Pillow's
                reason = f"frame {name} cannot be read ({error.strerror}): check its permissions and the disk"
            else:
                reason = f"frame {name} is not a complete JPEG or PNG picture ({error}): replace it"
            raise UnreadableVideo(self.path, reason) from error

    def close(self) -> None:
        """Does nothing, because no file stays open; exists so that folders and files have the same interface."""
