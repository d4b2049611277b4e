"""Wanted frames of a video on their way from the decoder to clips: each is cut immediately, and none is kept whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.data.transforms import Box, cut
from kinema.data.video import FrameFolder, VideoReader


class Pictures:
    """The frames that one or more clips show; the first one is decoded here, to find its size.

    It needs memory for the decoder, one picture, and the cut parts: a clip of 32 frames of an 8K video takes no more
    memory than decoding it.

    Args:
        reader: an open video.
        frames: int64 of any shape: frame indices, in any order, repeats allowed, at least one.

    Attributes:
        height: height of the pictures, in pixels.
        width: width of the pictures, in pixels.

    Raises:
        UnreadableVideo: none of the frames can be read.
    """

    def __init__(self, reader: VideoReader | FrameFolder, frames: NDArray[np.integer[Any]]) -> None:
        self._shape = frames.shape
        self._order, self._places = np.unique(frames, return_inverse=True)
        self._coming = reader.frames(self._order)
        self._first: tuple[int, NDArray[np.uint8]] | None = next(self._coming)
        self.height, self.width = self._first[1].shape[:2]

    def cut(self, boxes: Sequence[Box], size: int, *, flip: bool = False) -> Tensor:
        """Cuts boxes from every frame and scales them; can be called only once.

        Args:
            boxes: parts to cut.
            size: height and width of the results, in pixels.
            flip: mirror left and right.

        Returns:
            uint8 `boxes … size size 3`, where … stands for the shape of `frames`.

        Raises:
            UnreadableVideo: a frame is missing or damaged.
        """
        cuts = torch.empty((len(boxes), len(self._order), size, size, 3), dtype=torch.uint8)
        place_of = {int(frame): place for place, frame in enumerate(self._order)}
        while (found := self._next()) is not None:
            index, picture = found
            for number, box in enumerate(boxes):
                part = picture[box.top : box.top + box.height, box.left : box.left + box.width]
                # Copied, because the picture may be read-only, mirrored, or memory that the decoder reuses.
                whole = Box(0, 0, box.height, box.width)
                cuts[number, place_of[index]] = cut(torch.from_numpy(part.copy())[None], whole, size, flip)[0]
        if np.array_equal(self._places.reshape(-1), np.arange(self._places.size)):
            return cuts.view(len(boxes), *self._shape, size, size, 3)
        return cuts[:, torch.from_numpy(self._places.reshape(self._shape))]

    def _next(self) -> tuple[int, NDArray[np.uint8]] | None:
        """Returns the next frame without keeping a reference to it; None after the last one."""
        found, self._first = self._first, None
        return next(self._coming, None) if found is None else found
