from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from data.plain_videos import write_video
from explain.films import panel

from kinema.clip_spec import ClipSpec
from kinema.data.loading.limits import ReadLimits
from kinema.data.video import VideoReader
from kinema.errors import UnreadableVideo
from kinema.explain.source import Source, source_clip
from kinema.explain.write import write_explanations

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere videos are read in this process")
LIMITS = ReadLimits(seconds=20, stalled=1.0)
SPEC = ClipSpec(frames=4, short_side=48, crop=40)


def crash(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(*_: object) -> None:
    time.sleep(1000)


def memory(*_: object) -> None:
    raise MemoryError


@pytest.mark.parametrize("disaster", [crash, hang, memory])
@pytest.mark.parametrize("when", ["opening", "the clip", "the frames"])
def test_a_file_that_takes_its_reader_down_costs_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disaster: Callable[..., None], when: str
) -> None:
    video = write_video(tmp_path / "a.mp4", frames=8)
    (tmp_path / "results").mkdir()
    if when == "opening":
        monkeypatch.setattr(VideoReader, "_open", disaster)
        with pytest.raises(UnreadableVideo, match=r"a\.mp4"):
            Source(video, limits=LIMITS)
        return
    monkeypatch.setattr(VideoReader, "frames" if when == "the clip" else "read", disaster)
    with Source(video, limits=LIMITS) as film, pytest.raises(UnreadableVideo, match=r"a\.mp4"):
        if when == "the clip":
            film.clip(SPEC)
        else:
            shown = panel(range(8), (0, 0, 96, 64), (0.0, 0.32))
            write_explanations(tmp_path / "results" / "x.mp4", film, [(0.0, 0.32)], lambda span: [shown])
    assert list((tmp_path / "results").iterdir()) == []


def test_clips_and_frames_are_those_that_are_read_here(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4")
    with VideoReader(video) as reader, Source(video) as film:
        for start, end in ((None, None), (0.4, 0.8), (0.8, None)):
            clip, place = film.clip(SPEC, start=start, end=end)
            wanted, there = source_clip(video, SPEC, start=start, end=end)
            assert clip.equal(wanted)
            assert place == there
            for index, picture in film.pictures([7, 3, 39]):
                assert (picture == reader.read([index])[0].numpy()).all()


def test_pictures_may_be_left_early(tmp_path: Path) -> None:
    with Source(write_video(tmp_path / "a.mp4")) as film:
        assert next(film.pictures(range(40)))[0] == 0
        assert [index for index, _ in film.pictures([5, 6])] == [5, 6]
        film.clip(SPEC)
        assert next(film.pictures([39]))[0] == 39
