"""Long videos with damage, walked through window by window."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from data.timed_videos import damage, write_timed
from PIL import Image

from kinema import ClipSpec
from kinema.data import windows as windows_module
from kinema.data.video import VideoReader, open_video
from kinema.data.windows import Window, windows
from kinema.errors import UnreadableVideo

SECONDS, RATE, GOP, WINDOW = 120, 10, 20, 5
FRAMES = SECONDS * RATE
SPEC = ClipSpec(frames=WINDOW * RATE, short_side=32, crop=32)  # every frame of a window


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    edges = (np.arange(FRAMES + 1) / RATE).tolist()
    return {kind: write_timed(folder / f"film.{kind}", edges, gop=GOP, size=(64, 64)) for kind in ("mp4", "mkv", "ts")}


@pytest.fixture(scope="module")
def whole(films: dict[str, Path]) -> dict[str, list[Window]]:
    return {kind: list(windows(film, SPEC, WINDOW, WINDOW)) for kind, film in films.items()}


def windows_of(frames: range) -> set[int]:
    return {frame // (WINDOW * RATE) for frame in frames}


DAMAGES = {
    "first group": [3],
    "middle": [FRAMES // 2],
    "last group": [FRAMES - GOP + 2],
    "two": [310, 700],
    "all groups but the first": list(range(GOP, FRAMES, GOP)),
}


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("where", ["middle", "two"])
def test_windows_go_on_behind_damage(
    films: dict[str, Path], whole: dict[str, list[Window]], tmp_path: Path, kind: str, where: str
) -> None:
    frames = [frame // GOP * GOP for frame in DAMAGES[where]]  # in keyframes, whose packets are larger than the damage
    found = list(windows(damage(films[kind], tmp_path / f"film.{kind}", frames), SPEC, WINDOW, WINDOW))
    assert [(part.start, part.end) for part in found] == [(part.start, part.end) for part in whole[kind]]
    hit = {number for frame in frames for number in windows_of(range(frame, frame + GOP))}
    # A parser may give the flag of a transport packet to the frame before.
    beside = {number for frame in frames for number in windows_of(range(frame - 1, frame + GOP))}
    failed = {number for number, part in enumerate(found) if part.error is not None}
    assert hit <= failed <= (beside if kind == "ts" else hit)
    for number, (part, sound) in enumerate(zip(found, whole[kind], strict=True)):
        assert (part.clip is None) == (number in failed)
        if part.clip is not None and sound.clip is not None:
            assert torch.equal(part.clip, sound.clip)
        if part.error is not None:
            assert part.error.path == str(tmp_path / f"film.{kind}")
            assert "damaged" in part.error.reason


@pytest.mark.parametrize("where", DAMAGES)
def test_only_windows_with_damage_fail(
    films: dict[str, Path], whole: dict[str, list[Window]], tmp_path: Path, where: str
) -> None:
    found = list(windows(damage(films["mp4"], tmp_path / "film.mp4", DAMAGES[where]), SPEC, WINDOW, WINDOW))
    assert [(part.start, part.end) for part in found] == [(part.start, part.end) for part in whole["mp4"]]
    expected: set[int] = set()
    for frame in DAMAGES[where]:
        expected |= windows_of(range(frame, (frame // GOP + 1) * GOP))
    assert {number for number, part in enumerate(found) if part.error is not None} == expected
    for part, sound in zip(found, whole["mp4"], strict=True):
        assert part.error is not None or torch.equal(part.clip, sound.clip)  # type: ignore[arg-type]


def test_overlapping_windows_behind_damage(films: dict[str, Path], tmp_path: Path) -> None:
    film = damage(films["mp4"], tmp_path / "film.mp4", [600])
    sound, found = (list(windows(path, SPEC, WINDOW, 1)) for path in (films["mp4"], film))
    failed = [part.start for part in found if part.error is not None]
    assert failed == list(range(600 // RATE - WINDOW + 1, (600 + GOP) // RATE))
    for part, other in zip(found, sound, strict=True):
        assert part.error is not None or torch.equal(part.clip, other.clip)  # type: ignore[arg-type]
    late = list(windows(film, SPEC, WINDOW, 1, first=100))
    assert [part.start for part in late] == [part.start for part in found[100:]]
    assert torch.equal(late[0].clip, found[100].clip)  # type: ignore[arg-type]


def test_a_film_that_is_cut_off_says_where_it_ends(
    films: dict[str, Path], whole: dict[str, list[Window]], tmp_path: Path
) -> None:
    # The table at the front, as it is downloaded. Encoded anew, because PyAV 14.0 copies no packets into an MP4 file.
    edges = (np.arange(FRAMES + 1) / RATE).tolist()
    fast = write_timed(tmp_path / "fast.mp4", edges, gop=GOP, size=(64, 64), mux={"movflags": "faststart"})
    data = fast.read_bytes()
    fast.write_bytes(data[: len(data) // 2])
    with open_video(fast) as reader:
        there = reader.stored
        assert len(reader) == FRAMES
        assert 0.4 * FRAMES < there < 0.6 * FRAMES
    found = list(windows(fast, SPEC, WINDOW, WINDOW))
    sound = there // (WINDOW * RATE)
    assert len(found) <= sound + 2
    for part, other in zip(found[: sound - 1], whole["mp4"], strict=False):
        assert torch.equal(part.clip, other.clip)  # type: ignore[arg-type]
    last = found[-1]
    assert last.end == pytest.approx(SECONDS)
    assert last.start == math.ceil(there / (WINDOW * RATE)) * WINDOW
    assert f"cut off at {there / RATE:.2f} s ({there} of {FRAMES} frames" in str(last.error)


def test_a_bad_picture_in_a_folder_of_frames_is_one_window(tmp_path: Path) -> None:
    for i in range(90):
        Image.new("RGB", (40, 40), (i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "40.png").write_bytes(b"no picture")
    found = list(windows(tmp_path, ClipSpec(frames=30, short_side=32, crop=32), 1, 1))
    assert [part.error is None for part in found] == [True, False, True]
    assert "40.png" in str(found[1].error)


def test_a_file_that_cannot_be_opened_has_no_windows(tmp_path: Path) -> None:
    for name in ("gone.mp4", "text.mp4"):
        (tmp_path / "text.mp4").write_text("no video")
        with pytest.raises(UnreadableVideo, match=name):
            next(windows(tmp_path / name, SPEC, 1, 1))


def test_a_walk_decodes_every_packet_once(films: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[VideoReader] = []

    def opened(path: Path) -> VideoReader:
        readers.append(VideoReader(path))
        return readers[-1]

    monkeypatch.setattr(windows_module, "open_video", opened)
    for step in (WINDOW, 1):
        assert all(part.clip is not None for part in windows(films["mp4"], SPEC, WINDOW, step))
        assert readers[-1].work.decoded == FRAMES
    assert len(readers) == 2
