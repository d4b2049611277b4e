"""The tab Label in the system's Chromium, by keyboard only: `pytest -m browser tests/app`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import moving_square, write_video

from kinema import ClipSpec, create_model
from kinema.app.server import bind, make_site
from kinema.cli import main
from kinema.data.manifest import read_manifest
from kinema.recognizer import Recognizer

pytest.importorskip("gradio")
uvicorn = pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 60_000  # milliseconds
PICTURES = os.environ.get("KINEMA_PICTURES")  # a folder, to look at the page
pytestmark = [
    pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium here"),
]  # fmt: skip


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("my films")
    for i in range(3):
        write_video(folder / f"film {i}.mp4", moving_square(np.random.default_rng(i), i % 2 == 0, frames=36))
    (folder / "film 9 broken.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40)
    return folder


@pytest.fixture(scope="module")
def address(films: Path) -> Iterator[str]:
    model = create_model("tsn_r18", num_classes=2, frames=4, width=0.125)
    recognizer = Recognizer(model.eval(), ("go left", "go right"), ClipSpec(frames=4, short_side=32, crop=32))
    site = make_site({"tiny": recognizer}, keep=0.0, to_label={"my films": str(films)})
    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(site.app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    site.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


def opened(browser: Any, address: str) -> Any:
    page = browser.new_page()
    page.goto(address)
    tab = page.get_by_role("tab", name="Label")
    tab.wait_for(timeout=PATIENCE)
    tab.click()
    page.get_by_role("button", name="Open", exact=True).press("Enter")
    page.locator(".k-desk").wait_for(timeout=PATIENCE)
    page.wait_for_function("document.querySelector('.k-label-video')?.readyState > 0", timeout=PATIENCE)
    page.wait_for_function("document.activeElement.matches('.k-view')", timeout=PATIENCE)
    page.wait_for_function("!window.kinemaOpening()", timeout=PATIENCE)
    return page


def status(page: Any, text: str) -> None:
    page.locator(".k-desk", has_text=text).wait_for(timeout=PATIENCE)


def there(page: Any, name: str) -> None:
    """Waits until a video is shown and takes keys."""
    found = "name => document.querySelector('.k-view')?.dataset.video === name && !window.kinemaOpening()"
    page.wait_for_function(found, arg=name, timeout=PATIENCE)


def seek(page: Any, time: float) -> None:
    """To a time by arrow keys, a tenth of a second each."""
    at = page.evaluate("document.querySelector('.k-label-video').currentTime")
    steps = round((time - at) / 0.1)
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")


def test_segments_by_keyboard_only(address: str, browser: Any, films: Path) -> None:
    page = opened(browser, address)
    status(page, "Video 1 of 4: film 0.mp4. 0 of 4 labelled")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('.k-label-video').currentTime > 0.2", timeout=PATIENCE)
    page.keyboard.press("Space")
    assert page.evaluate("document.querySelector('.k-label-video').paused")
    seek(page, 0.5)
    page.keyboard.press("i")
    seek(page, 2.0)
    page.keyboard.press("o")
    page.keyboard.press("2")
    status(page, "1 of 4 labelled")
    rows = read_manifest(films / "segments.csv").samples
    assert [(Path(r.path).name, r.label) for r in rows] == [("film 0.mp4", "go right")]
    assert (rows[0].start, rows[0].end) == pytest.approx((0.5, 2.0), abs=0.11)
    # Several keys at once, none of which is lost: the label is taken back and given again.
    page.keyboard.press("u")
    page.keyboard.press("1")
    status(page, "go left")
    # A label of one's own, and the whole video.
    page.keyboard.press("n")
    there(page, "film 1.mp4")
    status(page, "Video 2 of 4")
    page.locator(".k-new-label").fill("stumble")
    page.locator(".k-new-label").press("Enter")
    page.locator("[data-label=stumble]").wait_for(timeout=PATIENCE)
    page.keyboard.press("3")
    status(page, "2 of 4 labelled")
    # The last video cannot be read: a sentence, and the page lives on.
    page.keyboard.press("n")
    status(page, "Video 3 of 4")
    page.keyboard.press("n")
    status(page, "Video 4 of 4")
    page.locator(".k-label .k-warn", has_text="film 9 broken.mp4").wait_for(timeout=PATIENCE)
    page.keyboard.press("n")
    status(page, "is the last of 4 videos")
    page.keyboard.press("p")
    status(page, "Video 3 of 4")
    found = read_manifest(films / "segments.csv")
    assert [(Path(r.path).name, r.label, r.start is None) for r in found.samples] == [
        ("film 0.mp4", "go left", False), ("film 1.mp4", "stumble", True),
    ]  # fmt: skip
    page.close()
    # The next day it opens at the first video without a segment.
    page = opened(browser, address)
    status(page, "Video 3 of 4: film 2.mp4. 2 of 4 labelled")
    page.keyboard.press("s")
    page.locator(".k-desk .k-result, [data-act=accept]").first.wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Show the least sure first").click()
    status(page, "margin")
    page.get_by_role("button", name="Previous").click()
    status(page, "labelled")
    for width in (360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        if PICTURES:
            page.wait_for_timeout(400)
            page.screenshot(path=str(Path(PICTURES) / f"label {width}.png"), full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert str(films) not in page.content()
    page.close()


def test_keys_that_come_before_the_video_are_refused_in_sight(
    address: str, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinema.app.label_videos import LabelVideos

    page = browser.new_page()
    page.goto(address)
    page.get_by_role("tab", name="Label").click(timeout=PATIENCE)
    page.get_by_label("Your name").fill("hasty")
    page.get_by_role("button", name="Open", exact=True).press("Enter")
    page.locator(".k-desk").wait_for(timeout=PATIENCE)
    there(page, "film 0.mp4")
    opens, free = LabelVideos.open, threading.Event()

    def late(videos: LabelVideos, video: str) -> Path:
        free.wait(30)
        return opens(videos, video)

    monkeypatch.setattr(LabelVideos, "open", late)
    page.keyboard.press("n")
    for key in ("1", "o", "i"):
        page.keyboard.press(key)
        assert f"key {key} was not used" in page.locator(".k-refused").inner_text()
    assert page.locator(".k-view.k-opening").count() == 1
    free.set()
    there(page, "film 1.mp4")
    status(page, "0 of 4 labelled")
    assert page.locator("[data-act=clear]").count() == 0  # nothing was marked
    page.locator(".k-view:not(.k-opening)").wait_for(timeout=PATIENCE)
    page.keyboard.press("1")
    status(page, "1 of 4 labelled")
    # Several steps at once are all done; at the end of the folder, keys work on.
    for _ in range(3):
        page.keyboard.press("n")
    status(page, "is the last of 4 videos")
    there(page, "film 9 broken.mp4")
    page.keyboard.press("2")
    status(page, "2 of 4 labelled")
    page.close()


def test_open_mark_label_undo_next_by_keyboard_and_train(address: str, browser: Any, films: Path) -> None:
    page = browser.new_page()
    page.goto(address)
    page.get_by_role("tab", name="Label").wait_for(timeout=PATIENCE)

    def reach(found: str) -> None:
        for _ in range(60):
            if page.evaluate(f"(e => {found})(document.activeElement)"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"not reached: {found}")

    reach("e.getAttribute('role') === 'tab' && e.textContent.includes('Label')")
    page.keyboard.press("Enter")
    reach("e.matches('input[type=text], textarea') && e.labels[0].textContent.includes('Your name')")
    page.keyboard.type("ann")
    reach("e.textContent.trim() === 'Open'")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.k-label-video')?.readyState > 0", timeout=PATIENCE)
    page.wait_for_function("document.activeElement.matches('.k-view')", timeout=PATIENCE)
    status(page, "saved in segments-ann.csv")
    for name, label in (("film 0", "1"), ("film 1", "2"), ("film 2", "1")):
        there(page, f"{name}.mp4")
        seek(page, 0.5)
        page.keyboard.press("i")
        seek(page, 2.0)
        page.keyboard.press("o")
        page.keyboard.press(label)
        page.locator("[data-act=remove]").wait_for(timeout=PATIENCE)
        page.keyboard.press("u")
        page.locator("[data-act=remove]").wait_for(state="detached", timeout=PATIENCE)
        page.keyboard.press(label)  # undoing the label has left the marks
        page.locator("[data-act=remove]").wait_for(timeout=PATIENCE)
        page.keyboard.press("n")
    status(page, "Video 4 of 4")
    # Any video is opened by its number.
    reach("e.matches('.k-new input[type=number]')")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    status(page, "Video 1 of 4: film 0.mp4. 3 of 4 labelled")
    page.close()
    table = films / "segments-ann.csv"
    rows = read_manifest(table).samples
    assert [r.label for r in rows] == ["go left", "go right", "go left"]
    assert [time for r in rows for time in (r.start, r.end)] == pytest.approx([0.5, 2.0] * 3, abs=0.11)
    run = films.parent / "run"
    words = ["train", "--data", str(table), "--model", "tsn_r18", "--epochs", "1", "--out", str(run), "--device", "cpu"]
    assert main([*words, "--workers", "0"]) == 0
    assert Recognizer.load(run).labels == ("go left", "go right")


def test_axe_finds_no_serious_fault(address: str, browser: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(browser, address)
    for name in ("Agreement of two people", "Train on the segments"):
        page.get_by_role("button", name=name).click()
    page.keyboard.press("Escape")
    page.locator("[data-key=i]").click()
    page.locator("[data-act=clear]").wait_for(timeout=PATIENCE)
    faults = axe.Axe().run(page).response["violations"]
    assert [(f["id"], f["nodes"][0]["html"]) for f in faults if f["impact"] in ("serious", "critical")] == []
    page.close()
