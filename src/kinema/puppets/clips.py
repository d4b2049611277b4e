"""One clip: its timing, scene and frames, all drawn with one generator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from kinema.puppets.actions import Action
from kinema.puppets.figure import draw_body, solve
from kinema.puppets.scenery import background, distractors, light, unrest, view
from kinema.puppets.stage import Array, Camera, Frames, LayerGroup, Pencil, paint, silhouettes
from kinema.puppets.wardrobe import draw_look, dress, floor_shadow

SPLITS = ("train", "test", "speed")

TEMPO: dict[str, tuple[tuple[float, float], ...]] = {
    "train": ((0.5, 2.0),),
    "test": ((0.5, 2.0),),
    "speed": ((0.3, 0.42), (2.4, 3.0)),
}
"""Duration of an action as a multiple of its ordinary one: ranges that the clips of a split use in turn."""

RATES = (12, 15, 18, 20, 24, 25, 30)
"""Frames per second."""

_WALL = -2.6  # depth at which the wall meets the floor, behind all walking figures


@dataclass(frozen=True)
class Timing:
    """The time of the action in a clip.

    Attributes:
        rate: frames per second.
        frames: number of frames of the clip.
        start: start of the action, in seconds.
        duration: duration of the action, in seconds.
        tempo: duration as a multiple of the action's ordinary one.
    """

    rate: int
    frames: int
    start: float
    duration: float
    tempo: float

    @property
    def seconds(self) -> Array:
        """Time of every frame."""
        return np.arange(self.frames) / self.rate


def draw_timing(rng: np.random.Generator, action: Action, split: str, number: int) -> Timing:
    """Random timing of clip `number` of a split.

    The action fills 0.4 to 0.9 of a clip of 1.2 to 3.5 seconds. In the split `speed`, the fastest action fills a
    quarter of its clip, and for the slowest the clip is as long as needed (up to 5.1 seconds).
    """
    ranges = TEMPO[split]
    low, high = ranges[number % len(ranges)]
    tempo = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    duration = action.seconds * tempo
    share = rng.uniform(0.5, 0.9)
    rate = int(rng.choice(RATES))
    frames = round(np.clip(duration / share, max(1.2, duration + 0.3), max(3.5, duration + 0.3)) * rate)
    pause = frames / rate - duration
    return Timing(rate, frames, float(pause * rng.uniform(0.15, 0.85)), duration, tempo)


@dataclass(frozen=True)
class Scene:
    """Everything that a clip shows, before it is drawn.

    Attributes:
        timing: timing of the clip.
        limbs: names of the actor's acting limbs.
        shapes: everything that moves.
        backdrops: backgrounds of the shapes, one picture per frame.
        size: side of the picture, in pixels.
    """

    timing: Timing
    limbs: tuple[str, ...]
    shapes: list[LayerGroup]
    backdrops: list[Image.Image]
    size: int

    def mask(self, parts: Collection[str] | None = None) -> Frames:
        """Returns the pixels that show some parts of the actor and are not hidden; bool [T, size, size].

        Args:
            parts: some of `PARTS`; None means the acting limbs.
        """
        return silhouettes(self.shapes, self.limbs if parts is None else parts, self.size)


def render(
    rng: np.random.Generator, action: Action, split: str, number: int, size: int
) -> tuple[Timing, list[npt.NDArray[np.uint8]]]:
    """A clip: its timing and its frames, RGB [size, size, 3]."""
    scene = draw_scene(rng, action, split, number, size)
    return scene.timing, light(rng, paint(scene.backdrops, scene.shapes), scene.timing.seconds)


def draw_scene(rng: np.random.Generator, action: Action, split: str, number: int, size: int) -> Scene:
    """Draws the scene of clip `number` of a split, `size` pixels wide and high; `render` draws the light after it."""
    return draw_scene_at(rng, action, draw_timing(rng, action, split, number), size)


def draw_scene_at(rng: np.random.Generator, action: Action, timing: Timing, size: int) -> Scene:
    """Draws the scene of an action at a given timing, `size` pixels wide and high."""
    seconds = timing.seconds
    body = draw_body(rng)
    mirror = bool(rng.random() < 0.5)
    if action.mirrored is not None:
        mirror = action.mirrored
    progress = np.clip((seconds - timing.start) / timing.duration, 0, 1)
    performance = action.perform(progress, body, rng)
    pose = performance.pose
    pose.pelvis[:, 0] += unrest(rng, seconds, 0.0, 0.006)
    pose.lean += unrest(rng, seconds, 0.0, 0.012)
    pose.roll += unrest(rng, seconds, 0.0, 0.008)
    pose.turn += unrest(rng, seconds, 0.3, 0.05)
    pose.reach += np.stack([unrest(rng, seconds, 0.0, 0.012) for _ in range(6)], axis=1).reshape(-1, 2, 3)
    skeleton = solve(body, pose)

    height, distance = rng.uniform(0.55, 0.85), rng.uniform(3.0, 3.8)
    scale = rng.uniform(*action.height) * size
    feet = rng.uniform(0.88, 0.92) * size
    sign = -1 if mirror else 1
    rest = (scale, size * (0.5 + rng.uniform(-0.04, 0.04)) - sign * performance.centre * scale, feet - scale * height)
    zoom = 1 + unrest(rng, seconds, 0.08, 0.004)
    camera = Camera(
        scale=rest[0] * zoom,
        x=size / 2 + (rest[1] - size / 2) * zoom + unrest(rng, seconds, 0.08, 0.006) * size,
        y=size / 2 + (rest[2] - size / 2) * zoom + unrest(rng, seconds, 0.05, 0.006) * size,
        height=height,
        distance=distance,
        mirror=mirror,
    )
    pencil = Pencil(camera, light=(float(rng.choice([-0.7, 0.7])), -0.7))
    floor = rest[2] + scale * distance / (distance - _WALL) * height
    place = background(rng, size, floor / size)
    surroundings = tuple(np.asarray(place).reshape(-1, 3).mean(axis=0).tolist())
    look = draw_look(rng, surroundings)
    shapes = [
        *distractors(rng, pencil, seconds, pose.place[:, 2]),
        floor_shadow(pencil, skeleton),
        *dress(pencil, body, look, skeleton),
        *(shape for prop in performance.props for shape in prop.shapes(pencil, timing.frames)),
    ]
    return Scene(timing, performance.limbs, shapes, view(place, camera, size, rest), size)
