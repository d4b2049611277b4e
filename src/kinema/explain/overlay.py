"""Maps drawn as colours over pictures, in space and in time.

The colours are those of viridis, whose lightness increases uniformly and which is legible with any colour blindness.
The opacity is proportional to the map: where there is no evidence, the video is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from kinema.errors import KinemaError
from kinema.explain.source import Film, Pixels, Rectangle

Plane = npt.NDArray[np.float32]

STRONGEST = 0.75  # opacity at a map value of 1
_SEEN, _UNSEEN, _SHADOW = (255, 255, 255), (160, 160, 160), (0, 0, 0)


@cache
def colours() -> Pixels:
    """Returns the colours of values from 0 to 1, uint8 `256 3`."""
    import matplotlib

    table: Pixels = (matplotlib.colormaps["viridis"](np.arange(256), bytes=True)[:, :3]).astype(np.uint8)
    return table


def blend(picture: Pixels, plane: Plane) -> Pixels:
    """Draws one frame of a map over a picture of the same size.

    Args:
        picture: uint8 `H W 3`.
        plane: float32 `H W` in [0, 1].

    Returns:
        uint8 `H W 3`; equal to the picture where the map is 0.
    """
    level = np.clip(plane, 0.0, 1.0)
    colour = colours()[np.round(level * 255).astype(np.uint8)].astype(np.float32)
    opacity = (STRONGEST * level)[..., None]
    mixed: Pixels = np.round(picture + opacity * (colour - picture)).astype(np.uint8)
    return mixed


def overlay(pixels: Pixels, evidence: Tensor) -> Pixels:
    """Draws a whole map over the frames of its clip.

    Args:
        pixels: uint8 RGB `T H W 3`.
        evidence: float `T h w` in [0, 1]; scaled to the size of the frames if necessary.

    Returns:
        uint8 `T H W 3`.

    Raises:
        KinemaError: the map is not `T h w`, or has another number of frames.
    """
    planes = checked(evidence)
    if len(planes) != len(pixels):
        raise KinemaError(f"the map has {len(planes)} frames, but the clip {len(pixels)}: give both the same T")
    height, width = pixels.shape[1:3]
    return np.stack([blend(p, scaled(m, width, height)) for p, m in zip(pixels, planes, strict=True)])


def checked(evidence: Tensor) -> Plane:
    """Returns the map as float32 `T h w`.

    Raises:
        KinemaError: it has another number of dimensions, no element, or a value that is not finite.
    """
    planes: Plane = evidence.detach().to("cpu", torch.float32).numpy()
    if planes.ndim != 3 or not planes.size:
        raise KinemaError(f"the map has the shape {planes.shape}: give T H W")
    if not np.isfinite(planes).all():
        raise KinemaError("the map has values that are not finite: explain with float32 weights")
    return planes


def scaled(plane: Plane, width: int, height: int) -> Plane:
    """Resizes a plane bilinearly, with antialiasing if it shrinks; stays within its minimum and maximum.

    Args:
        plane: float32 `h w`.
        width: width of the result in pixels.
        height: height of the result in pixels.
    """
    if plane.shape == (height, width):
        return plane
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))


class Timeline:
    """A map at any frame of the video that it explains.

    Between two frames of the clip the map is interpolated linearly in time. Before the first and after the last frame
    it is constant, up to the ends of the part of the video that the clip represents; outside this part there is no map.
    If a frame of the video occurs several times in the clip (a short video that is looped), its maps are averaged.

    Args:
        evidence: float `T h w` in [0, 1].
        frames: T indices into the video.
        film: the video.
        span: start and end in seconds of the part that the clip represents.

    Raises:
        KinemaError: the map has another length, or the video does not have a frame.
    """

    def __init__(self, evidence: Tensor, frames: Sequence[int], film: Film, span: tuple[float, float]) -> None:
        planes = checked(evidence)
        if len(frames) != len(planes):
            raise KinemaError(
                f"{film.name}: the map has {len(planes)} frames, but the clip {len(frames)}: give a map of this clip"
            )
        if not 0 <= min(frames) <= max(frames) < len(film):
            raise KinemaError(
                f"{film.name}: it has {len(film)} frames, but the clip shows frame {max(frames)}: give its video"
            )
        known, where = np.unique(np.asarray(frames), return_inverse=True)
        sums = np.zeros((len(known), *planes.shape[1:]), np.float32)
        np.add.at(sums, where, planes)
        self._planes = sums / np.bincount(where)[:, None, None].astype(np.float32)
        self._times = film.times[known]
        self._film = film
        reached = np.union1d(film.between(*span), known)
        self._first, self._last = int(reached[0]), int(reached[-1])

    def at(self, index: int) -> Plane | None:
        """Returns the map at a frame of the video, float32 `h w`, or None outside the part that the clip represents."""
        if not self._first <= index <= self._last:
            return None
        time = float(self._film.times[index])
        after = int(np.searchsorted(self._times, time))
        if after == 0 or after == len(self._times):
            return self._planes[min(after, len(self._times) - 1)]
        share = np.float32((time - self._times[after - 1]) / (self._times[after] - self._times[after - 1]))
        earlier, later = self._planes[after - 1], self._planes[after]
        return earlier + share * (later - earlier)


def scaled_box(box: Rectangle, size: tuple[int, int], shown: tuple[int, int]) -> Rectangle:
    """Returns a rectangle of a picture in pixels of the scaled picture; it is never empty and never outside.

    Args:
        box: left, top, width, height.
        size: width and height of the picture.
        shown: width and height of the scaled picture.
    """
    left, top, width, height = box
    x = [round(edge * shown[0] / size[0]) for edge in (left, left + width)]
    y = [round(edge * shown[1] / size[1]) for edge in (top, top + height)]
    x0, y0 = min(max(x[0], 0), shown[0] - 1), min(max(y[0], 0), shown[1] - 1)
    return x0, y0, max(1, min(x[1], shown[0]) - x0), max(1, min(y[1], shown[1]) - y0)


def lay(picture: Pixels, plane: Plane | None, box: Rectangle) -> Pixels:
    """Returns a copy of a picture with a map in a box and the outline of the box: white, or grey without a map.

    Args:
        picture: uint8 `H W 3`.
        plane: float32 `h w` in [0, 1], scaled to the box; None draws only the outline.
        box: left, top, width, height in pixels of the picture.
    """
    result = picture.copy()
    left, top, width, height = box
    if plane is not None:
        part = result[top : top + height, left : left + width]
        part[:] = blend(part, scaled(plane, width, height))
    line = max(1, round(min(picture.shape[:2]) / 240))
    _outline(result, box, 2 * line, _SHADOW)
    _outline(result, box, line, _UNSEEN if plane is None else _SEEN)
    return result


def _outline(picture: Pixels, box: Rectangle, line: int, colour: tuple[int, int, int]) -> None:
    left, top, width, height = box
    inside = picture[top : top + height, left : left + width]
    for edge in (inside[:line], inside[-line:], inside[:, :line], inside[:, -line:]):
        edge[:] = colour
