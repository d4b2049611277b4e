"""Drawing: a camera that projects, shapes of filled polygons, and the painter that turns them into frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Array = npt.NDArray[np.float64]
Frames = npt.NDArray[np.bool_]
Colour = tuple[int, ...]

Solid = tuple[Array, Sequence[float], Colour]
"""A rounded solid is the hull of points [T, n, 3] with n radii in body heights; and its colour."""

SUPERSAMPLE = 3
"""Pixels of the canvas per pixel of a frame, along each side."""

CORNERS = 22
"""Number of corners of the polygon that approximates a round outline."""

_ANGLES = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # K 2
_FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))  # -x +x -y +y -z +z


def shade(colour: Colour, factor: float) -> Colour:
    """Makes the colour darker (factor below 1) or closer to white (above 1)."""
    if factor <= 1:
        return tuple(round(c * factor) for c in colour)
    return tuple(round(c + (255 - c) * (factor - 1)) for c in colour)


@dataclass(frozen=True)
class Camera:
    """A camera that looks along -z at a world measured in body heights (x right, y up, z towards the camera).

    Attributes:
        scale: pixels per body height at depth z = 0, per frame [T].
        x: column, in pixels, of the world's x = 0, per frame [T].
        y: row, in pixels, of the horizon, per frame [T].
        height: height of the eye above the floor, in body heights.
        distance: distance of the eye from z = 0, in body heights.
        mirror: mirror the world: its x axis points to the left.
    """

    scale: Array
    x: Array
    y: Array
    height: float
    distance: float
    mirror: bool = False

    def project(self, points: Array) -> tuple[Array, Array]:
        """Projects world points [T, ..., 3] to pixels [T, ..., 2] and pixels per body height at that depth [T, ...]."""
        lift = (slice(None),) + (None,) * (points.ndim - 2)
        scale = self.scale[lift] * self.distance / (self.distance - points[..., 2])
        sign = -1.0 if self.mirror else 1.0
        x = self.x[lift] + sign * scale * points[..., 0]
        y = self.y[lift] - scale * (points[..., 1] - self.height)
        return np.stack([x, y], axis=-1), scale


@dataclass(frozen=True)
class Layer:
    """One filled polygon: pixels [T, K, 2], its colour (RGB, or RGBA to blend), and the frames that show it [T]."""

    points: Array
    colour: Colour
    show: Frames | None = None


@dataclass(frozen=True)
class LayerGroup:
    """Layers that are drawn together, in order; shapes are drawn from the smallest depth [T] to the largest.

    `part` is the name of the actor's part that the shape represents, and empty for everything else.
    """

    depth: Array
    layers: Sequence[Layer]
    part: str = ""


def hull(centres: Array, radii: Array) -> Array:
    """Returns the outline around circles: centres [T, n, 2] and radii [T, n] -> polygon [T, CORNERS, 2].

    The corner in every direction is the support point of the circles, so that the polygon is their convex hull.
    """
    reach = np.einsum("tnc,kc->tkn", centres, _DIRECTIONS) + radii[:, None, :]
    best = reach.argmax(axis=2)
    frame = np.arange(len(centres))[:, None]
    return centres[frame, best] + radii[frame, best][..., None] * _DIRECTIONS


@dataclass(frozen=True)
class Pencil:
    """Draws solids.

    Attributes:
        camera: the camera.
        light: direction of the light on the picture (x right, y down).
        outline: width of the dark outline, in body heights.
    """

    camera: Camera
    light: tuple[float, float] = (-0.6, -0.8)
    outline: float = 0.009

    def rounded(self, depth: Array | float, parts: Sequence[Solid]) -> LayerGroup:
        """Draws a shape of rounded solids.

        All outlines come first, so that parts of one shape merge; every part has a shadow side and a lit side.
        """
        outlines, bodies, lits = [], [], []
        for points, radii, colour in parts:
            centres, scale = self.camera.project(points)
            pixels = np.asarray(radii) * scale
            offset = np.asarray(self.light) * 0.24
            outlines.append(Layer(hull(centres, pixels + self.outline * scale), shade(colour, 0.42)))
            bodies.append(Layer(hull(centres, pixels), shade(colour, 0.8)))
            lits.append(Layer(hull(centres + pixels[..., None] * offset, pixels * 0.76), colour))
        return LayerGroup(self._depths(depth), [*outlines, *bodies, *lits])

    def flat(self, points: Array, radii: Sequence[float], colour: Colour, show: Frames | None = None) -> Layer:
        """Draws one hull of spheres without light or outline: eyes, stripes, shadows."""
        centres, scale = self.camera.project(points)
        return Layer(hull(centres, np.asarray(radii) * scale), colour, show)

    def cuboid(self, centre: Array, half: Sequence[float], axes: Array, colour: Colour) -> list[Layer]:
        """Draws the faces of a box that the camera sees.

        Args:
            centre: centre [T, 3].
            half: half of its three sides.
            axes: unit vectors of its sides in the world, [T, 3, 3] (axes[t, 0] is the direction of the first side).
            colour: colour of its front; the top is lighter and the sides are darker.
        """
        signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=float)
        corners = centre[:, None] + np.einsum("ks,tsc->tkc", signs * np.asarray(half), axes)  # T 8 3
        pixels, _ = self.camera.project(corners)
        lit_left = self.light[0] < 0
        if self.camera.mirror:
            lit_left = not lit_left
        sides = (0.9, 0.68) if lit_left else (0.68, 0.9)
        tones = (sides[0], sides[1], 0.5, 1.22, 0.75, 1.0)
        layers = []
        for face, tone in zip(_FACES, tones, strict=True):
            corner = pixels[:, face]
            a, b = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
            facing = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
            show = (facing < 0) != self.camera.mirror
            edge = hull(corner, np.full(corner.shape[:2], self.outline) * self.camera.scale[:, None])
            layers.append(Layer(edge, shade(colour, 0.42), show))
            layers.append(Layer(corner, shade(colour, tone), show))
        # all outlines before all faces: the edge between two visible faces stays thin
        return [*layers[0::2], *layers[1::2]]

    def shape(self, depth: Array | float, layers: Sequence[Layer]) -> LayerGroup:
        """Returns layers at a depth, which may be one number for all frames."""
        return LayerGroup(self._depths(depth), layers)

    def _depths(self, depth: Array | float) -> Array:
        return np.broadcast_to(np.asarray(depth, dtype=float), self.camera.scale.shape)


def paint(backdrops: Sequence[Image.Image], shapes: Sequence[LayerGroup]) -> list[Image.Image]:
    """Draws the shapes on one backdrop per frame, supersampled, and yields RGB frames of the backdrops' size."""
    order = _order(shapes)
    polygons = [
        [
            ((layer.points * SUPERSAMPLE).reshape(len(layer.points), -1).tolist(), layer.colour, layer.show)
            for layer in shape.layers
        ]
        for shape in shapes
    ]
    frames = []
    for t, backdrop in enumerate(backdrops):
        canvas = backdrop.resize(
            (backdrop.width * SUPERSAMPLE, backdrop.height * SUPERSAMPLE), Image.Resampling.NEAREST
        )
        opaque, blended = ImageDraw.Draw(canvas), ImageDraw.Draw(canvas, "RGBA")
        for s in order[:, t]:
            for points, colour, show in polygons[s]:
                if show is None or show[t]:
                    (opaque if len(colour) == 3 else blended).polygon(points[t], fill=colour)
        frames.append(canvas.reduce(SUPERSAMPLE))
    return frames


def silhouettes(shapes: Sequence[LayerGroup], parts: Collection[str], size: int) -> Frames:
    """Pixels of which at least half show one of the parts, with nothing opaque in front, bool [T, size, size]."""
    order = _order(shapes)
    shown = np.zeros((order.shape[1], size, size), dtype=bool)
    for t in range(order.shape[1]):
        canvas = Image.new("L", (size * SUPERSAMPLE, size * SUPERSAMPLE))
        draw = ImageDraw.Draw(canvas)
        for s in order[:, t]:
            for layer in shapes[s].layers:
                if len(layer.colour) == 3 and (layer.show is None or layer.show[t]):
                    points = (layer.points[t] * SUPERSAMPLE).reshape(-1).tolist()
                    draw.polygon(points, fill=255 if shapes[s].part in parts else 0)
        shown[t] = np.asarray(canvas.reduce(SUPERSAMPLE)) >= 128
    return shown


def _order(shapes: Sequence[LayerGroup]) -> npt.NDArray[np.intp]:
    """Returns the indices of the shapes in drawing order per frame [shape, T]."""
    return np.argsort(np.stack([shape.depth for shape in shapes]), axis=0, kind="stable")
