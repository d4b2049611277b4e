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
    """The packets of a file that do not follow those before them, by their numbers or by their order."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata
        numbers = PictureNumbers(extradata)
        packets = [packet for packet in container.demux(stream) if packet.size]
        stamps = [packet.pts for packet in packets]
        known = None not in stamps and len(set(stamps)) == len(stamps)
        places = [sorted(stamps).index(stamp) if known else -1 for stamp in stamps]
        for serial, (packet, place) in enumerate(zip(packets, places, strict=True)):
            data = bytes(packet)
            clean = packet.is_keyframe and h264_starts_clean(data, extradata)
            if numbers.damaged(data, clean, place):
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
    assert len(whole) - len(shown) >= 3
    assert misfits(store(tmp_path / "shown.ts", "libx264", shown)) == []


def test_real_clips_fit() -> None:
    clips = sorted(CLIPS.glob("daily/**/*.mp4"))
    if not clips:
        pytest.skip("no real clips are at hand")
    assert [clip.name for clip in clips if misfits(clip)] == []


# ---- packets lost, repeated, exchanged


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
    stored = moved(chunks, [*order, *range(max(order) + 1, 38)])
    path = store(tmp_path / f"changed{suffix}", "libx264", stored)
    assert misfits(path)[0] == first
    following = next(place for place in range(len(order), len(stored)) if stored[place].key)
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
        assert not refused & set(range(following, len(stored)))


def test_a_loss_before_an_open_group_costs_what_draws_on_it(tmp_path: Path) -> None:
    chunks = open_groups()
    second = [serial for serial, chunk in enumerate(chunks) if chunk.key][1]
    before = max(serial for serial in range(second) if chunks[serial].data[4] & 0x60)
    kept = chunks[:before] + chunks[second:]
    path = store(tmp_path / "lossy.ts", "libx264", kept)
    assert misfits(path) == [before]
    whole = full_decode(store(tmp_path / "whole.ts", "libx264", chunks))
    shown_at = sorted(chunk.pts for chunk in chunks)
    with VideoReader(path) as video:
        names = [shown_at.index(pts) for pts in sorted(chunk.pts for chunk in kept)]
        key = names.index(shown_at.index(chunks[second].pts))
        for index in range(key - 3, key):
            with pytest.raises(UnreadableVideo, match=r"lossy\.ts"):
                video.read([index])
        for index in range(key, len(video)):
            assert np.array_equal(video.read([index])[0].numpy(), whole[names[index]]), index


SWAPS = {  # x264's settings, places in a group of which the contents are exchanged, and what is damaged by that
    "B frames that no other needs": ({"bframes": 3, "b-pyramid": "none", "b-adapt": 0}, (2, 4), {2, 3, 4}),
    "neighbours": ({"bframes": 3, "b-pyramid": "none", "b-adapt": 0}, (2, 3), {2, 3}),
    "the leaves of a pyramid": ({**PYRAMID, "bframes": 3}, (3, 4), {3, 4}),
}


@pytest.mark.parametrize("group", [0, 1])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("swap", SWAPS)
def test_exchanged_b_frames_are_refused(tmp_path: Path, swap: str, suffix: str, group: int) -> None:
    options, places, damaged = SWAPS[swap]
    chunks = encode("libx264", options=x264(**options, keyint=12, scenecut=0))
    whole = full_decode(store(tmp_path / f"whole{suffix}", "libx264", chunks))
    first = [serial for serial, chunk in enumerate(chunks) if chunk.key][group]
    one, other = (first + place for place in places)
    assert not (chunks[one].data[4] | chunks[other].data[4]) & 0x60, "a reference"
    order = list(range(len(chunks)))
    order[one], order[other] = other, one
    path = store(tmp_path / f"changed{suffix}", "libx264", moved(chunks, order))
    shown_at = sorted(chunk.pts for chunk in chunks)
    damaged = {shown_at.index(chunks[first + place].pts) for place in damaged}
    intact = {shown_at.index(chunk.pts) for serial, chunk in enumerate(chunks) if not first <= serial < first + 12}
    last = len(chunks) - 1  # in another group: only the packets up to the first frame are decoded before the jump
    for others in ([], [0], [last]):
        with VideoReader(path) as video:
            for index in set(range(len(chunks))) - set(others):
                indices = sorted([index, *others])
                try:
                    picture = video.read(indices)[indices.index(index)].numpy()
                except UnreadableVideo as error:
                    assert "changed" in str(error)
                    assert index not in intact
                    continue
                assert index not in damaged
                assert np.array_equal(picture, whole[index]), index


# ---- headers that no encoder at hand writes: fields, numbers that begin anew, gaps on purpose


def ue(*values: int) -> str:
    """Numbers in the code ue(v), as bits."""
    return "".join("0" * (len(f"{value + 1:b}") - 1) + f"{value + 1:b}" for value in values)


def unit(kind: int, bits: str, *, reference: bool = True) -> bytes:
    """A unit in a stream with start codes."""
    bits = f"{bits}1".ljust((len(bits) // 8 + 1) * 8, "0")
    body = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)) + b"\xab\xcd"
    while b"\0\0\0" in body or b"\0\0\1" in body or b"\0\0\2" in body:
        for low in (b"\0", b"\1", b"\2"):
            body = body.replace(b"\0\0" + low, b"\0\0\3" + low)
    return b"\0\0\1" + bytes([(0x60 if reference else 0) | kind]) + body


def parameters(*, gaps: bool = False, fields: bool = False, order: int = 2, weighted: bool = False) -> bytes:
    """A sequence parameter set whose numbers have 4 bits, and a picture parameter set."""
    counts = {0: ue(0, 0), 1: ue(1) + "0" + ue(3, 4, 2, 6, 5), 2: ue(2)}[order]
    size = ue(4) + str(int(gaps)) + ue(5, 3) + ("00" if fields else "1")
    sequence = f"{77:08b}{0:08b}{30:08b}" + ue(0, 0) + counts + size
    picture = ue(0, 0) + "10" + ue(0, 1, 0) + f"{int(weighted)}00" + ue(0, 0, 0) + "000"
    return unit(7, sequence) + unit(8, picture)


REFRESH = unit(5, ue(0, 7, 0) + "0000" + ue(0))


def p_frame(number: int, *, reference: bool = True, marks: str = "0", field: str = "", first: int = 0) -> bytes:
    """A P slice with an order of type 2: no lists of its own, no reordering, then the marks."""
    bits = ue(first, 5, 0) + f"{number % 16:04b}" + field + "0" + "0" + (marks if reference else "")
    return unit(1, bits, reference=reference)


FORGET = "1" + ue(1, 3, 3, 2, 1, 5, 0)  # long-term marks, then "forget all"
KEEP = "1" + ue(1, 3, 3, 2, 1, 0)


def verdict(*packets: bytes, header: bytes | None = None) -> list[bool]:
    numbers = PictureNumbers(parameters() if header is None else header)
    return [not numbers.damaged(packet, REFRESH in packet, -1) for packet in packets]


def test_numbers_rise_with_references() -> None:
    assert all(verdict(REFRESH, *(p_frame(n) for n in range(1, 40)), REFRESH, p_frame(1)))
    b = [p_frame(n, reference=False) for n in range(4)]
    assert all(verdict(REFRESH, p_frame(1), b[2], b[2], p_frame(2), b[3]))
    assert verdict(REFRESH, p_frame(1), b[3], p_frame(3)) == [True, True, False, True]
    assert verdict(REFRESH, p_frame(1), p_frame(1), p_frame(2)) == [True, True, False, True]
    assert verdict(REFRESH, p_frame(1), p_frame(3), p_frame(4)) == [True, True, False, True]
    assert verdict(p_frame(9), p_frame(10), p_frame(12)) == [True, True, False]
    assert verdict(b"\0\0\1\x09\xf0" + REFRESH, b"\0\0\1\x09\xf0" + p_frame(2)) == [True, False]


def test_slices_of_one_picture_in_packets_of_their_own_fit() -> None:
    assert all(verdict(REFRESH, p_frame(1), p_frame(1, first=20), p_frame(2), p_frame(2, first=9), p_frame(3)))


def test_encoders_that_do_not_count_are_not_judged() -> None:
    assert all(verdict(REFRESH, *[p_frame(0)] * 9))


def test_gaps_on_purpose_fit() -> None:
    assert all(verdict(REFRESH, p_frame(2), p_frame(4), p_frame(5), header=parameters(gaps=True)))


def test_fields_fit() -> None:
    top, bottom = "10", "11"
    header = parameters(fields=True)
    one = [p_frame(n, field=side) for n in (1, 2, 3) for side in (top, bottom)]
    assert all(verdict(REFRESH, p_frame(0, field=bottom), *one, header=header))
    both = [a + b for a, b in zip(one[::2], one[1::2], strict=True)]
    assert all(verdict(REFRESH + p_frame(0, field=bottom), *both, p_frame(4, field="0"), header=header))
    mixed = p_frame(1, field=top, reference=False) + p_frame(1, field=bottom)
    assert all(verdict(REFRESH, mixed, p_frame(2, field="0"), header=header))
    assert verdict(REFRESH, *one, p_frame(5, field=top), header=header)[-1] is False


@pytest.mark.parametrize("order", [0, 1, 2])
def test_numbers_begin_anew_where_all_is_forgotten(order: int) -> None:
    header = parameters(order=order)
    stamp = {0: "0101", 1: ue(3), 2: ""}[order]

    def p(number: int, marks: str = "0") -> bytes:
        return unit(1, ue(0, 5, 0) + f"{number:04b}" + stamp + "00" + marks)

    assert all(verdict(REFRESH, p(1), p(2), p(3, FORGET), p(1), p(2), header=header))
    assert verdict(REFRESH, p(1), p(2), p(3, KEEP), p(1), p(2), header=header) == [True] * 4 + [False, True]
    lists = "1" + ue(2) + "1" + ue(0, 4, 2, 1, 3)  # three references, two of them moved
    long = unit(1, ue(0, 5, 0) + "0011" + stamp + lists + FORGET)
    assert all(verdict(REFRESH, p(1), p(2), long, p(1), header=header))
    weights = ue(3, 2) + ("1" + ue(3, 4) + "0") + ("0" + "1" + ue(1, 2, 3, 4)) + "00"
    for marks, fits in ((FORGET, True), (KEEP, False)):
        heavy = unit(1, ue(0, 5, 0) + "0001" + stamp + lists + weights + marks)
        header = parameters(order=order, weighted=True)
        assert verdict(REFRESH, heavy, p(1), header=header) == [True, True, fits]


def test_what_cannot_be_parsed_proves_nothing() -> None:
    assert all(verdict(p_frame(3), p_frame(9), header=b""))
    assert all(verdict(p_frame(3), p_frame(9), header=b"\1\0\0"))
    assert all(verdict(REFRESH, b"\0\0\1\x41", p_frame(5)))
    assert all(verdict(REFRESH, b"", b"\0", b"\0\0\1", b"no unit at all", p_frame(1)))
    for length in range(len(parameters())):
        verdict(REFRESH, p_frame(1), header=parameters()[:length])


# ---- the order of display


HEADER = parameters(order=0)  # counts of 4 bits


def frame(number: int, order: int, *, reference: bool = True, marks: str = "0", kind: int = 5) -> bytes:
    """A slice of P, or of B with `kind` 6, at a place in the order of display."""
    lists = "100" if kind == 6 else "0"  # of B: direct_spatial_mv_pred_flag; then the usual numbers of references
    bits = ue(0, kind, 0) + f"{number % 16:04b}{order % 16:04b}" + lists + "0" + (marks if reference else "")
    return unit(1, bits, reference=reference)


def b_frame(number: int, order: int) -> bytes:
    return frame(number, order, reference=False, kind=6)


def counted(*packets: tuple[bytes, int]) -> list[int]:
    numbers = PictureNumbers(HEADER)
    return [numbers.damaged(packet, REFRESH in packet, place) for packet, place in packets]


def test_the_order_counts_are_those_of_the_stamps() -> None:
    start = [(unit(5, ue(0, 7, 0) + "0000" + ue(0) + "0000"), 0)]
    groups = []
    for n in range(12):  # P at 3, 6, 9, … with two B frames before it; the counts wrap often
        place = 3 * n
        groups += [(frame(n + 1, 2 * place + 6), place + 3)]
        groups += [(b_frame(n + 2, 2 * place + 2), place + 1), (b_frame(n + 2, 2 * place + 4), place + 2)]
    assert not any(counted(*start, *groups))
    for at in range(1, len(groups), 3):
        swapped = list(groups)
        swapped[at], swapped[at + 1] = (groups[at + 1][0], groups[at][1]), (groups[at][0], groups[at + 1][1])
        found = counted(*start, *swapped)
        assert found[at + 2] == 2
        assert not any(found[: at + 2])
        assert not any(counted(*[(packet, -1) for packet, _ in (*start, *swapped)])), "nothing to compare with"


def test_stamps_in_the_order_of_storage_prove_nothing() -> None:
    orders = [6, 2, 4, 12, 8, 10]
    packets = [frame(n // 3 + 1, o) if n % 3 == 0 else b_frame(n // 3 + 2, o) for n, o in enumerate(orders)]
    assert not any(counted((REFRESH, 0), *[(packet, place + 1) for place, packet in enumerate(packets)]))


def test_order_counts_begin_anew_where_all_is_forgotten() -> None:
    packets = [(frame(1, 6), 3), (b_frame(2, 2), 1), (b_frame(2, 4), 2), (frame(2, 12, marks=FORGET), 6)]
    after = [(frame(1, 4), 8), (b_frame(2, 2), 7)]
    assert not any(counted((REFRESH, 0), *packets, *after))
    kept = (frame(2, 12), 6)
    assert any(counted((REFRESH, 0), *packets[:3], kept, *after))
