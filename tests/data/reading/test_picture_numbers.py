"""H.264 whose reference pictures are numbered by its encoder, sound and with packets lost, repeated and exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from data.full_decode import full_decode
from data.odd_streams import Chunk, encode, store
from data.plain_videos import write_video, x264

from kinema.data.reading.bitstream import h264_starts_clean
from kinema.data.reading.picture_numbers import PictureNumbers
from kinema.data.video import VideoReader
from kinema.errors import UnreadableVideo

CLIPS = Path(__file__).resolve().parents[4] / "shared" / "data"


def misfits(path: Path) -> list[int]:
    """The packets of a file that do not follow those before them."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata
        numbers = PictureNumbers(extradata)
        packets = [packet for packet in container.demux(stream) if packet.size]
        for serial, packet in enumerate(packets):
            data = bytes(packet)
            clean = packet.is_keyframe and h264_starts_clean(data, extradata)
            if not numbers.fits(data, clean):
                found.append(serial)
    assert numbers._last is not None, "nothing was judged"
    return found


# ---- sound streams

PYRAMID = {"bframes": 7, "b-pyramid": "normal", "b-adapt": 0}
SOUND: dict[str, dict[str, object]] = {
    "pyramid": PYRAMID,
    "deep pyramid": {**PYRAMID, "bframes": 16, "ref": 16},
    "strict pyramid": {**PYRAMID, "b-pyramid": "strict"},
    "weighted": {"weightp": 2, "weightb": 1, "ref": 5, "bframes": 3},
    "no B frames": {"bframes": 0},
    "slices": {"slices": 4, "bframes": 3},
    "slices of 200 bytes": {"slice-max-size": 200},
    "intra refresh": {"intra-refresh": 1},
    "open groups": {**PYRAMID, "open-gop": 1},
    "interlaced": {"tff": 1, "bframes": 3, "b-pyramid": "normal"},
    "interlaced, open groups": {"bff": 1, "open-gop": 1, "bframes": 3},
    "delimiters and timing": {"aud": 1, "nal-hrd": "vbr", "vbv-maxrate": 300, "vbv-bufsize": 300},
    "every frame a keyframe": {"keyint": 1},
    "keyframes that refresh nothing": {"scenecut": 400, "min-keyint": 40, "keyint": 250},
    "other numbers of parameter sets": {"sps-id": 7},
    "numbers that wrap": {"keyint": "infinite", "bframes": 2},
}


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
@pytest.mark.parametrize("kind", SOUND)
def test_sound_streams_fit(tmp_path: Path, kind: str, suffix: str) -> None:
    options = {"keyint": 12, **SOUND[kind]}
    frames = 80 if kind == "numbers that wrap" else 40
    assert misfits(write_video(tmp_path / f"a{suffix}", options=x264(**options), frames=frames, gop=250)) == []


def test_streams_of_several_encoders_in_one_fit(tmp_path: Path) -> None:
    options = ({"keyint": 250, "bframes": 3}, {"keyint": "infinite", "intra-refresh": 1}, {"sps-id": 3, "ref": 9})
    parts = [write_video(tmp_path / f"{n}.h264", options=x264(**one)) for n, one in enumerate(options)]
    path = tmp_path / "joined.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in (*parts, *parts)))
    assert misfits(path) == []


def open_groups() -> list[Chunk]:
    return encode("libx264", options=x264(**{**PYRAMID, "open-gop": 1, "keyint": 12}))


def test_streams_that_begin_at_a_recovery_point_fit(tmp_path: Path) -> None:
    chunks = open_groups()
    second = [serial for serial, chunk in enumerate(chunks) if chunk.key][1]
    assert not chunks[second].data.count(b"\x00\x00\x01\x65"), "an instantaneous refresh"
    whole = chunks[second:]
    assert misfits(store(tmp_path / "whole.ts", "libx264", whole)) == []
    shown = [chunk for chunk in whole if chunk.pts >= whole[0].pts]  # as editors cut: without what is shown before
    assert len(whole) - len(shown) > 3
    assert misfits(store(tmp_path / "shown.ts", "libx264", shown)) == []


def test_real_clips_fit() -> None:
    clips = sorted(CLIPS.glob("daily/**/*.mp4"))
    if not clips:
        pytest.skip("no real clips are at hand")
    assert [clip.name for clip in clips if misfits(clip)] == []


# ---- packets lost, repeated, exchanged

STORED = ("keyframe", "P", "P", "P")


def moved(chunks: Sequence[Chunk], order: Sequence[int]) -> list[Chunk]:
    """The contents of chunks in another order, with the stamps of their new places."""
    return [
        Chunk(chunks[content].data, chunks[place].pts, chunks[place].dts, chunks[content].key)
        for place, content in enumerate(order)
    ]


CHANGES: dict[str, tuple[list[int], int]] = {  # the order of the first packets, and the first that does not fit
    "lost": ([0, 1, 2, 4, 5, 6, 7], 3),
    "a keyframe lost": ([*range(12), *range(13, 20)], 12),
    "repeated": ([0, 1, 2, 2, 3, 4, 5], 3),
    "exchanged": ([0, 1, 4, 3, 2, 5, 6], 2),
    "exchanged with another group's": ([0, 1, 2, 16, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 3, 17], 3),
}


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_seen_and_refused(tmp_path: Path, change: str, suffix: str) -> None:
    chunks = encode("libx264", options=x264(bframes=0, keyint=12))
    whole = full_decode(store(tmp_path / f"whole{suffix}", "libx264", chunks))
    order, first = CHANGES[change]
    path = store(tmp_path / f"changed{suffix}", "libx264", moved(chunks, [*order, *range(max(order) + 1, len(chunks))]))
    assert misfits(path)[0] == first
    following = next(place for place in range(max(first, len(order)), 40) if chunks[place].key)
    with VideoReader(path) as video:
        refused = set()
        for index in range(len(video)):
            try:
                picture = video.read([index])[0].numpy()
            except UnreadableVideo as error:
                assert "changed" in str(error)
                refused.add(index)
                continue
            assert any(np.array_equal(picture, frame) for frame in whole), index
        assert first in refused
        assert not refused & set(range(first))
        assert not refused & set(range(following, len(video)))


def test_a_loss_behind_an_open_group_costs_what_draws_on_it(tmp_path: Path) -> None:
    chunks = open_groups()
    second = [serial for serial, chunk in enumerate(chunks) if chunk.key][1]
    before = max(serial for serial in range(second) if chunks[serial].data[4] & 0x60)
    kept = chunks[:before] + chunks[before + 1 :]
    path = store(tmp_path / "lossy.ts", "libx264", kept)
    assert second - 1 in misfits(path)
    whole = full_decode(store(tmp_path / "whole.ts", "libx264", chunks))
    shown_at = sorted(chunk.pts for chunk in chunks)
    with VideoReader(path) as video:
        names = [shown_at.index(pts) for pts in sorted(chunk.pts for chunk in kept)]
        key = names.index(shown_at.index(chunks[second].pts))
        with pytest.raises(UnreadableVideo, match=r"lossy\.ts"):
            video.read([key - 1])
        for index in range(key, len(video)):
            assert np.array_equal(video.read([index])[0].numpy(), whole[names[index]]), index
