from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from data.odd_videos import HEIGHT, WIDTH, write_video

from kinema.data.reading.picture import Picture


def moved_by_matrix(stored: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Every pixel put where the display matrix sends it, (x, y) to (a x + c y, b x + d y), shifted into view."""
    (a, b), (c, d) = np.sign(matrix[:2, :2])
    ys, xs = np.mgrid[: stored.shape[0], : stored.shape[1]]
    right, down = a * xs + c * ys, b * xs + d * ys
    right, down = right - right.min(), down - down.min()
    shown = np.zeros((down.max() + 1, right.max() + 1, 3), np.uint8)
    shown[down, right] = stored
    return shown


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_all_eight_turns(tmp_path: Path, degrees: int, flip: bool) -> None:
    path = write_video(tmp_path / "a.mp4", frames=1, turn=(degrees, flip))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    stored = frame.to_ndarray(format="rgb24")
    side = frame.side_data.get("DISPLAYMATRIX")
    matrix = np.eye(3, dtype=np.int32) if side is None else np.frombuffer(bytes(side), np.int32).reshape(3, 3)
    if not flip:
        assert np.array_equal(moved_by_matrix(stored, matrix), np.rot90(stored, degrees // 90))
    picture = Picture((WIDTH, HEIGHT))
    assert np.array_equal(picture.rgb(frame), moved_by_matrix(stored, matrix))
    assert picture.shown_size == ((HEIGHT, WIDTH) if degrees % 180 else (WIDTH, HEIGHT))


def test_reusing_the_conversion_changes_no_bit(tmp_path: Path) -> None:
    for name, codec, pix_fmt in (
        ("a.mp4", "libx264", "yuv420p10le"),
        ("b.mkv", "ffv1", "yuv444p"),
        ("c.avi", "mjpeg", "yuvj422p"),
    ):
        picture = Picture((WIDTH, HEIGHT))
        path = write_video(tmp_path / name, codec, frames=6, pix_fmt=pix_fmt)
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                assert np.array_equal(picture.rgb(frame), frame.to_ndarray(format="rgb24"))
