from __future__ import annotations

import base64
import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from explain.films import grey_video, panel
from PIL import Image

from kinema.explain.sheet import COLUMNS, contact_sheet, write_png, write_svg
from kinema.explain.source import ClipFilm, Source

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("count", [1, 3, 8, 32])
def test_a_row_holds_frames_of_its_clip_with_their_times(tmp_path: Path, count: int) -> None:
    with Source(grey_video(tmp_path / "a.mp4", frames=40)) as film:
        row = panel(range(count), (16, 0, 64, 64), (0.0, 1.6))
        sheet = contact_sheet(film, [row, row])
    assert len(sheet.pictures) == 2 * min(count, COLUMNS)
    times = [text for _, _, text, _, _ in sheet.texts if text.endswith(" s")]
    assert len(times) == len(sheet.pictures)
    assert times[0] == f"{film.times[count // 2 if count == 1 else count // 16]:.2f} s"
    for left, top, picture in sheet.pictures:
        height, width = picture.shape[:2]
        assert (width, height) == (200, 133)
        assert 0 <= left <= sheet.size[0] - width
        assert 0 <= top <= sheet.size[1] - height
        inside, outside = picture[66, 100], picture[66, 10]
        assert np.abs(outside.astype(int) - 90).max() < 6
        assert np.abs(inside.astype(int) - outside).max() > 40


def test_frames_that_a_clip_repeats_stand_once() -> None:
    film = ClipFilm(np.full((3, 30, 40, 3), 90, np.uint8))
    sheet = contact_sheet(film, [panel([0, 1, 2, 0, 1], (0, 0, 40, 30), (0.0, 1.0))])
    assert [text for _, _, text, _, _ in sheet.texts if text.endswith(" s")] == ["0.00 s", "0.12 s", "0.25 s"]


def test_a_png_shows_the_pictures_where_the_sheet_says(tmp_path: Path) -> None:
    film = ClipFilm(np.full((3, 30, 40, 3), 90, np.uint8))
    sheet = contact_sheet(film, [panel([0, 1, 2], (0, 0, 40, 30), (0.0, 1.0))])
    write_png(tmp_path / "a.part", sheet)
    with Image.open(tmp_path / "a.part") as image:
        assert (image.format, image.size) == ("PNG", sheet.size)
        pixels = np.asarray(image.convert("RGB"))
    for left, top, picture in sheet.pictures:
        assert np.array_equal(pixels[top : top + picture.shape[0], left : left + picture.shape[1]], picture)
    assert pixels[:60, :200].max() > 200  # the legend


def test_an_svg_holds_pictures_and_text(tmp_path: Path) -> None:
    film = ClipFilm(np.full((3, 30, 40, 3), 90, np.uint8))
    label = "跳 <jump> & “run” " + "long " * 30
    sheet = contact_sheet(film, [panel([0, 1, 2], (0, 0, 40, 30), (0.0, 1.0), label=label)])
    write_svg(tmp_path / "a.svg", sheet)
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    images = root.findall(f".//{SVG}image")
    assert len(images) == 3
    for image, (_, _, picture) in zip(images, sheet.pictures, strict=True):
        data = base64.b64decode(image.attrib["href"].removeprefix("data:image/png;base64,"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), picture)
    texts = root.findall(f".//{SVG}text")
    assert texts[0].text is not None
    assert texts[0].text.startswith("跳 <jump> & ")
    title = texts[0].find(f"{SVG}title")
    assert title is not None
    assert label.strip() in (title.text or "")
