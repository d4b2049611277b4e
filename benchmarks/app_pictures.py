"""Makes pictures of every tab of `kinema app` in Chromium.

    .venv/bin/python benchmarks/app_pictures.py OUT --demo DEMO [--chromium /usr/bin/chromium] [--widths 1280 360]
    .venv/bin/python benchmarks/app_pictures.py OUT --recognizers RUN RUN --data DATA [--docs docs/pictures]

DEMO is a folder of `kinema demo`; it is created if it does not exist. The pictures in docs/pictures are of the
networks STM-18-0 and STM-18,Twins-0 of `puppets_twins.py` and their data. They show the first example of the page. The
tab Live uses Chromium's fake camera, a generated test picture, so its label has no meaning. The script writes
OUT/TAB-WIDTH.png, and app-TAB.jpg of the first width for the documentation. It prints the time of the first paint, and
names each page that is wider than its screen.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from kinema.app.names import short_names
from kinema.app.server import make_site, served
from kinema.demo.run import DemoConfig, demo_recognizers
from kinema.recognizer import Recognizer

PATIENCE = 300_000  # milliseconds
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SHOWN = ("Recognise", "Why", "Compare")  # in the documentation
TALLEST = 1600  # pixels of a picture in the documentation
TALL = "document.documentElement.scrollHeight"
HALFWAY = "v => { v.currentTime = v.duration / 2 }"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"


def fill(page: Any) -> None:
    """Performs the first actions of a visitor in every tab."""
    tab(page, "Recognise")
    page.get_by_role("radio").first.check()
    page.locator(".k-chart").first.wait_for(timeout=PATIENCE)
    page.locator("video").first.evaluate(HALFWAY)
    tab(page, "Why")
    for box in page.locator("fieldset", has_text="Recognizers, side by side").get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Show why").click()
    page.locator(".k-overlay").wait_for(timeout=PATIENCE)
    page.locator(".k-overlay").evaluate(HALFWAY)
    tab(page, "Compare")
    page.get_by_role("button", name="Compare on the video").click()
    page.get_by_text("both name the same class").wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Compare on the data set").click()
    page.get_by_text("McNemar").wait_for(timeout=PATIENCE)
    tab(page, "Data")
    page.get_by_role("button", name="Check").click()
    page.get_by_text("errors,").wait_for(timeout=PATIENCE)


def tab(page: Any, name: str) -> None:
    """Opens a tab; on a narrow screen it may be in the menu of further tabs."""
    shown = page.get_by_role("tab", name=name)
    if not shown.first.is_visible():
        page.locator(".overflow-menu > button").click()
        shown = page.locator(".overflow-dropdown button", has_text=name)
    shown.first.click()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--demo")
    parser.add_argument("--recognizers", nargs=2)
    parser.add_argument("--data")
    parser.add_argument("--docs", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--widths", type=int, nargs="+", default=[1280, 360])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.demo:
        runs, data = demo_recognizers(DemoConfig(out=args.demo))
    elif args.recognizers and args.data:
        runs, data = args.recognizers, args.data
    else:
        parser.error("give --demo, or --recognizers and --data")
    recognizers = {name: Recognizer.load(run) for name, run in short_names([str(run) for run in runs]).items()}
    site = make_site(recognizers, folders=short_names([str(data)]))
    with served(site) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=args.chromium, args=["--no-sandbox", *CAMERA])
        page = browser.new_page(viewport={"width": args.widths[0], "height": 900})
        page.goto(address)
        page.get_by_role("tab", name="Recognise").wait_for(timeout=PATIENCE)
        print(f"first contentful paint after {page.evaluate(PAINT):.0f} ms", flush=True)
        fill(page)
        for width in args.widths:
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(1000)  # the row of tabs takes up the new width
            for name in ("Recognise", "Why", "Compare", "Live", "Data"):
                tab(page, name)
                if name == "Live":
                    page.get_by_role("button", name="Start the camera").click()
                    page.locator(".k-bars li").first.wait_for(timeout=PATIENCE)
                page.wait_for_timeout(1500)
                wide = page.evaluate("document.documentElement.scrollWidth")
                print(f"{name} at {width}: {wide} pixels wide", flush=True)
                page.screenshot(path=args.out / f"{name.lower()}-{width}.png", full_page=True)
                if args.docs and name in SHOWN and width == args.widths[0]:
                    page.evaluate("scrollTo(0, 0)")
                    first = page.get_by_text("On a labelled data set").bounding_box() if name == "Compare" else None
                    top = first["y"] - 10 if first else 0
                    clip = {"x": 0, "y": top, "width": width, "height": min(TALLEST, page.evaluate(TALL) - top)}
                    file = args.docs / f"app-{name.lower()}.jpg"
                    page.screenshot(path=file, full_page=True, clip=clip, type="jpeg", quality=80)
                if name == "Live":
                    page.get_by_role("button", name="Stop the camera").click()
        browser.close()


if __name__ == "__main__":
    main()
