"""Every frame that a reader gives is compared, bit for bit, with a full decode."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from data.full_decode import Library, assert_frames, stored_order
from data.odd_videos import FRAMES, GOOD, HEIGHT, STAMPS, WIDTH, frame_number, picture, write_video
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from kinema.data.video import FrameFolder, VideoReader, is_video, open_video, probe, ticks
from kinema.errors import UnreadableVideo

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"

NUMBERS = {
    "single_frame": [0],
    "edit_list": list(range(10, FRAMES)),
    "cut_start": list(range(24, FRAMES)),
    "cut_at_keyframe": list(range(12, FRAMES)),
    "vp8_hidden": [i for i in range(FRAMES) if i % 5 != 3],
    "vp9_hidden": [i for i in range(FRAMES) if i not in (12, 24)],
    "vp9_apart": [i for i in range(FRAMES) if i not in (12, 24)],
    "size_change": [*range(FRAMES), *range(20)],
    "cinepak": list(range(14)),
}


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("odd"))


@pytest.mark.parametrize("memory", [64 * 2**20, 0], ids=["held", "reread"])
@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_is_exact(odd: Library, kind: str, memory: int) -> None:
    path, expected = odd(kind)
    assert odd.numbers(kind) == NUMBERS.get(kind, list(range(FRAMES))), "the file itself is not what it should be"
    n = len(expected)
    rng = np.random.default_rng(len(kind))
    with VideoReader(path, memory=memory) as video:
        assert len(video) == n == len(video.times)
        assert (np.diff(video.times) > 0).all()
        assert video.times[0] == 0
        for size in (1, 3, 6, 6, n):
            indices = rng.integers(0, n, size).tolist()
            assert_frames(video.read(indices), expected, indices)
            with VideoReader(path, memory=memory) as fresh:
                assert_frames(fresh.read(indices), expected, indices)
                assert fresh.work.fallbacks == 0
        height, width = expected[0].shape[:2]
        assert (video.info.height, video.info.width, video.info.frames) == (height, width, n)
        assert video.work.fallbacks == 0
        assert video.info.has_audio == (kind in ("sound_first", "late_start_mp4"))


@pytest.mark.parametrize("kind", ["h264", "no_b_frames", "open_gop", "hevc_open_gop", "mpeg4_mp4_b", "vp9_hidden"])
def test_threads_change_nothing(odd: Library, kind: str) -> None:
    path, expected = odd(kind)
    indices = [2, 30, 17, 37, 5]
    with VideoReader(path, threads=3) as video:
        assert_frames(video.read(indices), expected, indices)
        assert_frames(video.read([33, 34]), expected, [33, 34])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 29), max_size=6), min_size=1, max_size=4), st.data())
def test_any_reads_of_one_reader_are_exact(odd: Library, reads: list[list[int]], data: st.DataObject) -> None:
    kind = data.draw(
        st.sampled_from(["h264", "many_b_frames", "open_gop", "mpeg4_avi_b", "edit_list", "intra_refresh"])
    )
    path, expected = odd(kind)
    with VideoReader(path) as video:
        for indices in reads:
            assert_frames(video.read(indices), expected, indices)


def test_no_frames_wanted_gives_none(odd: Library) -> None:
    path, _ = odd("rotated_90")
    with VideoReader(path) as video:
        assert tuple(video.read([]).shape) == (0, WIDTH, HEIGHT, 3)


@pytest.mark.parametrize("indices", [[FRAMES], [-1], [0, 99]])
def test_a_number_outside_is_refused(odd: Library, indices: list[int]) -> None:
    with VideoReader(odd("h264")[0]) as video, pytest.raises(IndexError, match="there are 40"):
        video.read(indices)


# ---- one frame at a time


@pytest.mark.parametrize("kind", ["h264", "many_b_frames", "hevc_open_gop", "vp9_pairs", "rotated_90"])
def test_frames_come_ascending_each_once(odd: Library, kind: str) -> None:
    path, expected = odd(kind)
    with VideoReader(path) as video:
        got = [(index, frame.copy()) for index, frame in video.frames([30, 2, 17, 2, 16])]
        assert [index for index, _ in got] == [2, 16, 17, 30]
        assert_frames([frame for _, frame in got], expected, [2, 16, 17, 30])
        assert list(video.frames([])) == []
        with pytest.raises(IndexError, match="of"):
            video.frames([0, len(video)])


@pytest.mark.parametrize("kind", ["h264", "many_b_frames", "no_stamps"])
def test_no_frame_is_decoded_before_it_is_asked_for(odd: Library, kind: str) -> None:
    path, expected = odd(kind)
    with VideoReader(path) as video:
        opened = video.work.decoded
        stream = video.frames(range(FRAMES))
        for index, frame in stream:
            assert np.array_equal(frame, expected[index])
            assert video.converted == index + 1
            if opened == 0:
                assert video.work.decoded <= index + 1 + 16, "frames are held back by reordering only"
            if index == 9:
                break
        stream.close()
        assert_frames(video.read([10, 11, 9]), expected, [10, 11, 9])
        assert_frames(video.read([0, 39]), expected, [0, 39])


# ---- only what is needed


@pytest.mark.parametrize("kind", ["h264", "open_gop", "mpeg4_avi", "no_stamps", "vp9_pairs"])
def test_only_wanted_frames_are_converted(odd: Library, kind: str) -> None:
    with VideoReader(odd(kind)[0]) as video:
        video.read([3, 20, 20, 33, 3])
        assert video.converted == 3


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=8, unique=True).map(sorted))
@example([0, 11, 12, 23, 24])
@example([0, 10, 12, 25])
def test_seeks_and_decodes_as_little_as_keyframes_allow(odd: Library, wanted: list[int]) -> None:
    path, _ = odd("no_b_frames")  # a keyframe every 12 frames; a frame comes out as soon as its packet goes in
    seeks = decoded = place = 0
    for index in wanted:
        keyframe = index // 12 * 12
        if keyframe > place:  # beyond the next keyframe: go there
            place, seeks = keyframe, seeks + 1
        decoded += index + 1 - place
        place = index + 1
    with VideoReader(path) as video:
        video.read(wanted)
        assert (video.work.seeks, video.work.decoded) == (seeks, decoded)


def test_a_keyframe_that_comes_next_is_no_reason_to_seek(odd: Library) -> None:
    path, expected = odd("h264")
    before = stored_order(path).index(11)  # its packet is the last one before the keyframe 12
    with VideoReader(path) as video:
        assert_frames(video.read([before, 12]), expected, [before, 12])
        assert video.work.seeks == 0
        assert_frames(video.read([26, 24]), expected, [26, 24])
        assert video.work.seeks == 1


def test_reading_on_never_goes_back(odd: Library) -> None:
    path, expected = odd("one_gop")
    with VideoReader(path) as video:
        for start in range(0, FRAMES, 8):
            indices = list(range(start, start + 8))
            assert_frames(video.read(indices), expected, indices)
        assert video.work.seeks == 0
        assert video.work.decoded == FRAMES


def test_a_frame_that_was_passed_over_is_found_again(odd: Library) -> None:
    path, expected = odd("many_b_frames")
    with VideoReader(path) as video:
        assert_frames(video.read([11]), expected, [11])
        assert video.work.spared > 0
        for index in range(10, -1, -1):
            assert_frames(video.read([index]), expected, [index])


# ---- time


def test_files_with_good_stamps_are_not_decoded_at_opening(odd: Library) -> None:
    stamped = ["h264", "variable_rate_mkv", "open_gop_ts", "mpeg4_avi_b", "mpeg4_no_b", "vp8_hidden", "edit_list"]
    for kind in stamped:
        with VideoReader(odd(kind)[0]) as video:
            assert video.work.decoded == 0, kind
    unstamped = ["no_stamps", "h264_avi", "mpeg4_packed", "raw_h264_b", "vp9_pairs"]
    for kind in [*unstamped, "cut_start", "cut_at_keyframe", "interlaced"]:
        with VideoReader(odd(kind)[0]) as video:
            opened = video.work.decoded
            assert opened > 0, kind
            video.read([1, 7])
            assert video.work.decoded == opened, "what was decoded is kept"


def test_times_are_those_of_the_file(odd: Library) -> None:
    for kind in ("variable_rate", "variable_rate_mkv"):
        with VideoReader(odd(kind)[0]) as video:
            np.testing.assert_allclose(video.times, np.array(STAMPS) / 1000, atol=1e-9)
            assert video.info.variable_rate
            mean = (STAMPS[-1] - STAMPS[0]) / 1000 / (FRAMES - 1)
            assert video.info.fps == pytest.approx(1 / mean)
            assert video.info.duration == pytest.approx(STAMPS[-1] / 1000 + 0.04)  # as the file stores it


UNEVEN = ("variable_rate", "variable_rate_mkv", "vp8_hidden", "vp9_hidden", "vp9_apart")


@pytest.mark.parametrize("kind", [kind for kind in GOOD if kind not in UNEVEN])
def test_constant_rate_is_seen(odd: Library, kind: str) -> None:
    info = probe(odd(kind)[0])
    assert info.fps == pytest.approx(25, rel=1e-6)
    assert not info.variable_rate
    with open_video(odd(kind)[0]) as video:
        assert np.array_equal(ticks(video.times), np.arange(info.frames))


# ---- names and doors


@pytest.mark.parametrize("name", ["a:b.mp4", "http:%03d ü.mp4", "-i.mp4", "c*[1]?.mp4"])
def test_any_name_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_video(tmp_path / "plain.mp4", frames=5).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_video(name) as video:
        assert [frame_number(frame) for frame in video.read([4, 0]).numpy()] == [4, 0]


def test_is_video(tmp_path: Path) -> None:
    assert is_video("x/A.MP4") and is_video(Path("b.webm"))
    assert not is_video("b.txt") and not is_video("labels.csv") and not is_video("mp4")
    assert not is_video(tmp_path)
    Image.fromarray(picture(0)).save(tmp_path / "0.png")
    assert is_video(tmp_path)
    with open_video(tmp_path) as folder:
        assert isinstance(folder, FrameFolder)


# ---- real files, where they are at hand


def real_files() -> list[Path]:
    return (
        sorted(REAL.glob("clips/*"))
        + sorted(REAL.glob("daily/*/*.mp4"))[::8]
        + sorted(REAL.glob("fights/*/*.mp4"))[::40]
    )


@pytest.mark.parametrize("path", real_files() or [None], ids=lambda path: path.name if path else "none at hand")
def test_real_files_are_exact(path: Path | None) -> None:
    if path is None:
        pytest.skip("the real clips are not at hand")
    with VideoReader(path) as video:
        rng = np.random.default_rng(0)
        n = len(video)
        reads = [rng.integers(0, n, 5).tolist() for _ in range(3)] + [np.linspace(0, n - 1, 4).astype(int).tolist()]
        wanted = {index for read in reads for index in read}
        expected: dict[int, np.ndarray] = {}
        with av.open(str(path)) as container:
            count = 0
            for frame in container.decode(video=0):
                if count in wanted:
                    expected[count] = frame.to_ndarray(format="rgb24")
                count += 1
        assert n == count
        for read in reads:
            for frame, index in zip(video.read(read).numpy(), read, strict=True):
                assert np.array_equal(frame, expected[index])
        assert 9 < video.info.fps < 61


def test_a_text_file_is_no_film_of_its_letters(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader,\n" * 40)
    with pytest.raises(UnreadableVideo, match="text file"):
        open_video(path)
