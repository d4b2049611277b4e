from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from data.odd_videos import STAMPS, write_odd
from data.plain_videos import _turn, frame_number, write_video
from explain.films import grey_video
from PIL import Image

from kinema.clip_spec import ClipSpec
from kinema.data.transforms import Box, cut, to_input
from kinema.errors import KinemaError, UnreadableVideo
from kinema.explain.source import ClipFilm, Source, pixels_of, source_clip


@pytest.mark.parametrize(
    ("aspect", "turn", "shown"),
    [
        (None, 0, (96, 64)),
        (Fraction(4, 3), 0, (128, 64)),
        (Fraction(3, 4), 0, (96, 85)),
        (Fraction(4, 3), 90, (64, 128)),
        (Fraction(3, 4), 270, (85, 96)),
        (Fraction(4, 3), 180, (128, 64)),
        (Fraction(1, 1), 90, (64, 96)),
        (Fraction(100, 1), 0, (96, 64)),  # a damaged header
    ],
)
def test_the_shape_of_pixels_is_that_of_the_shown_picture(
    tmp_path: Path, aspect: Fraction | None, turn: int, shown: tuple[int, int]
) -> None:
    path = grey_video(tmp_path / "a.mp4", aspect=aspect)
    if turn:
        _turn(path, turn, False)
    with Source(path) as film:
        assert film.shown_size == shown


def test_a_square_picture_of_oblong_pixels_is_turned(tmp_path: Path) -> None:
    path = grey_video(tmp_path / "a.mp4", size=(64, 64), aspect=Fraction(2, 1))
    _turn(path, 90, False)
    with Source(path) as film:
        assert film.shown_size == (64, 128)


@pytest.mark.parametrize("kind", ["variable_rate", "variable_rate_mkv", "late_start", "late_start_mp4"])
def test_stamps_are_those_of_the_file(tmp_path: Path, kind: str) -> None:
    with Source(write_odd(kind, tmp_path)) as film:
        wanted = STAMPS if "rate" in kind else [40 * i for i in range(len(film))]
        assert [stamp * film.clock * 1000 for stamp in film.stamps.tolist()] == wanted
        assert film.end * float(film.clock) == pytest.approx(film.duration, abs=1e-3)


@pytest.mark.parametrize(
    "kind", ["mpeg2_ts", "h264_avi", "mpeg4_packed", "no_stamps", "raw_h264_b", "gif", "vp9_hidden"]
)
def test_stamps_are_the_times_of_the_reader_and_ascend(tmp_path: Path, kind: str) -> None:
    with Source(write_odd(kind, tmp_path)) as film:
        assert np.all(np.diff(film.stamps) > 0)
        assert film.stamps * float(film.clock) == pytest.approx(film.times, abs=1e-4)


def test_a_folder_of_frames_has_thirty_a_second(tmp_path: Path) -> None:
    for i in range(5):
        Image.new("RGB", (40, 30), (i, i, i)).save(tmp_path / f"{i:03}.png")
    with Source(tmp_path) as film:
        assert (film.clock, film.stamps.tolist(), film.end) == (Fraction(1, 30), [0, 1, 2, 3, 4], 5)
        assert [int(picture[0, 0, 0]) for _, picture in film.pictures([4, 0, 2])] == [0, 2, 4]


def test_pictures_come_in_order_and_in_small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinema.explain.source._CHUNK", 96 * 64 * 3 * 7)
    with Source(write_video(tmp_path / "a.mp4")) as film:
        found = [(index, frame_number(picture)) for index, picture in film.pictures(np.arange(3, 39))]
    assert found == [(i, i) for i in range(3, 39)]


@pytest.mark.parametrize("sampler", ["segments", "dense"])
@pytest.mark.parametrize("kind", ["h264", "rotated_90", "variable_rate"])
def test_the_clip_lies_where_its_place_says(tmp_path: Path, kind: str, sampler: str) -> None:
    spec = ClipSpec(frames=4, stride=3, sampler=sampler, short_side=48, crop=40)  # type: ignore[arg-type]
    path = write_odd(kind, tmp_path)
    clip, place = source_clip(path, spec)
    left, top, width, height = place.box
    with Source(path) as film:
        pictures = dict(film.pictures(place.frames))  # a tick of a variable rate may show a frame again
        whole = torch.from_numpy(np.stack([pictures[index] for index in place.frames]))
        assert 0 <= left < left + width <= film.width
    again = cut(whole, Box(top, left, height, width), 40, flip=False)
    assert torch.allclose(clip, to_input(again[None], spec), atol=0.02)
    assert clip.shape == (1, 3, 4, 40, 40)
    assert place.span[0] <= place.span[1]


def test_the_clip_of_a_part(tmp_path: Path) -> None:
    spec = ClipSpec(frames=4, short_side=48, crop=40)
    _, place = source_clip(write_video(tmp_path / "a.mp4"), spec, start=0.4, end=0.8)
    assert 10 <= min(place.frames) <= max(place.frames) < 20
    assert place.span == (0.4, 0.8)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    for call in (lambda p: Source(p), lambda p: source_clip(p, ClipSpec())):
        with pytest.raises(UnreadableVideo, match=r"a\.mp4"):
            call(tmp_path / "a.mp4")


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_pixels_of_is_the_inverse_of_to_input(colour: str) -> None:
    spec = ClipSpec(colour=colour, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))  # type: ignore[arg-type]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    clip = to_input(torch.from_numpy(pixels)[None], spec)
    assert np.array_equal(pixels_of(clip, spec), pixels)
    assert np.array_equal(pixels_of(clip[0], spec), pixels)


@pytest.mark.parametrize("seconds", [1e-9, 0.1, 0.33, 0.5, 1.0, 9.0, float("inf")])
@pytest.mark.parametrize("part", [(0.0, None), (0.21, 1.7)])
def test_windows_hold_every_frame_once(tmp_path: Path, seconds: float, part: tuple[float, float | None]) -> None:
    with Source(write_video(tmp_path / "a.mp4", stamps=STAMPS)) as film:
        spans = film.windows(seconds, *part)
        parts = [film.between(*span) for span in spans]
        whole = film.between(part[0], part[1] or film.duration)
    if seconds > 1e-3:  # else the windows are finer than the times
        assert np.concatenate(parts).tolist() == whole.tolist()
        assert all(len(frames) for frames in parts)
    assert len(spans) <= len(whole)
    assert all(part[0] <= a <= b <= (part[1] or film.duration) for a, b in spans)


def test_a_clip_without_a_video_is_a_film_too() -> None:
    film = ClipFilm(np.zeros((3, 8, 10, 3), np.uint8), rate=4)
    assert (film.shown_size, film.duration, film.end * film.clock) == ((10, 8), 0.75, Fraction(3, 4))
    assert [index for index, _ in film.pictures([2, 0])] == [0, 2]
    with pytest.raises(KinemaError, match="T H W 3"):
        ClipFilm(np.zeros((3, 8, 10), np.uint8))
