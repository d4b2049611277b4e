"""Objects that an action needs: a chair, a box or ball to carry, a trunk with a lid, a wardrobe with a door."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinema.puppets.stage import Array, Colour, LayerGroup, Pencil, shade

WOODS = ((168, 112, 66), (128, 84, 54), (206, 164, 108), (92, 74, 66), (222, 214, 202), (88, 124, 128), (176, 78, 66))
TOYS = ((228, 76, 60), (248, 186, 60), (70, 150, 212), (96, 178, 104), (226, 120, 170), (240, 236, 226))

BEHIND = -3.0
"""Depth of furniture: behind every part of the actor (with depths from -1 to 2)."""


def axes(yaw: Array) -> Array:
    """Returns unit vectors [T, 3, 3] of a frame whose z axis is turned by `yaw` [T] from the camera towards +x."""
    zero, one, cos, sin = np.zeros_like(yaw), np.ones_like(yaw), np.cos(yaw), np.sin(yaw)
    rows = ((cos, zero, -sin), (zero, one, zero), (sin, zero, cos))
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


@dataclass(frozen=True)
class Chair:
    """A chair that faces `yaw`; `seat` is the middle of the top of its seat in the world [3]."""

    seat: Array
    yaw: float
    colour: Colour
    cushion: Colour
    back: float = 0.3

    def shapes(self, pencil: Pencil, frames: int) -> list[LayerGroup]:
        """Returns all parts, the farther ones first."""
        frame = axes(np.full(frames, self.yaw))
        width, depth, height = 0.15, 0.14, float(self.seat[1])

        def block(
            x: float, y: float, z: float, half: tuple[float, float, float], colour: Colour, rank: float
        ) -> LayerGroup:
            centre = np.array([self.seat[0], 0.0, self.seat[2]]) + np.array([x, y, z]) @ frame[0]
            layers = pencil.cuboid(np.tile(centre, (frames, 1)), half, frame, colour)
            return pencil.shape(BEHIND + rank + float(centre[2]) * 0.1, layers)

        legs = [
            block(
                x * (width - 0.02), height / 2 - 0.02, z * (depth - 0.02), (0.015, height / 2 - 0.02, 0.015), wood, 0.0
            )
            for x in (-1, 1)
            for z in (-1, 1)
            for wood in (self.colour,)
        ]
        posts = [
            block(
                x * (width - 0.02),
                height + self.back / 2,
                -depth + 0.012,
                (0.014, self.back / 2, 0.012),
                self.colour,
                0.3,
            )
            for x in (-1, 1)
        ]
        rest = block(
            0.0, height + self.back * 0.72, -depth + 0.012, (width, self.back * 0.3, 0.016), self.cushion, 0.35
        )
        seat = block(0.0, height - 0.02, 0.0, (width, 0.022, depth), self.cushion, 0.5)
        return [*legs, *posts, rest, seat]


@dataclass(frozen=True)
class Carried:
    """A box or a ball: its middle in the world [T, 3]; a box is turned by `yaw` [T]. `radius` is half its side."""

    centre: Array
    yaw: Array
    radius: float
    colour: Colour
    band: Colour
    ball: bool

    def shapes(self, pencil: Pencil, frames: int) -> list[LayerGroup]:
        """Returns the object, in front of the torso and behind the arms that are nearer to the camera."""
        if self.ball:
            solid = pencil.rounded(1.45, [(self.centre[:, None], (self.radius,), self.colour)])
            sides = np.array([[-0.55, 0.15, 0], [0.55, -0.15, 0]]) * self.radius
            stripe = pencil.flat(self.centre[:, None] + sides, (self.radius * 0.2,) * 2, self.band)
            shapes = [LayerGroup(solid.depth, [*solid.layers, stripe])]
        else:
            frame = axes(self.yaw)
            half = (self.radius,) * 3
            body = pencil.cuboid(self.centre, half, frame, self.colour)
            wider = tuple(self.radius * f for f in (1.02, 0.26, 1.02))
            belt = pencil.cuboid(self.centre, wider, frame, self.band)
            shapes = [pencil.shape(1.45, [*body, *belt[len(belt) // 2 :]])]
        spot = self.centre.copy()
        spot[:, 1] = 0.0
        ends = spot[:, None] + np.array([[-0.06, 0, 0], [0.06, 0, 0]])
        return [*shapes, pencil.shape(-49.0, [pencil.flat(ends, (0.045, 0.045), (20, 18, 30, 60))])]


@dataclass(frozen=True)
class Trunk:
    """A trunk whose lid turns by `angle` [T] around its far top edge; `hinge` is the middle of that edge [3].

    Seen along `yaw`, the direction of a person before it, the free edge is `depth` nearer than the hinge.
    """

    hinge: Array
    yaw: float
    angle: Array
    width: float
    depth: float
    colour: Colour
    inside: Colour

    def edge(self) -> Array:
        """The middle of the lid's free edge, in the world [T, 3]."""
        frame = axes(np.full(1, self.yaw))[0]
        arc = np.stack([0 * self.angle, np.sin(self.angle) * self.depth, -np.cos(self.angle) * self.depth], axis=1)
        return self.hinge + arc @ frame

    def shapes(self, pencil: Pencil, frames: int) -> list[LayerGroup]:
        """Returns the body, the dark inside, its contents, and the lid."""
        frame = axes(np.full(frames, self.yaw))
        height = float(self.hinge[1])
        forward = frame[0, 2]
        centre = np.tile(self.hinge - forward * self.depth / 2, (frames, 1))
        centre[:, 1] = height / 2
        body = pencil.cuboid(centre, (self.width / 2, height / 2, self.depth / 2), frame, self.colour)
        bands = pencil.cuboid(
            centre, (self.width / 2 + 0.003, 0.02, self.depth / 2 + 0.003), frame, shade(self.colour, 0.6)
        )
        mouth = centre.copy()
        mouth[:, 1] = height + 0.001
        hole = pencil.cuboid(mouth, (self.width * 0.44, 0.001, self.depth * 0.44), frame, (34, 26, 30))
        content = pencil.cuboid(mouth, (self.width * 0.3, 0.012, self.depth * 0.3), frame, self.inside)

        cos, sin = np.cos(self.angle), np.sin(self.angle)
        zero = np.zeros_like(cos)
        turned = np.stack(  # the lid's own axes in the trunk's frame: y is its outer side, -z points from hinge to edge
            [
                np.stack([zero + 1, zero, zero], axis=1),
                np.stack([zero, cos, sin], axis=1),
                np.stack([zero, -sin, cos], axis=1),
            ],
            axis=1,
        )
        lid_axes = turned @ frame
        lid_centre = self.hinge + (-lid_axes[:, 2] * self.depth / 2 + lid_axes[:, 1] * 0.022)
        lid = pencil.cuboid(
            lid_centre, (self.width / 2 + 0.008, 0.022, self.depth / 2 + 0.008), lid_axes, shade(self.colour, 1.12)
        )
        knob = pencil.cuboid(
            lid_centre - lid_axes[:, 2] * (self.depth / 2 + 0.012), (0.02, 0.018, 0.012), lid_axes, (236, 196, 92)
        )
        return [
            pencil.shape(BEHIND, [*body, *bands[len(bands) // 2 :], *hole, *content]),
            pencil.shape(BEHIND + 0.2, [*lid, *knob]),
        ]


@dataclass(frozen=True)
class Wardrobe:
    """A wardrobe with one door, facing the camera; the door turns by `angle` [T] towards the camera.

    `hinge` is the floor point under the hinge, at the right of the front [3]; the handle is at the left.
    """

    hinge: Array
    angle: Array
    width: float
    height: float
    colour: Colour
    things: tuple[Colour, ...]

    def handle(self, height: float = 0.5) -> Array:
        """The handle, in the world [T, 3]."""
        reach = self.width * 0.88
        away = np.stack(
            [-np.cos(self.angle) * reach, np.full_like(self.angle, height), np.sin(self.angle) * reach], axis=1
        )
        return self.hinge + away + self._outward() * 0.02

    def _outward(self) -> Array:
        return np.stack([np.sin(self.angle), 0 * self.angle, np.cos(self.angle)], axis=1)

    def shapes(self, pencil: Pencil, frames: int) -> list[LayerGroup]:
        """Returns the case with its shelves, and the door."""
        frame = axes(np.zeros(frames))
        depth, half_w, half_h = 0.2, self.width / 2, self.height / 2

        def block(x: float, y: float, z: float, half: tuple[float, float, float], colour: Colour) -> list:
            centre = self.hinge + np.array([x, y, z])
            return pencil.cuboid(np.tile(centre, (frames, 1)), half, frame, colour)

        layers = block(-half_w, half_h, -depth / 2, (half_w + 0.025, half_h + 0.02, depth / 2), self.colour)
        layers += block(-half_w, half_h, -0.001, (half_w - 0.005, half_h - 0.01, 0.001), (46, 36, 40))
        shelf = self.height / 4
        for row in range(1, 4):
            layers += block(-half_w, row * shelf, 0.0, (half_w - 0.01, 0.01, 0.001), shade(self.colour, 0.75))
        for i, colour in enumerate(self.things):
            row, column = divmod(i, 3)
            x = -self.width * (0.22 + 0.28 * column)
            tall = 0.03 + 0.016 * ((i * 5) % 4)
            layers += block(x, row * shelf + 0.012 + tall, 0.002, (self.width * 0.1, tall, 0.001), colour)
        case = pencil.shape(BEHIND, layers)

        cos, sin, zero = np.cos(self.angle), np.sin(self.angle), np.zeros_like(self.angle)
        door_axes = np.stack(
            [
                np.stack([cos, zero, -sin], axis=1),
                np.stack([zero, zero + 1, zero], axis=1),
                np.stack([sin, zero, cos], axis=1),
            ],
            axis=1,
        )
        centre = self.hinge - door_axes[:, 0] * half_w + door_axes[:, 2] * 0.008
        centre[:, 1] = half_h
        door = pencil.cuboid(centre, (half_w, half_h, 0.008), door_axes, shade(self.colour, 1.15))
        for level in (0.5, 1.5):
            panel = centre.copy()
            panel[:, 1] = half_h * level
            panel += door_axes[:, 2] * 0.0085
            door += pencil.cuboid(panel, (half_w * 0.66, half_h * 0.36, 0.001), door_axes, shade(self.colour, 0.95))
        knob = pencil.rounded(0.0, [(self.handle()[:, None], (0.016,), (236, 196, 92))])
        seen = self._outward()[:, 2] > -0.05
        door += [type(layer)(layer.points, layer.colour, seen) for layer in knob.layers]
        return [case, pencil.shape(BEHIND + 0.2, door)]


Prop = Chair | Carried | Trunk | Wardrobe
