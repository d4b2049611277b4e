"""Writes small odd and broken video files: `write_odd("rotated_90", folder)` gives the path of a new file.

`GOOD` lists the kinds whose frames can all be read, `BROKEN` those from which a reader must refuse something. Every
frame shows its own number as a row of light and dark squares (`frame_number` reads it back), over a moving texture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from data.odd_containers import (
    audio_only,
    audio_with_cover,
    cut_off,
    cut_start,
    damaged,
    edited,
    no_stamps,
    no_table,
    piped,
    size_change,
    text_file,
)
from data.odd_streams import cut_at_keyframe, mpeg4_packed, mpeg4_xvid, vp8_hidden, vp9_apart, vp9_hidden, vp9_pairs
from data.plain_videos import FRAMES, HEIGHT, RATE, WIDTH, frame_number, picture, tone, write_video, x264

__all__ = [
    "BROKEN",
    "FRAMES",
    "GOOD",
    "HEIGHT",
    "RATE",
    "STAMPS",
    "WIDTH",
    "frame_number",
    "picture",
    "tone",
    "write_odd",
    "write_video",
]

STAMPS: list[int] = np.cumsum([0, *np.random.default_rng(7).choice([20, 33, 40, 100, 250], FRAMES - 1)]).tolist()
_LATE = [5000 + 40 * i for i in range(FRAMES)]
_B = {"bf": "2", "b_strategy": "0", "qscale": "3"}
_OPEN = x264(**{"open-gop": 1, "bframes": 3, "keyint": 12})
_HEVC = {"x265-params": "open-gop=1:keyint=12:log-level=none"}

GOOD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "h264": (".mp4", lambda p: write_video(p)),
    "one_gop": (".mp4", lambda p: write_video(p, gop=250)),
    "no_b_frames": (".mp4", lambda p: write_video(p, options=x264(bframes=0))),
    "single_frame": (".mp4", lambda p: write_video(p, frames=1)),
    "many_b_frames": (".mp4", lambda p: write_video(p, options=x264(bframes=8, b_pyramid="normal", **{"b-adapt": 0}))),
    "variable_rate": (".mp4", lambda p: write_video(p, stamps=STAMPS)),
    "variable_rate_mkv": (".mkv", lambda p: write_video(p, stamps=STAMPS)),
    "rotated_90": (".mp4", lambda p: write_video(p, turn=(90, False))),
    "rotated_180": (".mov", lambda p: write_video(p, turn=(180, False))),
    "rotated_270": (".mp4", lambda p: write_video(p, turn=(270, False))),
    "mirrored": (".mp4", lambda p: write_video(p, turn=(0, True))),
    "odd_size": (".mp4", lambda p: write_video(p, "mpeg4", size=(97, 61))),
    "odd_size_vp9": (".webm", lambda p: write_video(p, "libvpx-vp9", size=(61, 97))),
    "latin1_metadata": (".avi", lambda p: write_video(p, "mpeg4", title="Müßiggang".encode("latin-1"))),
    "no_count": (".mkv", piped),
    "fragmented": (".mp4", lambda p: write_video(p, mux={"movflags": "frag_keyframe+empty_moov"})),
    "alpha_vp9": (".webm", lambda p: write_video(p, "libvpx-vp9", pix_fmt="yuva420p", options={"auto-alt-ref": "0"})),
    "alpha_png": (".mov", lambda p: write_video(p, "png", pix_fmt="rgba")),
    "ten_bit": (".mp4", lambda p: write_video(p, pix_fmt="yuv420p10le")),
    "full_range_444": (".mp4", lambda p: write_video(p, pix_fmt="yuvj444p")),
    "late_start": (".mkv", lambda p: write_video(p, stamps=_LATE)),
    "late_start_mp4": (".mp4", lambda p: write_video(p, stamps=_LATE, sound=3)),
    "sound_first": (".mp4", lambda p: write_video(p, sound=2)),
    "negative_offsets": (".mp4", lambda p: write_video(p, mux={"movflags": "negative_cts_offsets"})),
    "edit_list": (".mp4", edited),
    "open_gop": (".mp4", lambda p: write_video(p, options=_OPEN)),
    "open_gop_ts": (".ts", lambda p: write_video(p, options=_OPEN)),
    "intra_refresh": (".mp4", lambda p: write_video(p, options=x264(**{"intra-refresh": 1, "keyint": 12}))),
    "interlaced": (".ts", lambda p: write_video(p, options=x264(tff=1, keyint=12))),
    "cut_start": (".ts", cut_start),
    "cut_at_keyframe": (".ts", cut_at_keyframe),
    "hevc_open_gop": (".mp4", lambda p: write_video(p, "libx265", options=_HEVC)),
    "raw_h264": (".h264", lambda p: write_video(p)),
    "raw_h264_b": (".h264", lambda p: write_video(p, options=x264(bframes=3))),
    "h264_avi": (".avi", lambda p: write_video(p, options=x264(bframes=3))),
    "mpeg4_avi": (".avi", lambda p: write_video(p, "mpeg4", options={"qscale": "3"})),
    "mpeg4_avi_b": (".avi", lambda p: write_video(p, "mpeg4", options=_B)),
    "mpeg4_packed": (".avi", mpeg4_packed),
    "mpeg4_no_b": (".avi", lambda p: write_video(p, "mpeg4", gop=1, options=_B)),
    "mpeg4_mp4_b": (".mp4", lambda p: write_video(p, "mpeg4", options=_B)),
    "msmpeg4": (".avi", lambda p: write_video(p, "msmpeg4", options={"qscale": "3"})),
    "wmv": (".wmv", lambda p: write_video(p, "wmv2")),
    "flv": (".flv", lambda p: write_video(p, "flv")),
    "mpeg2_ps": (".mpg", lambda p: write_video(p, "mpeg2video", options=_B)),
    "mpeg2_ts": (".ts", lambda p: write_video(p, "mpeg2video", options=_B)),
    "vp8_hidden": (".webm", vp8_hidden),
    "vp9_hidden": (".webm", vp9_hidden),
    "vp9_apart": (".webm", vp9_apart),
    "vp9_pairs": (".webm", vp9_pairs),
    "no_stamps": (".mp4", no_stamps),
    "size_change": (".h264", size_change),
    "mpeg4_xvid": (".avi", mpeg4_xvid),
    "av1": (".mp4", lambda p: write_video(p, "libsvtav1", options={"preset": "12", "svtav1-params": "keyint=12"})),
    "mjpeg": (".avi", lambda p: write_video(p, "mjpeg", pix_fmt="yuvj420p")),
    "ffv1": (".mkv", lambda p: write_video(p, "ffv1")),
    "gif": (".gif", lambda p: write_video(p, "gif", pix_fmt="rgb8")),
    "qtrle": (".mov", lambda p: write_video(p, "qtrle", pix_fmt="rgb24")),
    "cinepak": (".avi", lambda p: write_video(p, "cinepak", pix_fmt="rgb24", frames=14)),
}
if "libsvtav1" not in av.codecs_available:  # PyAV before 16
    del GOOD["av1"]
BROKEN: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "missing": (".mp4", lambda p: p),
    "empty": (".mp4", lambda p: text_file(p, "")),
    "text": (".mp4", lambda p: text_file(p, "path,label\nwalk/a.mp4,walk\n" * 200)),
    "audio_only": (".mp4", audio_only),
    "audio_with_cover": (".mp4", audio_with_cover),
    "no_table": (".mp4", no_table),
    "cut_off": (".mp4", cut_off),
    "damaged": (".mp4", damaged),
}


def write_odd(kind: str, folder: Path) -> Path:
    """Writes a file of a kind of `GOOD` or `BROKEN` into a folder and returns its path (`missing` writes nothing)."""
    suffix, write = {**GOOD, **BROKEN}[kind]
    return write(folder / f"{kind}{suffix}")
