from __future__ import annotations

from pathlib import Path

import av
import pytest
from data.odd_videos import write_video, x264

from kinema.data.reading.sequence import is_progressive


def header(path: Path) -> bytes | None:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.extradata


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv", ".h264"])
@pytest.mark.parametrize(
    "options", [{}, {"cqm": "jvt"}, {"bframes": 0, "keyint": 5}, {"vbv-maxrate": 500, "vbv-bufsize": 500}]
)
def test_progressive_h264(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    for pix_fmt in ("yuv420p", "yuv444p", "yuv420p10le", "yuv422p"):
        path = write_video(tmp_path / f"a{suffix}", options=x264(**options), pix_fmt=pix_fmt, frames=8)
        assert is_progressive("h264", header(path)), pix_fmt


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
@pytest.mark.parametrize("options", [{"tff": 1}, {"bff": 1, "cqm": "jvt"}, {"fake-interlaced": 1}])
def test_interlaced_h264(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    path = write_video(tmp_path / f"a{suffix}", options=x264(**options), frames=8)
    assert not is_progressive("h264", header(path))


def test_other_codecs(tmp_path: Path) -> None:
    two = write_video(tmp_path / "a.ts", "mpeg2video", frames=8)
    assert is_progressive("mpeg2video", header(two))
    assert is_progressive("mpeg1video", None)
    assert not is_progressive("vc1", b"\x01\x02")


def test_headers_that_are_cut_or_missing_prove_nothing(tmp_path: Path) -> None:
    whole = header(write_video(tmp_path / "a.mp4", frames=2))
    assert whole
    for length in range(20):
        is_progressive("h264", whole[:length])
    assert not is_progressive("h264", whole[:9])
    assert not is_progressive("h264", None)
    assert not is_progressive("mpeg2video", None)
