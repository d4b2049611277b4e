"""Videos without a constant frame rate: seconds become frames by the times of the frames, everywhere."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data.plain_videos import frame_number
from data.timed_videos import slides, write_timed

from kinema import ClipSpec
from kinema.data.doctor.examine import examine
from kinema.data.doctor.index import times_all
from kinema.data.packing.reencode import reencode
from kinema.data.samplers import test_indices as clip_indices
from kinema.data.transforms import Box
from kinema.data.video import probe
from kinema.data.views import cut_views, read_views
from kinema.data.windows import windows

SPEC = ClipSpec(frames=8, short_side=64, crop=64)
PHONE = np.cumsum([0, *[1 / 30] * 45, *[1 / 240] * 240, *[1 / 30] * 45]).tolist()
SCREEN = np.cumsum([0, 4.2, *[1 / 60] * 90, 7.3, *[1 / 60] * 30, 2.9]).tolist()  # frames only where something changes


@pytest.fixture(scope="module", params=[("a.mp4", 0.0), ("b.mkv", 5.0), ("c.ts", 0.0), ("d.mkv", -0.4)])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, begin = request.param
    return write_timed(tmp_path_factory.mktemp("slides") / name, slides(), size=(64, 64), begin=begin)


def numbers(path: Path, start: float | None, end: float | None, frames: int = 8) -> list[int]:
    """The numbers in the frames of the centre clip."""
    spec = SPEC.replace(frames=frames)
    return [frame_number(frame) for frame in shown(path, lambda n: clip_indices(n, spec, 1), start, end)]


def shown(path: Path, frames_of: Callable[[int], np.ndarray], start: float | None, end: float | None) -> np.ndarray:
    """The whole frames of a clip, T 64 64 3."""
    whole = cut_views(path, frames_of, lambda height, width: [Box(0, 0, height, width)], 64, start=start, end=end)
    return whole.pixels[0].numpy()


def test_a_clip_from_a_burst_shows_its_frames(film: Path) -> None:
    found = numbers(film, 2.0, 3.0)
    assert len(set(found)) == 8
    assert set(found) <= set(range(2, 32))
    assert numbers(film, 2.0, 3.0, 30) == list(range(2, 32))
    assert numbers(film, 0.0, 2.0, 2) == [0, 1]
    assert numbers(film, 6.0, 8.0, 2) == [122 % 64] * 2


def test_windows_have_the_length_that_was_asked_for_and_cover_every_frame(film: Path) -> None:
    duration = probe(film).duration
    found = list(windows(film, SPEC.replace(frames=30), 1.0, 1.0))
    assert [part.start for part in found] == pytest.approx(range(61))
    assert [part.end for part in found[:-1]] == pytest.approx(range(1, 61))
    assert found[-1].end == duration == pytest.approx(60 + 1 / 30, abs=2e-3)
    seen = []
    for part in found:
        assert part.clip is not None
        seen += [frame_number(frame) for frame in part.clip.numpy()]
    changes = [number for number, before in zip(seen, [-1, *seen], strict=False) if number != before]
    expected = [i % 64 for i in range(150)]
    assert changes == expected


@pytest.mark.parametrize(
    ("edges", "start", "end", "frames"),
    [
        (PHONE, 1.6, 2.4, range(69, 261)),
        (PHONE, 0.5, 1.5, range(15, 45)),
        (SCREEN, 4.2, 5.7, range(1, 91)),
        (SCREEN, 6.0, 12.0, [91]),
    ],
)
def test_parts_of_phones_and_screens(
    tmp_path: Path, edges: list[float], start: float, end: float, frames: range | list[int]
) -> None:
    film = write_timed(tmp_path / "film.mp4", edges, clock=90000)
    assert numbers(film, start, end, len(frames)) == [i % 64 for i in frames]


@pytest.mark.parametrize("name", ["long.mp4", "long.mkv", "long.mov"])
def test_a_long_last_frame_belongs_to_the_video(tmp_path: Path, name: str) -> None:
    film = write_timed(tmp_path / name, [*(np.arange(30) / 30).tolist(), 11.0])
    assert probe(film).duration == pytest.approx(11.0, abs=2e-3)
    found = list(windows(film, SPEC, 1.0, 1.0))
    assert [part.end for part in found] == pytest.approx(range(1, 12), abs=2e-3)
    assert numbers(film, 8.0, 9.0) == [29] * 8
    packed = tmp_path / "packed.mp4"
    reencode(film, packed, short_side=64)
    assert probe(packed).duration == pytest.approx(11.0, abs=2e-3)


def test_a_single_frame_has_a_duration(tmp_path: Path) -> None:
    film = write_timed(tmp_path / "one.mp4", [0.0, 3.0])
    assert probe(film).duration == pytest.approx(3.0)
    found = list(windows(film, SPEC, 1.0, 1.0))
    assert [part.end for part in found] == pytest.approx([1, 2, 3])
    assert all(part.clip is not None for part in found)


def test_a_packed_video_keeps_its_times(film: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.mp4"
    reencode(film, packed, short_side=64)
    assert probe(packed).duration == pytest.approx(probe(film).duration, abs=1e-4)
    assert numbers(packed, 2.0, 3.0, 30) == list(range(2, 32))


def test_frames_that_are_hours_apart_can_be_packed(tmp_path: Path) -> None:
    film = write_timed(tmp_path / "far.mp4", [0, 7200, 7201])
    reencode(film, tmp_path / "packed.mp4", short_side=64)
    assert probe(tmp_path / "packed.mp4").duration == pytest.approx(7201)


def test_the_doctor_counts_the_frames_of_a_part_by_their_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    write_timed(tmp_path / "slides.mp4", slides())
    write_timed(tmp_path / "even.mp4", (np.arange(91) / 30).tolist())
    rows = [
        ("path", "label", "start", "end"),
        ("slides.mp4", "a", 2, 3), ("slides.mp4", "b", 30, 40), ("slides.mp4", "c", 0, 2), ("even.mp4", "d", 1, 1.5),
        ("even.mp4", "e", 0, 3),
    ]  # fmt: skip
    with (tmp_path / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)

    def short(frames: int) -> set[str]:
        found = {f.code: f for f in examine(tmp_path / "data.csv", frames=frames).findings}
        assert "end-outside" not in found
        return {Path(path).name + what for path, _, what in (line.partition(":") for line in found["too-short"].paths)}

    for _ in range(2):  # examined, then remembered
        assert short(31) == {
            "slides.mp4 30 frames", "slides.mp4 5 frames", "slides.mp4 2 frames", "even.mp4 15 frames",
        }  # fmt: skip
        assert short(30) == {"slides.mp4 5 frames", "slides.mp4 2 frames", "even.mp4 15 frames"}
    path = str(tmp_path / "slides.mp4")
    times = times_all([path], tmp_path / "data.csv")[path]
    np.testing.assert_allclose(times, slides()[:-1], atol=1e-3)


def test_views_stand_for_the_time_of_their_frames(film: Path) -> None:
    dense = SPEC.replace(sampler="dense", stride=2)
    start, end = read_views(film, dense, start=2.0, end=3.0).span
    assert end - start == pytest.approx(15 / 30, abs=3e-3)
    assert 2 <= start < end <= 3
    assert read_views(film, dense, start=6.5, end=7.0).span == pytest.approx((6.5, 7.0))  # one frame, from 6 s to 8 s
    assert read_views(film, SPEC, start=2.0).span == pytest.approx((2.0, 60 + 1 / 30), abs=3e-3)


def test_the_folder_of_cases(cases: Path) -> None:
    film = cases / "variable_rate.mp4"
    assert len(set(map(bytes, shown(film, lambda n: clip_indices(n, SPEC, 1), 2.0, 3.0)))) == 8
    lengths: list[int] = []
    shown(film, lambda n: lengths.append(n) or np.array([[0]]), 2.0, 3.0)  # type: ignore[func-returns-value]
    assert lengths == [30]
    found = list(windows(film, SPEC, 1.0, 1.0))
    assert [round(part.end - part.start, 6) for part in found[:-1]] == [1.0] * 60


@pytest.fixture
def cases() -> Path:
    path = Path(__file__).resolve().parents[3] / "shared" / "cases"
    if not (path / "variable_rate.mp4").is_file():
        pytest.skip("the folder of cases is not at hand")
    return path
