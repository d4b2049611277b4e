"""A decoded frame as the picture that a player shows: RGB, of one size, turned as the file says."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter


class Picture:
    """Turns decoded frames into RGB arrays.

    Colours are those of FFmpeg's default conversion; of pixel formats with alpha the colours count and the alpha does
    not; more than 8 bits are rounded to 8. Pixels are taken as they are stored: a sample aspect ratio is not applied.
    A frame of another size than the stream declares (the size may change within a stream) is scaled to it.

    Args:
        size: width and height that the stream declares, pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._width, self._height = size
        self._reformatter = VideoReformatter()  # kept: setting up a conversion costs as much as the conversion
        self._matrix: np.ndarray | None = None

    @property
    def is_known(self) -> bool:
        """Whether a frame was seen, without which nobody knows how the picture is turned."""
        return self._matrix is not None

    def look(self, frame: VideoFrame) -> None:
        """Learns from a frame how the stream's pictures are turned."""
        if self._matrix is None:
            stored: Any = frame.side_data.get("DISPLAYMATRIX")
            entries = np.eye(3, dtype=np.int32) if stored is None else np.frombuffer(bytes(stored), np.int32)
            self._matrix = entries.reshape(3, 3)[:2, :2].copy()
            if not self._width or not self._height:
                self._width, self._height = frame.width, frame.height

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height as shown, pixels."""
        return (self._height, self._width) if self._is_transposed() else (self._width, self._height)

    def _is_transposed(self) -> bool:
        assert self._matrix is not None
        straight, crossed = np.abs(np.diag(self._matrix)).sum(), np.abs(np.diag(self._matrix[::-1])).sum()
        return bool(crossed > straight)

    def rgb(self, frame: VideoFrame) -> np.ndarray:
        """The frame as shown, uint8 [height, width, 3]; may be a view of the decoder's memory."""
        self.look(frame)
        assert self._matrix is not None
        array: np.ndarray = self._reformatter.reformat(
            frame, width=self._width, height=self._height, format="rgb24", threads=1
        ).to_ndarray()
        # A point (x, y) is shown at (a x + c y, b x + d y), for the matrix (a b; c d), up to a shift.
        (a, b), (c, d) = self._matrix
        if self._is_transposed():
            array, right, down = array.transpose(1, 0, 2), c, b
        else:
            right, down = a, d
        return array[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
