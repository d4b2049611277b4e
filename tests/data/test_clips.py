from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data.odd_videos import FRAMES, HEIGHT, RATE, WIDTH, write_video

import kinema
from kinema.clip_spec import ClipSpec
from kinema.data.samplers import test_indices as clip_indices
from kinema.data.transforms import Box, cut, to_input
from kinema.data.transforms import test_boxes as view_boxes
from kinema.data.video import open_video
from kinema.data.views import cut_views, read_clip, read_views
from kinema.data.windows import windows
from kinema.errors import KinemaError, UnreadableVideo

SPEC = ClipSpec(frames=4, short_side=64, crop=48)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "a.mp4")


@pytest.fixture(scope="module")
def every_frame(video: Path) -> torch.Tensor:
    with open_video(video) as reader:
        return reader.read(np.arange(FRAMES))


def whole(height: int, width: int) -> list[Box]:
    return [Box(0, 0, height, width)]


def test_views_show_the_frames_of_the_part(video: Path, every_frame: torch.Tensor) -> None:
    wanted = np.array([[3, 0], [9, 9]])
    views = cut_views(video, lambda n: wanted % n, lambda height, width: [Box(0, 16, 64, 64), Box(0, 0, 64, 64)], 64)
    assert views.pixels.shape == (4, 2, 64, 64, 3)
    assert [key[0] for key in views.keys] == [(3, 0), (3, 0), (9, 9), (9, 9)]
    assert torch.equal(views.pixels[1], every_frame[[3, 0], :, :64])
    lengths: list[int] = []

    def all_of(n: int) -> np.ndarray:
        lengths.append(n)
        return np.arange(n)[None]

    part = cut_views(video, all_of, whole, 64, start=0.4, end=0.8)
    assert lengths == [0.4 * RATE]
    assert part.keys[0][0] == tuple(range(10, 20))
    assert part.span == pytest.approx((0.4, 0.8))


def test_part_without_frames_names_the_length(video: Path) -> None:
    with pytest.raises(KinemaError, match=r"a\.mp4: no frame from 5 s to 6 s.* 1\.60 s"):
        cut_views(video, lambda n: np.arange(n)[None], whole, 64, start=5, end=6)


def test_read_clip_is_the_centre_clip(video: Path, every_frame: torch.Tensor) -> None:
    x = kinema.read_clip(video, SPEC)
    box = view_boxes(HEIGHT, WIDTH, SPEC, 1)[0]
    frames = every_frame[torch.from_numpy(clip_indices(FRAMES, SPEC, 1)[0])]
    assert torch.equal(x, to_input(cut(frames, box, 48, False)[None], SPEC))
    assert x.shape == (1, 3, 4, 48, 48)
    assert x.is_contiguous(memory_format=torch.channels_last_3d)
    assert read_clip(str(video)).shape == (1, 3, 8, 224, 224)


def test_read_clip_of_a_part_and_of_a_short_one(video: Path) -> None:
    late = read_clip(video, SPEC, start=1.0)
    assert not torch.equal(late, read_clip(video, SPEC))
    short = read_clip(video, SPEC, start=0.0, end=0.12)  # three frames, completed by the first
    assert torch.equal(short[:, :, 0], short[:, :, 3])
    with pytest.raises(UnreadableVideo, match=r"a\.mp4: the clip needs 4 frames but the video has 3"):
        read_clip(video, SPEC.replace(pad="error"), start=0.0, end=0.12)
    with pytest.raises(UnreadableVideo, match="nowhere"):
        read_clip(video.with_name("nowhere.mp4"), SPEC)


@pytest.mark.parametrize("sampler", ["segments", "dense", "normal"])
@pytest.mark.parametrize("short", ["loop", "last"])
@pytest.mark.parametrize(("window", "step"), [(0.4, 0.4), (0.4, 0.08), (0.72, 0.28), (9.0, 3.0)])
def test_windows_equal_clips_of_parts(video: Path, sampler: str, short: str, window: float, step: float) -> None:
    spec = ClipSpec(frames=4, stride=2, sampler=sampler, pad=short, short_side=64, crop=48)  # type: ignore[arg-type]
    found = list(windows(video, spec, window, step))
    starts = [0.0]
    while starts[-1] + window < FRAMES / RATE - 1e-9:
        starts.append(starts[-1] + step)
    assert [part.start for part in found] == pytest.approx(starts)
    assert [part.end for part in found] == pytest.approx([min(s + window, FRAMES / RATE) for s in starts])
    for part in found:
        assert part.error is None
        first, last = round(part.start * RATE), round(part.end * RATE)
        with open_video(video) as reader:
            frames = reader.read(first + clip_indices(last - first, spec, 1)[0])
        assert torch.equal(part.clip, cut(frames, view_boxes(HEIGHT, WIDTH, spec, 1)[0], 48, False))
    later = list(windows(video, spec, window, step, first=1))
    assert [part.start for part in later] == [part.start for part in found[1:]]
    assert all(torch.equal(a.clip, b.clip) for a, b in zip(later, found[1:], strict=True))


def test_the_last_window_begins_earlier_where_clips_are_not_completed(video: Path) -> None:
    strict = ClipSpec(frames=8, pad="error", short_side=64, crop=48)
    found = list(windows(video, strict, 0.7, 0.7))  # 1.6 s: 5 frames would be left
    assert [(part.start, part.end) for part in found] == [
        pytest.approx(span) for span in ((0, 0.7), (0.7, 1.4), (1.28, 1.6))
    ]
    assert all(part.error is None for part in found)
    short = list(windows(video, strict, 0.2, 0.2))
    assert all("needs 8 frames but the video has 5" in part.error.reason for part in short[:-1])
    assert (short[-1].error, short[-1].start) == (None, pytest.approx(1.28))
    with pytest.raises(UnreadableVideo, match=r"a\.mp4: the clip needs 41 frames but the video has 40"):
        next(windows(video, strict.replace(frames=41), 9.0, 9.0))


def test_windows_hold_no_more_than_a_window(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ClipSpec(frames=4, short_side=64, crop=48)
    with open_video(video) as reader:
        decoded: list[int] = []
        frames = type(reader).frames
        monkeypatch.setattr(type(reader), "frames", lambda self, wanted: decoded.extend(wanted) or frames(self, wanted))
        for number, part in enumerate(windows(video, spec, 0.4, 0.2)):
            assert max(decoded) < round(part.end * RATE)  # nothing is read ahead of the window
            assert len(decoded) <= 4 * (number + 1)
    assert decoded == sorted(set(decoded))  # once, in order


def test_bad_windows_are_refused(video: Path) -> None:
    for window, step in ((1.0, 2.0), (1.0, 0.0), (-1.0, -1.0)):
        with pytest.raises(KinemaError, match="0 < step <= window"):
            next(windows(video, SPEC, window, step))


def test_a_test_crop_may_have_a_size_of_its_own(video: Path) -> None:
    spec = SPEC.replace(test_crop=60, test_size=52)
    assert spec.tested == 52 and SPEC.tested == SPEC.crop
    x = read_clip(video, spec)
    assert x.shape == (1, 3, SPEC.frames, 52, 52)
    views = read_views(video, spec, 2, 3)
    assert views.pixels.shape == (6, SPEC.frames, 52, 52, 3)
    assert all(part.clip is not None and part.clip.shape[1] == 52 for part in windows(video, spec, 0.5, 0.5))
    box = view_boxes(HEIGHT, WIDTH, spec, 1)[0]
    assert box == view_boxes(HEIGHT, WIDTH, SPEC.replace(test_crop=60), 1)[0]  # what is cut does not depend on it
    for bad in (0, -1, 1.5, True, "256"):
        with pytest.raises(KinemaError, match=r"clip\.test_size"):
            SPEC.replace(test_size=bad)
    assert ClipSpec.from_dict(spec.to_dict()) == spec
