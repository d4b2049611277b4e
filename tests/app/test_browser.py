"""The page in the system's Chromium: `pytest -m browser tests/app`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import moving_square, write_video

from kinema import ClipSpec, create_model
from kinema.app.server import Site, bind, make_site
from kinema.recognizer import Recognizer

pytest.importorskip("gradio")
uvicorn = pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 120_000  # milliseconds
pytestmark = [
    pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium here"),
]  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Site, str]]:
    model = create_model("tsn_r18", num_classes=2, frames=4, width=0.125)
    recognizer = Recognizer(model.eval(), ("go left", "go right"), ClipSpec(frames=4, short_side=32, crop=32))
    site = make_site({"tiny": recognizer}, keep=0.0)
    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(site.app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield site, f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    site.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


def upload(page: Any, address: str, video: Path) -> None:
    page.goto(address)
    page.get_by_role("tab", name="Recognise").wait_for(timeout=PATIENCE)
    page.set_input_files("input[type=file]", str(video))
    page.locator(".k-result").wait_for(timeout=PATIENCE)


def test_a_visit(served: tuple[Site, str], browser: Any, tmp_path: Path) -> None:
    site, address = served
    video = write_video(tmp_path / "film.mp4", moving_square(np.random.default_rng(0), True, frames=36))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40)
    visitor = browser.new_context()
    page = visitor.new_page()
    # A broken file gives a sentence that names it, and the page lives on.
    upload(page, address, broken)
    assert "broken.mp4" in page.locator(".k-warn").inner_text()
    page.set_input_files("input[type=file]", str(video))
    page.locator(".k-chart").wait_for(timeout=PATIENCE)
    assert "film.mp4: 3.0 s" in page.locator(".k-line").inner_text()
    played = "async v => { await v.play(); await new Promise(r => setTimeout(r, 600)); return v.currentTime }"
    assert page.locator(".k-result video").evaluate(played) > 0.1
    # A click into the middle of the chart plays from there.
    page.locator(".k-result video").evaluate("v => { v.pause(); v.currentTime = 0 }")
    page.locator(".k-chart").click()
    page.wait_for_function("document.querySelector('.k-result video').currentTime > 1.4", timeout=PATIENCE)
    for width in (360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("tab", name="Why").click()
    page.get_by_role("button", name="Show why").click()
    page.locator(".k-overlay").wait_for(timeout=PATIENCE)
    assert page.locator(".k-overlay").evaluate(played) > 0.1
    assert page.locator(".k-source").evaluate("v => v.currentTime") > 0.05
    # Another visitor does not get the file, even by its address.
    file = page.locator(".k-overlay").get_attribute("src")
    assert visitor.request.get(address + file).status == 200
    stranger = browser.new_context()
    assert stranger.request.get(address + "/").status == 200
    assert stranger.request.get(address + file).status == 404
    # The files go after the last page is closed.
    visitor.close()
    until = time.monotonic() + 60
    while time.monotonic() < until and any((site.root / "sessions").rglob("*.mp4")):
        site.sweep()
        time.sleep(0.5)
    assert not any((site.root / "sessions").rglob("*.mp4"))
