"""Streams that lost data: what is handed out are frames of the sound file, and all that do not depend on the loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data.full_decode import full_decode
from data.odd_transport import CODECS, Stored, stored_frames, without, write_stream
from data.odd_videos import write_odd, write_video, x264

from kinema.data.video import VideoReader, probe
from kinema.errors import UnreadableVideo

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"


class Sound:
    """Sound files with their frames, and which number a frame has by its pixels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[Path, dict[bytes, int]]] = {}

    def __call__(self, name: str) -> tuple[Path, dict[bytes, int]]:
        if name not in self._known:
            codec = name.split(".")[0]
            path = self._folder / name
            if codec in CODECS:
                write_stream(path, codec)
            else:
                write_odd(codec, self._folder).rename(path)
            frames = full_decode(path)
            numbers = {frame.tobytes(): number for number, frame in enumerate(frames)}
            assert len(numbers) == len(frames), "two frames look alike"
            self._known[name] = path, numbers
        return self._known[name]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    return Sound(tmp_path_factory.mktemp("sound"))


def given(path: Path, numbers: dict[bytes, int], order: str = "forwards") -> set[int]:
    """The numbers of the frames that a reader hands out, each asked for alone; any other picture fails the test."""
    found: list[int] = []
    with VideoReader(path) as video:
        indices = range(len(video)) if order == "forwards" else range(len(video) - 1, -1, -1)
        for index in indices:
            try:
                picture = video.read([index])[0].numpy().tobytes()
            except UnreadableVideo as error:
                assert "damaged" in error.reason or "truncated" in error.reason
                continue
            assert picture in numbers, f"frame {index} is not one of the sound file"
            found.append(numbers[picture])
    assert found == sorted(found, reverse=order != "forwards")
    return set(found)


def must_be_given(frames: list[Stored], first: int) -> set[int]:
    """What cannot depend on the frames from the `first` stored one on, up to the next keyframe."""
    later = [at for at in range(first + 1, len(frames)) if frames[at].key]
    before = {frame.index for frame in frames[:first]}
    if not later:
        return before
    return before | {frame.index for frame in frames if frame.index >= frames[later[0]].index}


def pick(frames: list[Stored], kind: str) -> int:
    """The place in storage of a keyframe, of one that others need, or of one shown before what was stored earlier."""
    for at in range(13, len(frames)):
        leads = frames[at].index < max(frame.index for frame in frames[:at])
        if (kind == "key") == frames[at].key and (kind == "key" or (kind == "b") == leads):
            return at
    raise AssertionError(kind)


PARTS: dict[str, Callable[[list[int]], list[int]]] = {
    "first": lambda carried: carried[:1],
    "middle": lambda carried: carried[len(carried) // 2 : len(carried) // 2 + 1],
    "last": lambda carried: carried[-1:],
    "all": lambda carried: carried,
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", ["key", "p", "b"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_loss_costs_what_depends_on_it(sound: Sound, tmp_path: Path, codec: str, kind: str, part: str) -> None:
    path, numbers = sound(f"{codec}.ts")
    frames = stored_frames(path)
    at = pick(frames, kind)
    assert len(frames[at].carried) > 1
    lossy = without(path, PARTS[part](frames[at].carried), tmp_path / "lossy.ts")
    had = given(lossy, numbers)
    assert had >= must_be_given(frames, at)
    assert frames[at].index not in had
    assert given(lossy, numbers, "backwards") == had


@pytest.mark.parametrize("codec", CODECS)
def test_losses_at_the_ends_of_the_file(sound: Sound, tmp_path: Path, codec: str) -> None:
    path, numbers = sound(f"{codec}.ts")
    frames = stored_frames(path)
    for at, part in ((0, "first"), (0, "middle"), (0, "last"), (len(frames) - 1, "first"), (len(frames) - 1, "middle")):
        lossy = without(path, PARTS[part](frames[at].carried), tmp_path / "lossy.ts")
        had = given(lossy, numbers)
        assert had >= must_be_given(frames, at), (at, part)
        assert frames[at].index not in had, (at, part)


def test_a_damaged_first_frame_hides_no_facts(sound: Sound, tmp_path: Path) -> None:
    path, _ = sound("mpeg2.ts")
    lossy = without(path, PARTS["middle"](stored_frames(path)[0].carried), tmp_path / "lossy.ts")
    with VideoReader(lossy) as video, pytest.raises(UnreadableVideo, match="damaged"):
        video.read([0])
    info = probe(lossy)
    assert (info.frames, info.width, info.height) == (40, 192, 128)


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_that_one_tunes_into_gives_nothing_before_its_first_keyframe(
    sound: Sound, tmp_path: Path, codec: str
) -> None:
    path, numbers = sound(f"{codec}.ts")
    frames = stored_frames(path)
    gone = [number for frame in frames[:4] for number in frame.carried]
    had = given(without(path, gone, tmp_path / "late.ts"), numbers)
    assert had >= must_be_given(frames, 0)
    assert had <= {frame.index for frame in frames if frame.index >= 11}


@pytest.mark.parametrize("codec", CODECS)
def test_two_losses(sound: Sound, tmp_path: Path, codec: str) -> None:
    path, numbers = sound(f"{codec}.ts")
    frames = stored_frames(path)
    one, two = 3, len(frames) - 3
    lossy = without(path, [frames[one].carried[1], frames[two].carried[0]], tmp_path / "lossy.ts")
    had = given(lossy, numbers)
    assert had >= must_be_given(frames, one) & must_be_given(frames, two)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("codec", CODECS)
def test_losses_anywhere(sound: Sound, tmp_path: Path, codec: str, seed: int) -> None:
    path, numbers = sound(f"{codec}.ts")
    frames = stored_frames(path)
    carried = [number for frame in frames for number in frame.carried]
    begin = int(np.random.default_rng(seed).integers(len(carried) - 3))
    lost = carried[begin : begin + 1 + seed]
    first = next(at for at, frame in enumerate(frames) if set(lost) & set(frame.carried))
    last = max(at for at, frame in enumerate(frames) if set(lost) & set(frame.carried))
    had = given(without(path, lost, tmp_path / "lossy.ts"), numbers)
    assert had >= must_be_given(frames, first) & must_be_given(frames, last)


def test_the_case_that_was_reported() -> None:
    if not CASES.exists():
        pytest.skip("the cases are not at hand")
    numbers = {frame.tobytes(): n for n, frame in enumerate(full_decode(CASES / "sound_hevc.ts"))}
    assert given(CASES / "lost_packet_hevc.ts", numbers) == {*range(20), *range(30, 40)}


# ---- pieces that were joined


def test_joined_transport_streams_lose_nothing(tmp_path: Path) -> None:
    for codec in CODECS:
        one = write_stream(tmp_path / "one.ts", codec).read_bytes()
        two = write_stream(tmp_path / "two.ts", codec, frames=20, mux={"mpegts_service_id": "7"}).read_bytes()
        for name, data in (("twice", one + two), ("again", two + one + two + one)):
            path = tmp_path / f"{name}.ts"
            path.write_bytes(data)
            whole = full_decode(path)
            with VideoReader(path) as video:
                assert len(video) == len(whole) == data.count(one) * 40 + data.count(two) * 20
                assert (np.diff(video.times) > 0).all()
                for index, frame in video.frames(range(len(video))):
                    assert np.array_equal(frame, whole[index]), (codec, index)
                assert np.array_equal(video.read([41])[0].numpy(), whole[41])


@pytest.mark.parametrize("suffix", ["h264", "hevc", "m2v", "mpg"])
def test_joined_streams_without_counters_lose_nothing(tmp_path: Path, suffix: str) -> None:
    codec = {"h264": "libx264", "hevc": "libx265"}.get(suffix, "mpeg2video")
    options = x264(bframes=3) if suffix == "h264" else {"x265-params": "log-level=none"} if suffix == "hevc" else {}
    one = write_video(tmp_path / f"one.{suffix}", codec, options=options).read_bytes()
    two = write_video(tmp_path / f"two.{suffix}", codec, options=options, frames=25).read_bytes()
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(one + two + one)
    whole = full_decode(path)
    with VideoReader(path) as video:
        assert len(video) == len(whole) == 105
        for index in (0, 39, 40, 41, 64, 65, 104):
            assert np.array_equal(video.read([index])[0].numpy(), whole[index]), index


# ---- bytes that were zeroed


@pytest.mark.parametrize(
    "name", ["h264.h264", "hevc.hevc", "h264.mp4", "hevc.mp4", "h264.mkv", "mpeg2.m2v", "mpeg4_avi.avi"]
)
@pytest.mark.parametrize("size", [60, 400])
def test_zeroed_bytes_never_give_another_picture(sound: Sound, tmp_path: Path, name: str, size: int) -> None:
    path, numbers = sound(name)
    whole = path.read_bytes()
    refused = 0
    for tenth in range(2, 9):
        data = bytearray(whole)
        at = len(data) * tenth // 10
        data[at : at + size] = bytes(size)
        lossy = tmp_path / f"lossy{path.suffix}"
        lossy.write_bytes(data)
        had = given(lossy, numbers)
        assert len(had) >= 40 - 2 * 12, "two groups of pictures at most"
        refused += 40 - len(had)
    assert refused, "nothing was damaged"
