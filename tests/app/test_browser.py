"""The page in the system's Chromium: `pytest -m browser tests/app`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import moving_square, tiny_data, write_video

from kinema import ClipSpec, create_model
from kinema.app.server import Site, make_site, served
from kinema.data.manifest import read_manifest
from kinema.media.jobs import Job
from kinema.recognizer import Recognizer

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 120_000  # milliseconds
TABS = ("Recognise", "Why", "Compare", "Live", "Data")
FAKE = ["--use-fake-device-for-media-stream"]
ALLOWED = ["--use-fake-ui-for-media-stream"]
PLAYED = "async v => { await v.play(); await new Promise(r => setTimeout(r, 600)); return v.currentTime }"
pytestmark = [
    pytest.mark.browser, pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium here"),
]  # fmt: skip


@pytest.fixture(scope="module")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str]]:
    data = str(tiny_data(tmp_path_factory.mktemp("data") / "moves"))
    recognizers = {}
    for name, causal in (("windows", False), ("steps", True)):
        torch.manual_seed(causal)
        model = create_model("tsm_r18", num_classes=2, frames=4, width=0.125, causal=causal)
        spec = ClipSpec(frames=4, short_side=32, crop=32)
        recognizers[name] = Recognizer(model.eval(), read_manifest(data).labels, spec)
    site = make_site(recognizers, folders={"moves": data}, keep=0.0)
    with served(site) as address:
        yield site, address


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        yield started


def launched(driver: Any, *more: str) -> Any:
    return driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *more])


@pytest.fixture(scope="module")
def browser(driver: Any) -> Iterator[Any]:
    chromium = launched(driver, *FAKE, *ALLOWED)
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(file, moving_square(np.random.default_rng(0), True, frames=36))


def opened(browser: Any, address: str, *, width: int = 1280) -> Any:
    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.goto(address)
    page.get_by_role("tab", name="Recognise").wait_for(timeout=PATIENCE)
    return page


def upload(page: Any, video: Path) -> None:
    page.set_input_files("input[type=file]", str(video))
    page.locator(".k-result .k-chart, .k-result .k-warn").first.wait_for(timeout=PATIENCE)


def show(page: Any, name: str) -> None:
    """Opens a tab, from the menu of further tabs where the screen is narrow."""
    shown = page.get_by_role("tab", name=name)
    if not shown.first.is_visible():
        page.locator(".overflow-menu > button").click()
        shown = page.locator(".overflow-dropdown button", has_text=name)
    shown.first.click()


def test_a_visit(page_of: tuple[Site, str], browser: Any, video: Path, tmp_path: Path) -> None:
    site, address = page_of
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40)
    page = opened(browser, address)
    # A broken file gives a sentence that names it, and the page lives on.
    upload(page, broken)
    assert "broken.mp4" in page.locator(".k-warn").first.inner_text()
    page.set_input_files("input[type=file]", str(video))
    page.locator(".k-chart").wait_for(timeout=PATIENCE)
    assert "film.mp4: 3.0 s" in page.locator(".k-line").inner_text()
    assert page.locator(".k-result video").first.evaluate(PLAYED) > 0.1
    # A click into the middle of the chart plays from there.
    page.locator(".k-result video").first.evaluate("v => { v.pause(); v.currentTime = 0 }")
    page.locator(".k-chart").click()
    page.wait_for_function("document.querySelector('.k-result video').currentTime > 1.4", timeout=PATIENCE)
    show(page, "Why")
    page.get_by_role("button", name="Show why").click()
    page.locator(".k-overlay").wait_for(timeout=PATIENCE)
    assert "was not checked" in page.locator(".k-facts").inner_text()
    # Source and overlay follow each other, whichever is played.
    for leads, follows in ((".k-overlay", ".k-source"), (".k-source", ".k-overlay")):
        assert page.locator(leads).evaluate(PLAYED) > 0.1
        times = [page.locator(one).evaluate("v => v.currentTime") for one in (leads, follows)]
        assert times[1] > 0.05 and abs(times[0] - times[1]) < 0.5
        page.locator(leads).evaluate("v => { v.pause(); v.currentTime = 0 }")
    # Another visitor does not get the file, even by its address.
    file = page.locator(".k-overlay").get_attribute("src")
    assert page.request.get(address + file).status == 200
    stranger = browser.new_context()
    assert stranger.request.get(address + "/").status == 200
    assert stranger.request.get(address + file).status == 404
    # The files go after the last page is closed.
    page.context.close()
    until = time.monotonic() + 60
    while time.monotonic() < until and any((site.root / "sessions").rglob("*.mp4")):
        site.sweep()
        time.sleep(0.5)
    assert not any((site.root / "sessions").rglob("*.mp4"))


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    film = moving_square(np.random.default_rng(0), True, frames=60, size=320)
    return write_video(tmp_path_factory.mktemp("film") / "long.mp4", np.concatenate([film] * 50))


def ended_within(site: Site, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and len(site.jobs):
        time.sleep(0.05)
    return not len(site.jobs)


def test_a_long_video_can_be_stopped(page_of: tuple[Site, str], browser: Any, video: Path, long_video: Path) -> None:
    site, address = page_of
    page = opened(browser, address)
    assert not page.locator("#k-stop-recognise").is_visible()
    page.set_input_files("input[type=file]", str(long_video))
    page.get_by_text("s left").first.wait_for(timeout=PATIENCE)
    page.locator("#k-stop-recognise").click()
    assert ended_within(site, 4)
    page.get_by_text("Stopped").wait_for(timeout=PATIENCE)
    page.locator("#k-stop-recognise").wait_for(state="hidden", timeout=PATIENCE)
    # The page lives on, and so does the place in the queue.
    upload(page, video)
    page.locator(".k-chart").wait_for(timeout=PATIENCE)
    page.locator("#k-stop-recognise").wait_for(state="hidden", timeout=PATIENCE)
    page.context.close()
    # A page that is closed takes its job with it.
    page = opened(browser, address)
    page.set_input_files("input[type=file]", str(long_video))
    page.get_by_text("s left").first.wait_for(timeout=PATIENCE)
    page.context.close()
    assert ended_within(site, 4)


def test_why_and_compare_can_be_stopped(
    page_of: tuple[Site, str], browser: Any, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, address = page_of
    page, check = opened(browser, address), Job.check
    upload(page, video)

    def slow(job: Job) -> None:
        time.sleep(0.05)  # at every layer and frame, so that a tiny network is as slow as a large one
        check(job)

    for tab, ask, part, sign in (
        ("Why", "Show why", "why", ".k-overlay"),
        ("Compare", "Compare on the video", "compare-video", "text=both name the same class"),
        ("Compare", "Compare on the data set", "compare-data", "text=McNemar"),
    ):
        show(page, tab)
        monkeypatch.setattr(Job, "check", slow)
        page.get_by_role("button", name=ask).click()
        page.get_by_text(" of 2: ").first.wait_for(timeout=PATIENCE)
        page.locator(f"#k-stop-{part}").click()
        assert ended_within(site, 4), part
        page.get_by_text("Stopped").first.wait_for(timeout=PATIENCE)
        page.locator(f"#k-stop-{part}").wait_for(state="hidden", timeout=PATIENCE)
        # What was stopped can be asked again.
        monkeypatch.setattr(Job, "check", check)
        page.get_by_role("button", name=ask).click()
        page.locator(sign).first.wait_for(timeout=PATIENCE)
        page.locator(f"#k-stop-{part}").wait_for(state="hidden", timeout=PATIENCE)
    page.context.close()


def test_an_example_and_the_comparisons(page_of: tuple[Site, str], browser: Any) -> None:
    page = opened(browser, page_of[1])
    show(page, "Compare")
    page.get_by_role("button", name="Compare on the video").click()
    page.get_by_text("there is no video yet").wait_for(timeout=PATIENCE)
    show(page, "Recognise")
    page.get_by_role("radio").first.check()
    page.locator(".k-chart").wait_for(timeout=PATIENCE)
    show(page, "Compare")
    page.get_by_role("button", name="Compare on the video").click()
    page.get_by_text("both name the same class").wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Compare on the data set").click()
    page.get_by_text("McNemar").wait_for(timeout=PATIENCE)
    show(page, "Data")
    page.get_by_role("button", name="Check").click()
    page.get_by_text("2 classes").wait_for(timeout=PATIENCE)
    for width in (360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for name in TABS:
            show(page, name)
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
    page.context.close()


def test_the_camera(page_of: tuple[Site, str], browser: Any) -> None:
    page = opened(browser, page_of[1])
    show(page, "Live")
    for name, way in (("windows", "sliding windows"), ("steps", "frame by frame")):
        page.locator(".k-live select").select_option(name)
        page.get_by_role("button", name="Start the camera").click()
        page.wait_for_function(
            "way => document.querySelector('.k-live-facts').textContent.includes(way)", arg=way, timeout=PATIENCE
        )
        page.get_by_text("frames per second").wait_for(timeout=PATIENCE)
        assert page.locator(".k-live-label").inner_text().startswith("go ")
        assert "delay" in page.locator(".k-live-facts").inner_text()
        page.get_by_role("button", name="Stop the camera").click()
        assert page.locator(".k-camera").evaluate("v => v.srcObject") is None
    page.context.close()


@pytest.mark.parametrize(("words", "granted", "said"), [(FAKE, [], "refused"), ([], ["camera"], "There is no camera")])
def test_a_camera_that_cannot_be_had(
    words: list[str], granted: list[str], said: str, page_of: tuple[Site, str], driver: Any
) -> None:
    chromium = launched(driver, *words)
    page = opened(chromium, page_of[1])
    page.context.grant_permissions(granted)
    show(page, "Live")
    page.get_by_role("button", name="Start the camera").click()
    page.wait_for_function("document.querySelector('.k-live-error').textContent", timeout=PATIENCE)
    assert said in page.locator(".k-live-error").inner_text()
    assert page.get_by_role("button", name="Start the camera").is_visible()
    chromium.close()


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_is_enough_from_an_upload_to_why(
    key: str, page_of: tuple[Site, str], browser: Any, video: Path
) -> None:
    page = opened(browser, page_of[1])
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # no built-in function is accepted

    def reach(found: str, key: str = "Tab") -> None:
        for _ in range(60):
            page.keyboard.press(key)
            if page.evaluate(f"(e => {found})(document.activeElement)"):
                return
        raise AssertionError(f"not reached: {found}")

    reach("e.querySelector('input[type=file]') !== null && e !== document.body")
    page.keyboard.press(key)
    page.wait_for_timeout(500)
    assert len(choosers) == 1
    choosers[0].set_files(str(video))
    page.locator(".k-chart").wait_for(timeout=PATIENCE)
    reach("e.type === 'radio'")
    reach("e.getAttribute('role') === 'tab' && e.textContent.includes('Why')", "Shift+Tab")
    page.keyboard.press("Enter")
    reach("e.textContent.trim() === 'Show why'")
    page.keyboard.press("Enter")
    page.locator(".k-overlay").wait_for(timeout=PATIENCE)
    page.context.close()


def test_axe_finds_no_serious_fault(page_of: tuple[Site, str], browser: Any, video: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(browser, page_of[1])
    upload(page, video)
    for name, button, there in (
        ("Why", "Show why", ".k-overlay"),
        ("Compare", "Compare on the video", ".k-differs, .k-note"),
        ("Data", "Check", ".k-table"),
    ):
        show(page, name)
        page.get_by_role("button", name=button).click()
        page.locator(there).last.wait_for(timeout=PATIENCE)
    found = []
    for name in TABS:
        show(page, name)
        page.wait_for_timeout(500)
        for fault in axe.Axe().run(page).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                found += [(name, fault["id"], node["html"][:300]) for node in fault["nodes"]]
    assert not found
    page.context.close()
