"""A contact sheet: one row per explanation, with the frames of its clip, as PNG or SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from kinema.data.lettering import Colour, line_height, write
from kinema.explain.overlay import Timeline, lay, scaled_box
from kinema.explain.panel import Panel, resized
from kinema.explain.source import Film, Pixels

COLUMNS = 8
_LETTERS, _MARGIN, _GAP = 15, 240, 6  # pixels
_THUMB = 200  # pixels: the longer side of a picture
_PAPER, _FAINT = (24, 26, 32), (170, 174, 184)


@dataclass
class Sheet:
    """The content of a sheet, with positions in pixels.

    Attributes:
        size: width and height.
        pictures: (left, top, uint8 `H W 3`).
        texts: (left, top, text that fits, whole text, colour).
    """

    size: tuple[int, int]
    pictures: list[tuple[int, int, Pixels]] = field(default_factory=list)
    texts: list[tuple[int, int, str, str, Colour]] = field(default_factory=list)


def contact_sheet(film: Film, panels: Sequence[Panel], columns: int = COLUMNS) -> Sheet:
    """Lays out one row per panel: its legend, then evenly spaced frames of its clip with the map and the time.

    Args:
        film: the video.
        panels: the panels.
        columns: largest number of frames per row.

    Raises:
        UnreadableVideo: a frame cannot be read.
    """
    rows = [_chosen(panel, columns) for panel in panels]
    shown = film.shown_size
    thumb = tuple(max(1, round(side * _THUMB / max(shown))) for side in shown)
    step = line_height(_LETTERS)
    texts = max(panel.rows for panel in panels) * step
    height = max(thumb[1] + step, texts) + _GAP
    sheet = Sheet((_MARGIN + max(map(len, rows)) * (thumb[0] + _GAP), len(panels) * height + _GAP))
    wanted = sorted({index for row in rows for index in row})
    thumbs = {index: resized(picture, (thumb[0], thumb[1])) for index, picture in film.pictures(wanted)}
    for number, (panel, row) in enumerate(zip(panels, rows, strict=True)):
        top = _GAP + number * height
        for place, (short, text, colour) in enumerate(panel.lines(_LETTERS, _MARGIN - 2 * _GAP)):
            sheet.texts.append((_GAP, top + place * step, short, text, colour))
        evidence = panel.explanation.map
        line = None if evidence is None else Timeline(evidence, panel.place.frames, film, panel.place.span)
        box = scaled_box(panel.place.box, (film.width, film.height), (thumb[0], thumb[1]))
        for column, index in enumerate(row):
            left = _MARGIN + column * (thumb[0] + _GAP)
            sheet.pictures.append((left, top, lay(thumbs[index], line.at(index) if line else None, box)))
            time = f"{film.times[index]:.2f} s"
            sheet.texts.append((left, top + thumb[1], time, time, _FAINT))
    return sheet


def _chosen(panel: Panel, columns: int) -> list[int]:
    known = np.unique(np.asarray(panel.place.frames))
    count = min(columns, len(known))
    middles = ((np.arange(count) + 0.5) * len(known) / count).astype(int)
    return [int(index) for index in known[middles]]


def painted(sheet: Sheet) -> Image.Image:
    """Draws a sheet as one picture."""
    image = Image.new("RGB", sheet.size, _PAPER)
    for left, top, picture in sheet.pictures:
        image.paste(Image.fromarray(picture), (left, top))
    for left, top, text, _, colour in sheet.texts:
        write(image, (left, top), text, _LETTERS, colour)
    return image


def write_png(path: Path, sheet: Sheet) -> None:
    """Writes a sheet as one picture.

    Raises:
        OSError: the file cannot be written.
    """
    painted(sheet).save(path, format="PNG")


def write_svg(path: Path, sheet: Sheet) -> None:
    """Writes a sheet as SVG with embedded pictures; the text stays text, which the viewer draws with its own fonts.

    Raises:
        OSError: the file cannot be written.
    """
    width, height = map(str, sheet.size)
    root = ElementTree.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", width=width, height=height, viewBox=f"0 0 {width} {height}"
    )
    ElementTree.SubElement(root, "rect", width=width, height=height, fill=_css(_PAPER))
    for left, top, picture in sheet.pictures:
        data = io.BytesIO()
        Image.fromarray(picture).save(data, format="PNG")
        ElementTree.SubElement(
            root, "image", x=str(left), y=str(top), width=str(picture.shape[1]), height=str(picture.shape[0]),
            href=f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}",
        )  # fmt: skip
    group = ElementTree.SubElement(root, "g", {"font-family": "sans-serif", "font-size": str(_LETTERS)})
    for left, top, short, text, colour in sheet.texts:
        written = ElementTree.SubElement(group, "text", x=str(left), y=str(top + _LETTERS), fill=_css(colour))
        written.text = short
        if "…" in short and short != text:
            ElementTree.SubElement(written, "title").text = text
    path.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _css(colour: Colour) -> str:
    return "#" + bytes(colour).hex()
