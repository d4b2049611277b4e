"""Converts a decoded frame to the picture that a player shows: RGB, of one size, rotated as the file states."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from kinema.data.reading.pyav import ONE_THREAD

_UPRIGHT = (False, False, False)


class Picture:
    """Turns decoded frames into RGB arrays.

    Colours are those of FFmpeg's default conversion. Alpha is ignored. More than 8 bits are rounded to 8. Pixels are
    used as stored: a sample aspect ratio is not applied. A frame of another size than the stream declares (the size may
    change within a stream) is scaled to the declared size.

    Args:
        size: width and height that the stream declares, in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._width, self._height = size
        self._reformatter = VideoReformatter()  # kept, because setting up a conversion costs as much as the conversion
        self._turn: tuple[bool, bool, bool] | None = None  # whether to transpose, then to reverse rows and columns

    @property
    def is_known(self) -> bool:
        """True once a frame was seen; before, the rotation is unknown."""
        return self._turn is not None

    def look(self, frame: VideoFrame) -> None:
        """Reads the rotation of the stream's pictures from a frame."""
        if self._turn is None:
            self._turn = _turn(frame.side_data.get("DISPLAYMATRIX"))
            if not self._width or not self._height:
                self._width, self._height = frame.width, frame.height

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height as shown, in pixels."""
        transposed = self._turn is not None and self._turn[0]
        return (self._height, self._width) if transposed else (self._width, self._height)

    def rgb(self, frame: VideoFrame) -> np.ndarray:
        """Returns the frame as shown, uint8 [height, width, 3]; may be a view of the decoder's memory."""
        self.look(frame)
        array: np.ndarray = self._reformatter.reformat(
            frame, width=self._width, height=self._height, format="rgb24", **ONE_THREAD
        ).to_ndarray()
        transpose, upwards, leftwards = self._turn or _UPRIGHT
        if transpose:
            array = array.transpose(1, 0, 2)
        if upwards:
            array = array[::-1]
        return array[:, ::-1] if leftwards else array


def _turn(matrix: Any) -> tuple[bool, bool, bool]:
    """Returns whether a display matrix transposes and then reverses rows and columns; to the nearest right angle.

    For the matrix (a b; c d), a point (x, y) is shown at (a x + c y, b x + d y), up to a shift.
    """
    if matrix is None:
        return _UPRIGHT
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(np.int64).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0
