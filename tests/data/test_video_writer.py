from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from explain.films import decoded

from kinema.data.video_writer import gif_times, write_gif, write_mp4

SIZE = (64, 48)


def bars(count: int) -> np.ndarray:
    """Frames of plain colours, uint8 T H W 3, each different."""
    levels = np.linspace(20, 230, count).astype(np.uint8)
    frames = np.zeros((count, SIZE[1], SIZE[0], 3), np.uint8)
    frames[..., 0] = levels[:, None, None]
    frames[..., 1] = levels[::-1, None, None]
    frames[..., 2] = 128
    return frames


@pytest.mark.parametrize(
    ("clock", "stamps", "end"),
    [
        (Fraction(1, 25), [0, 1, 2, 3, 4, 5, 6, 7], 8),
        (Fraction(1, 1000), [0, 20, 53, 93, 193, 443, 463, 500], 750),
        (Fraction(1001, 30000), list(range(40)), 40),
        (Fraction(1, 90_000), [0, 1, 2, 90_000, 90_001], 900_000),
        (Fraction(1, 16_000), [0], 640),
        (Fraction(1, 1_000_000), [0, 16_683, 33_367, 50_050], 66_733),
    ],
)
def test_an_mp4_holds_every_picture_at_its_time(tmp_path: Path, clock: Fraction, stamps: list[int], end: int) -> None:
    path = tmp_path / "a b:c.mp4"
    frames = bars(len(stamps))
    write_mp4(path, iter(frames), stamps=stamps, end=end, clock=clock, size=SIZE)
    times, found = decoded(path)
    assert times == [stamp * clock for stamp in stamps]
    assert np.abs(found.astype(int).mean((1, 2)) - frames.astype(int).mean((1, 2))).max() < 6
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(float(end * clock), abs=1e-3)
        assert [s.type for s in container.streams] == ["video"]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", *SIZE)
        assert (context.colorspace, context.color_range) == (6, 1)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_a_picture_too_few_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_mp4(tmp_path / "a.mp4", iter(bars(2)), stamps=[0, 1, 2], end=3, clock=Fraction(1, 25), size=SIZE)


@pytest.mark.parametrize(
    ("clock", "stamps", "end", "places", "times", "last"),
    [
        (Fraction(1, 25), [0, 1, 2], 3, [0, 1, 2], [0, 4, 8], 12),
        (Fraction(1, 100), [0, 1, 2, 3, 4, 5], 6, [0, 2, 4], [0, 2, 4], 6),
        (Fraction(1, 1000), [1000, 1005, 1500], 1600, [0, 2], [0, 50], 60),
        (Fraction(1, 1000), [0], 5, [0], [0], 2),
        (Fraction(1, 60), [0, 1, 2, 3], 4, [0, 1, 3], [0, 2, 5], 7),
    ],
)
def test_a_gif_leaves_out_what_browsers_would_slow_down(
    clock: Fraction, stamps: list[int], end: int, places: list[int], times: list[int], last: int
) -> None:
    found = gif_times(stamps, end, clock)
    assert found == (places, times, last)
    assert all(b - a >= 2 for a, b in zip(found[1], [*found[1][1:], last], strict=True))


def test_a_gif_holds_every_picture_at_its_time_and_repeats(tmp_path: Path) -> None:
    frames = bars(5)
    times = [0, 4, 30, 33, 90]
    write_gif(tmp_path / "a.gif", iter(frames), times=times, end=120, size=SIZE)
    found_times, found = decoded(tmp_path / "a.gif")
    assert found_times == [Fraction(time, 100) for time in times]
    assert np.abs(found.astype(int) - frames).max() <= 8
    data = (tmp_path / "a.gif").read_bytes()
    assert data.startswith(b"GIF89a")
    assert b"NETSCAPE2.0\x03\x01\x00\x00" in data
    with av.open(str(tmp_path / "a.gif")) as container:
        assert [packet.duration for packet in container.demux(video=0) if packet.size] == [4, 26, 3, 57, 30]


def test_a_gif_keeps_many_colours(tmp_path: Path) -> None:
    y, x = np.mgrid[:48, :64]
    frames = np.stack([np.stack([x * 4, y * 5, (x + y + 9 * t) % 256], -1) for t in range(3)]).astype(np.uint8)
    write_gif(tmp_path / "a.gif", iter(frames), times=[0, 10, 20], end=30, size=SIZE)
    _, found = decoded(tmp_path / "a.gif")
    assert np.abs(found.astype(int) - frames).mean() < 8
