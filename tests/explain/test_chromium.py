"""A browser plays what is written. Needs Chromium: run by hand with `-m slow`."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from data.odd_videos import write_odd
from explain.films import panel
from web import serving

from kinema.explain.source import Source
from kinema.explain.write import write_explanations

PAGE = """<!doctype html><video muted autoplay src="/out.mp4"></video><script>
const video = document.querySelector("video");
const tell = (event) => fetch(`/told?event=${event}&time=${video.currentTime}&width=${video.videoWidth}`
  + `&height=${video.videoHeight}&duration=${video.duration}&error=${video.error ? video.error.message : ""}`);
for (const event of ["timeupdate", "ended", "error"]) video.addEventListener(event, () => tell(event));
</script>"""
PATIENCE = 60  # seconds


def played(video: Path, folder: Path, until: str = "ended") -> list[dict[str, str]]:
    """What Chromium says while it plays a file: the event, the time, the size."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium")
    with serving() as web:
        web.files |= {"/page.html": PAGE.encode(), "/out.mp4": video.read_bytes()}
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [
            chromium, "--headless=new", *sandbox, "--disable-gpu", "--mute-audio", f"--user-data-dir={folder}",
            "--autoplay-policy=no-user-gesture-required", f"{web.address}/page.html",
        ]  # fmt: skip
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE
            told: list[dict[str, str]] = []
            while time.monotonic() < deadline and not any(t["event"] in (until, "error") for t in told):
                time.sleep(0.2)
                asked = [urlsplit(path).query for path in web.asked if path.startswith("/told")]
                told = [{key: value[0] for key, value in parse_qs(query).items()} for query in asked]
        finally:
            browser.terminate()
            browser.wait(timeout=PATIENCE)
    return told


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["h264", "variable_rate", "rotated_90", "odd_size", "late_start"])
def test_chromium_plays_an_mp4_to_its_end(tmp_path: Path, kind: str) -> None:
    with Source(write_odd(kind, tmp_path)) as film:
        shown = panel(range(len(film)), (0, 0, film.width, film.height), (0.0, film.duration))
        write_explanations(tmp_path / "out.mp4", film, [(0.0, film.duration)], lambda span: [shown, shown])
        duration = film.duration
    told = played(tmp_path / "out.mp4", tmp_path / "profile")
    assert not [t for t in told if t["event"] == "error"]
    times = [float(t["time"]) for t in told]
    assert times == sorted(times)
    assert len(set(times)) > 2
    assert times[-1] == pytest.approx(duration, abs=0.1)
    assert float(told[-1]["duration"]) == pytest.approx(duration, abs=0.05)
    assert int(told[-1]["width"]) >= 648


@pytest.mark.slow
def test_what_is_no_video_is_not_played(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"no video" * 100)
    told = played(tmp_path / "out.mp4", tmp_path / "profile")
    assert [t["event"] for t in told] == ["error"]
