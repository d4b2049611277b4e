"""Damage in a long video costs the frames that depend on it, and no more work than decoding once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.odd_videos import frame_number, write_video, x264

from kinema.data.reading import video_file
from kinema.data.video import VideoReader
from kinema.errors import UnreadableVideo

FRAMES, GOP, WINDOW = 1200, 50, 100

FORMS = {
    "a.mp4": ("libx264", x264(keyint=GOP)),
    "b.mkv": ("libx264", x264(keyint=GOP)),
    "c.ts": ("libx264", x264(keyint=GOP)),
    "d.mp4": (
        "libx265",
        {"x265-params": f"open-gop=0:keyint={GOP}:min-keyint={GOP}:pools=none:frame-threads=1:log-level=none"},
    ),
    "e.avi": ("mpeg4", {"qscale": "5"}),
}


@pytest.fixture(scope="module")
def long_videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("long")
    paths = {name: folder / name for name in FORMS}
    for name, (codec, options) in FORMS.items():
        path = write_video(paths[name], codec, frames=FRAMES, gop=GOP, options=options)
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
        path.write_bytes(data)
    return paths


def windows(video: VideoReader) -> list[np.ndarray]:
    return [np.linspace(begin, begin + WINDOW - 1, 8).astype(int) for begin in range(0, FRAMES - WINDOW, WINDOW)]


@pytest.mark.parametrize("name", FORMS)
def test_windows_before_and_after_the_damage(
    long_videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(video_file, "_COUNTING", 0)  # as if the file were too long to count its sound frames
    with VideoReader(long_videos[name]) as video:
        refused = []
        for number, wanted in enumerate(windows(video)):
            try:
                got = video.read(wanted).numpy()
            except UnreadableVideo as error:
                assert "damaged" in error.reason and f"(it has {len(video)} frames)" in error.reason
                refused.append(number)
                continue
            if len(video) == FRAMES:  # else packets vanished, and the numbers behind them moved
                assert [frame_number(frame) for frame in got] == (wanted % 64).tolist()
        assert len(refused) <= 2
        assert video.work.decoded <= FRAMES + 8 * GOP
        decoded = video.work.decoded
        for number in refused:  # what is known to be lost is not tried again
            for _ in range(3):
                with pytest.raises(UnreadableVideo):
                    video.read(windows(video)[number])
        assert video.work.decoded == decoded


def test_sound_frames_are_counted_once_and_only_where_it_is_cheap(
    long_videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_file, "_COUNTING", 2**62)
    with VideoReader(long_videos["a.mp4"]) as video:
        wanted = next(w for w in windows(video) if not reads(video, w))
        with pytest.raises(UnreadableVideo, match=rf"; \d+ of {FRAMES} frames are readable"):
            video.read(wanted)
        decoded = video.work.decoded
        assert decoded <= 2 * FRAMES + 8 * GOP
        for _ in range(5):
            with pytest.raises(UnreadableVideo, match="are readable"):
                video.read(wanted)
        assert video.work.decoded == decoded


def reads(video: VideoReader, wanted: np.ndarray) -> bool:
    try:
        video.read(wanted)
    except UnreadableVideo:
        return False
    return True


def test_one_pass_through_all_frames_ends_with_the_error(long_videos: dict[str, Path]) -> None:
    with VideoReader(long_videos["a.mp4"]) as video:
        seen: list[int] = []
        with pytest.raises(UnreadableVideo, match="damaged"):
            for index, frame in video.frames(range(FRAMES)):
                assert frame_number(frame) == index % 64
                seen.append(index)
        assert seen == sorted(seen)
        assert FRAMES - GOP <= len(seen) < FRAMES
        assert video.work.decoded <= 2 * FRAMES + 4 * GOP
