"""A Class Feature Pyramid as an SVG: columns of layers from the class to the input, channels with small pictures."""

from __future__ import annotations

import base64
import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from kinema.errors import KinemaError
from kinema.explain.overlay import blend, checked, colours, scaled
from kinema.explain.pyramid.graph import Node, Pyramid
from kinema.explain.source import Pixels
from kinema.text import printable

PICTURE, COLUMN, GAP, MARGIN, HEAD, TEXT = 76, 250, 14, 24, 66, 15  # pixels
LETTER = 7.2  # pixels, the mean width of a letter of a warning
LINKS = 6  # number of drawn links per channel, the strongest ones
INK, FAINT, WARNING = "#1a1a1a", "#5f5f5f", "#a04000"
LINE = "#0072b2"  # blue of the palette of Okabe and Ito
FONT = "DejaVu Sans, Verdana, sans-serif"


@dataclass
class _Place:
    """The position of a node in the drawing: its left edge and its vertical centre."""

    x: float
    y: float


def draw(pyramid: Pyramid, pixels: Pixels | None = None, *, most: int = 6, warning: str | None = None) -> str:
    """Draws a pyramid: the class on the left, and to its right the layers, step by step towards the input.

    Each channel is a picture: the frame in which it is most active, with its activation drawn over it in viridis. Below
    it are its index and its score. Lines lead from a channel to those that feed it; a thicker line means more
    relevance. If there are many channels, those with the strongest path from the class are drawn; each column states
    the total.

    Args:
        pyramid: the pyramid to draw.
        pixels: uint8 T H W 3, the frames of the clip; None draws only activations.
        most: channels per layer; fewer in a step with more than two layers, so that all fit.
        warning: text below the legend, such as the verdict that the method cannot be trusted on this network.

    Returns:
        An SVG without external files.

    Raises:
        KinemaError: `most` is below 1, or pixels has another number of frames than the clip.
    """
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise KinemaError(f"most is {most!r}: give a number of at least 1")
    if pixels is not None and (pixels.ndim != 4 or len(pixels) != pyramid.size[0]):
        raise KinemaError(
            f"pixels has the shape {pixels.shape}: give the {pyramid.size[0]} frames of the clip, T H W 3"
        )
    ways = _ways(pyramid)
    shown = {
        layer: sorted(pyramid.of_layer(layer), key=lambda node: -ways[pyramid.number_of(node)])[: _room(most, level)]
        for level in pyramid.levels
        for layer in level
    }
    cell = PICTURE * pyramid.size[1] / pyramid.size[2] + 2 * TEXT + GAP
    tall = max(sum(_height(shown[layer], cell) for layer in level) for level in pyramid.levels)
    width = 2 * MARGIN + COLUMN * len(pyramid.levels)
    warned = [] if warning is None else textwrap.wrap(_xml(warning), max(40, int((width - 2 * MARGIN) / LETTER)))
    height = 2 * MARGIN + HEAD + tall + 70 + TEXT * len(warned)
    root = ET.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", width=_n(width), height=_n(height),
        viewBox=f"0 0 {_n(width)} {_n(height)}",
    )  # fmt: skip
    root.set("font-family", FONT)
    name = pyramid.label if pyramid.label is not None else f"class {pyramid.target}"
    ET.SubElement(root, "title").text = _xml(f"Class Feature Pyramid of {name}")
    ET.SubElement(root, "rect", width="100%", height="100%", fill="#ffffff")
    lines, cells = ET.SubElement(root, "g"), ET.SubElement(root, "g")
    places: dict[int, _Place] = {}
    for step, level in enumerate(pyramid.levels):
        x = MARGIN + step * COLUMN
        _text(cells, x, MARGIN + TEXT, "class" if step == 0 else f"step {step}", size=13, colour=FAINT)
        y = MARGIN + HEAD + (tall - sum(_height(shown[layer], cell) for layer in level)) / 2
        for layer in level:
            _head(cells, x, y, pyramid, layer, len(shown[layer]), name)
            y += 2.6 * TEXT
            for node in shown[layer]:
                places[pyramid.number_of(node)] = _Place(x, y + (cell - 2 * TEXT - GAP) / 2)
                _cell(cells, x, y, pyramid, node, pixels)
                y += cell
    _links(lines, pyramid, places)
    legend = MARGIN + HEAD + tall + 36
    _legend(cells, pyramid, legend)
    for row, line in enumerate(warned):
        _text(cells, MARGIN, legend + 34 + TEXT * (row + 1), line, size=12, colour=WARNING, bold=True)
    return ET.tostring(root, encoding="unicode")


def _ways(pyramid: Pyramid) -> list[float]:
    """Returns per node the strength of its strongest path from the class: the product of the strengths along it."""
    found = [1.0] + [0.0] * (len(pyramid.nodes) - 1)
    for parent, child, strength in pyramid.links:  # sorted by parent, and parents come before their children
        found[child] = max(found[child], found[parent] * strength)
    return found


def _room(most: int, level: Sequence[str]) -> int:
    """Returns the number of drawn channels per layer of a step."""
    return min(most, max(2, 2 * most // len(level)))


def _height(nodes: Sequence[Node], cell: float) -> float:
    return 2.6 * TEXT + cell * len(nodes) + GAP


def _head(parent: ET.Element, x: float, y: float, pyramid: Pyramid, layer: str, drawn: int, name: str) -> None:
    if pyramid.levels[0] == (layer,):
        _text(parent, x, y + TEXT, _short(name, 30), size=15, bold=True)
        return
    found = len(pyramid.of_layer(layer))
    _text(parent, x, y + TEXT * 0.8, _short(layer, 34), size=11, bold=True)
    count = f"{found} channels" if drawn == found else f"{drawn} of {found} channels"
    _text(parent, x, y + TEXT * 1.9, count.replace("1 channels", "1 channel") if found == 1 else count, size=11,
          colour=FAINT)  # fmt: skip


def _cell(parent: ET.Element, x: float, y: float, pyramid: Pyramid, node: Node, pixels: Pixels | None) -> None:
    high = PICTURE * pyramid.size[1] / pyramid.size[2]
    picture = _picture(pyramid, node, pixels)
    group = ET.SubElement(parent, "g")
    if picture is None:
        ET.SubElement(group, "rect", x=_n(x), y=_n(y), width=_n(PICTURE), height=_n(high), fill="#e6e6e6")
        _text(group, x + 6, y + high / 2 + 4, "no map", size=11, colour=FAINT)
    else:
        frame, png = picture
        ET.SubElement(group, "image", x=_n(x), y=_n(y), width=_n(PICTURE), height=_n(high), href=png)
        ET.SubElement(group, "title").text = f"{node.layer}, channel {node.channel}, frame {frame + 1}"
    ET.SubElement(
        group, "rect", x=_n(x), y=_n(y), width=_n(PICTURE), height=_n(high), fill="none", stroke=INK
    )  # fmt: skip
    if node is pyramid.nodes[0]:
        _text(group, x, y + high + TEXT, f"score {node.score:.2f}", size=12)
    else:
        _text(group, x, y + high + TEXT, f"{node.channel}", size=12, bold=True)
        _text(group, x + PICTURE, y + high + TEXT, f"{node.score:.2f}", size=12, end=True)


def _picture(pyramid: Pyramid, node: Node, pixels: Pixels | None) -> tuple[int, str] | None:
    """Returns the frame in which a node is most active, and its picture; None if there is no map."""
    try:
        planes = checked(pyramid.volume(node))
    except KinemaError:
        return None
    frame = int(planes.max((1, 2)).argmax())
    high, wide = max(1, round(2 * PICTURE * pyramid.size[1] / pyramid.size[2])), 2 * PICTURE
    plane = scaled(planes[frame], wide, high)
    if pixels is None:
        drawn = colours()[np.round(np.clip(plane, 0, 1) * 255).astype(np.uint8)]
    else:
        drawn = blend(np.asarray(Image.fromarray(pixels[frame]).resize((wide, high))), plane)
    held = io.BytesIO()
    Image.fromarray(drawn).save(held, "PNG")
    return frame, f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def _links(parent: ET.Element, pyramid: Pyramid, places: dict[int, _Place]) -> None:
    """Draws the strongest links of every drawn node, stronger ones on top."""
    of: dict[int, list[tuple[float, int]]] = {}
    for above, below, strength in pyramid.links:
        if above in places and below in places:
            of.setdefault(above, []).append((strength, below))
    drawn = [(s, above, below) for above, links in of.items() for s, below in sorted(links, reverse=True)[:LINKS]]
    for strength, above, below in sorted(drawn):
        a, b = places[above], places[below]
        left, right = a.x + PICTURE, b.x
        bend = (right - left) / 2
        ET.SubElement(
            parent, "path", d=f"M{_n(left)} {_n(a.y)}C{_n(left + bend)} {_n(a.y)} {_n(right - bend)} {_n(b.y)} "
            f"{_n(right)} {_n(b.y)}", fill="none", stroke=LINE, opacity=f"{0.15 + 0.6 * _over(pyramid, strength):.2f}",
        ).set("stroke-width", f"{0.8 + 2.4 * _over(pyramid, strength):.2f}")  # fmt: skip


def _over(pyramid: Pyramid, strength: float) -> float:
    """Maps a strength from [threshold, 1] to [0, 1]."""
    room = 1 - pyramid.threshold
    return min(1.0, max(0.0, (strength - pyramid.threshold) / room)) if room > 0 else 1.0


def _legend(parent: ET.Element, pyramid: Pyramid, y: float) -> None:
    bar, x = colours()[np.linspace(0, 255, 64).astype(int)][None], MARGIN
    held = io.BytesIO()
    Image.fromarray(bar).save(held, "PNG")
    href = f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
    image = ET.SubElement(parent, "image", x=_n(x), y=_n(y), width="90", height="10", href=href)
    image.set("preserveAspectRatio", "none")
    _text(parent, x + 98, y + 10, "activation, low to high", size=11)
    line = ET.SubElement(parent, "path", d=f"M{_n(x + 270)} {_n(y + 5)}h60", stroke=LINE, opacity="0.75")
    line.set("stroke-width", "3")
    _text(parent, x + 338, y + 10, f"feeds it with at least {pyramid.threshold:g}; thicker: more", size=11)
    rest = f"bold: number of the channel, right of it its score, 0 to 1; up to {LINKS} lines per channel"
    _text(parent, x, y + 30, f"{rest}; {pyramid.mode}-wise", size=11, colour=FAINT)


def _text(
    parent: ET.Element, x: float, y: float, text: str, *, size: int, bold: bool = False, colour: str = INK,
    end: bool = False,
) -> None:  # fmt: skip
    made = ET.SubElement(parent, "text", x=_n(x), y=_n(y), fill=colour)
    made.set("font-size", str(size))
    for key, value in (("paint-order", "stroke"), ("stroke", "#ffffff"), ("stroke-width", "3")):
        made.set(key, value)  # lines are drawn behind the text
    if bold:
        made.set("font-weight", "bold")
    if end:
        made.set("text-anchor", "end")
    made.text = _xml(text)


def _xml(text: str) -> str:
    """Returns the text without characters that XML does not allow."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", printable(text))


def _short(text: str, most: int) -> str:
    """Returns the end of a long name, which distinguishes layers."""
    return text if len(text) <= most else f"…{text[1 - most :]}"


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
