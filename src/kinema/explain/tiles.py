"""Pictures of views: rows of tiles with titles, and the cycles between two sequences of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from kinema.data.lettering import fitted, line_height, write
from kinema.errors import KinemaError
from kinema.explain.amplified import Amplified
from kinema.explain.attention import Attention
from kinema.explain.cycle import Cycle
from kinema.explain.features import Channel, MotionViews
from kinema.explain.overlay import Plane, blend, colours, scaled
from kinema.explain.source import Pixels

_PAPER, _INK, _FAINT = (24, 26, 32), (240, 240, 240), (170, 174, 184)
_RETURNS, _ERROR = (86, 180, 233), (230, 159, 0)  # blue and orange, which are distinguishable with any colour blindness
_TITLE, _GAP, _LETTERS, _DOT = 230, 6, 15, 5  # pixels
_SIDE = 128  # pixels: the longer side of a tile

Row = tuple[str, list[Pixels]]


def grid(rows: Sequence[Row]) -> Pixels:
    """Draws rows of tiles, each row with its title on the left.

    Args:
        rows: title, and tiles uint8 h w 3; a title may have several lines.

    Returns:
        uint8 H W 3.

    Raises:
        KinemaError: there is no row.
    """
    if not rows:
        raise KinemaError("there is nothing to draw: give at least one row")
    step = line_height(_LETTERS)
    heights = [
        max([tile.shape[0] for tile in tiles] + [step * (1 + title.count("\n"))]) + _GAP for title, tiles in rows
    ]
    width = _TITLE + max(sum(tile.shape[1] + _GAP for tile in tiles) for _, tiles in rows) + _GAP
    image = Image.new("RGB", (width, sum(heights) + _GAP), _PAPER)
    top = _GAP
    for (title, tiles), height in zip(rows, heights, strict=True):
        for number, line in enumerate(title.split("\n")):
            at = (_GAP, top + number * step)
            write(image, at, fitted(line, _LETTERS, _TITLE - 2 * _GAP), _LETTERS, _FAINT if number else _INK)
        left = _TITLE
        for tile in tiles:
            image.paste(Image.fromarray(tile), (left, top))
            left += tile.shape[1] + _GAP
        top += height
    return np.asarray(image).copy()


def attention_picture(found: Sequence[Attention], pixels: Pixels) -> Pixels:
    """Draws one row per stage and direction: its attention over the frames that represent its steps (figures 1 and 4).

    Args:
        found: result of `attention`.
        pixels: uint8 RGB T H W 3, the frames of the clip.
    """
    rows: list[Row] = [("frames", [_tile(pixels[t]) for t in found[0].frames])] if found else []
    for one in found:
        planes = one.scaled().float().numpy()
        tiles = [_over(pixels[frame], plane) for frame, plane in zip(one.frames, planes, strict=True)]
        rows.append((f"{one.stage}\n{one.part}", tiles))
    return grid(rows)


def channels_picture(found: Sequence[Channel], pixels: Pixels) -> Pixels:
    """Draws a contact sheet of channels: one row per channel, scaled from its smallest to its largest value.

    Args:
        found: result of `strongest_channels`.
        pixels: uint8 RGB T H W 3, the frames of the clip.
    """
    rows: list[Row] = []
    for one in found:
        if not rows:
            rows.append(("frames", [_tile(pixels[t]) for t in _spread(len(pixels), len(one.map))]))
        rows.append((f"{one.layer}\nchannel {one.channel}", _heat(one.map)))
    return grid(rows)


def motion_picture(views: MotionViews, pixels: Pixels, flow: Tensor | None = None) -> Pixels:
    """Draws the outputs of STM's halves, fixed and learned, with the frequencies of their input (figures 1 and 6).

    Args:
        views: result of `motion_views`.
        pixels: uint8 RGB T H W 3, the frames of the clip.
        flow: result of `optical_flow`; None omits the row.
    """
    rows: list[Row] = [("frames", [_tile(picture) for picture in pixels])]
    named = (
        ("features that come in", views.input), ("low frequency\nF[t] + F[t+1]", views.low),
        ("CSTM, fixed kernels", views.fixed_cstm), ("CSTM, as learned", views.cstm),
        ("high frequency\nF[t] - F[t+1]", views.high), ("CMM, fixed difference", views.fixed_cmm),
        ("CMM, as learned", views.cmm), ("optical flow\nTV-L1", flow),
    )  # fmt: skip
    rows += [(title, _heat(map)) for title, map in named if map is not None]
    return grid(rows)


def amplified_picture(found: Sequence[Amplified], pixels: Pixels) -> Pixels:
    """Draws the most amplified kernels of each stage over the frames, and the kernels that they affect (figure 6.3).

    Args:
        found: result of `amplified_kernels`.
        pixels: uint8 RGB T H W 3, the frames of the clip.
    """
    rows: list[Row] = []
    for one in found:
        title = f"{one.stage}, kernel {one.channel}\nx {one.gain:.2f}, evidence {one.evidence:+.2f}"
        title += "".join(f"\nleads to {channel}: {share:.0%}" for channel, share in one.leads_to)
        frames = _spread(len(pixels), len(one.map))
        planes = _ranged(one.map)
        rows.append((title, [_over(pixels[t], plane) for t, plane in zip(frames, planes, strict=True)]))
    return grid(rows)


def cycle_picture(found: Sequence[Cycle]) -> Pixels:
    """Draws per layer the frames of both sequences and their returns: blue to itself, orange for a cyclic error.

    Args:
        found: result of `cycles`.
    """
    rows: list[Row] = [("left: A to B and back to A\nright: B to A and back to B\nA: mean features", [])]
    for one in found:
        there, back = one.errors
        state = "consistent" if one.consistent else f"{len(there)} + {len(back)} errors"
        state = state if len(one.there) > 1 else "one frame only"
        rows.append((f"{one.layer}\n{state}\ngate {one.gate}", [_ways(one.there), _ways(one.back)]))
    return grid(rows)


def rates_picture(rates: Mapping[str, Tensor], labels: Sequence[str]) -> Pixels:
    """Draws the open rate of every gate per class, as rows of coloured fields with the rate as a number.

    Args:
        rates: result of `open_rates_by_class`.
        labels: names of the classes.
    """
    side = line_height(_LETTERS) + 2 * _GAP
    names: list[Row] = [(f"{number}: {label}", []) for number, label in enumerate(labels)]
    rows: list[Row] = [("class", [_field(str(number), side) for number in range(len(labels))])]
    for layer, row in rates.items():
        fields = [
            _field("–", side) if value != value else _field(f"{value:.0%}"[:-1], side, value) for value in row.tolist()
        ]
        rows.append((layer, fields))
    return grid([*rows, *names])


def _field(text: str, side: int, value: float | None = None) -> Pixels:
    paper = _PAPER if value is None else tuple(int(c) for c in colours()[round(value * 255)])
    image = Image.new("RGB", (2 * side, side), paper)
    ink = _INK if value is None or value < 0.6 else _PAPER
    write(image, (side // 2, _GAP), text, _LETTERS, ink)
    return np.asarray(image).copy()


def _ways(returns: Sequence[int]) -> Pixels:
    """Draws two rows of dots, with a line from each frame above to the frame to which it returns below."""
    frames = len(returns)
    step = max(2 * _DOT + 2, min(40, 480 // frames))
    image = Image.new("RGB", (frames * step + 2 * _DOT, 72), _PAPER)
    draw = ImageDraw.Draw(image)
    x = [_DOT + step // 2 + t * step for t in range(frames)]
    for t, returned in enumerate(returns):
        colour = _RETURNS if t == returned else _ERROR
        draw.line((x[t], 12, x[returned], 60), fill=colour, width=2)
    for t, returned in enumerate(returns):
        for y in (12, 60):
            colour = _INK if y == 60 or t == returned else _ERROR
            draw.ellipse((x[t] - _DOT, y - _DOT, x[t] + _DOT, y + _DOT), fill=colour)
    return np.asarray(image).copy()


def _spread(frames: int, steps: int) -> list[int]:
    """Returns the middle frame of the part of the clip that each step represents."""
    return [min(frames - 1, (2 * step + 1) * frames // (2 * steps)) for step in range(steps)]


def _size(height: int, width: int) -> tuple[int, int]:
    scale = _SIDE / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _tile(picture: Pixels) -> Pixels:
    size = _size(*picture.shape[:2])
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BICUBIC)).copy()


def _over(picture: Pixels, plane: Plane) -> Pixels:
    tile = _tile(picture)
    return blend(tile, scaled(np.ascontiguousarray(plane), tile.shape[1], tile.shape[0]))


def _heat(map: Tensor) -> list[Pixels]:
    width, height = _size(*map.shape[1:])
    planes = _ranged(map)
    return [colours()[np.round(np.clip(scaled(plane, width, height), 0, 1) * 255).astype(np.uint8)] for plane in planes]


def _ranged(map: Tensor) -> Plane:
    """Scales values from the smallest (0) to the largest (1); a constant map becomes 0."""
    planes: Plane = map.float().numpy()
    low, high = planes.min(), planes.max()
    ranged: Plane = ((planes - low) / (high - low) if high > low else np.zeros_like(planes)).astype(np.float32)
    return ranged
