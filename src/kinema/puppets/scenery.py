"""The surroundings: backgrounds, moving objects, camera shake, and light."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from kinema.puppets.stage import Array, Camera, Colour, LayerGroup, Pencil, shade

MARGIN = 0.25
"""Margin of a background beyond the picture on every side, as a share of the picture."""

_DRAWN = 336  # side, in pixels, of a background before it is resized; line widths are chosen for it

Draw = ImageDraw.ImageDraw


Range = tuple[float, float]
Hues = tuple[Range, ...]
ANY: Hues = ((0.0, 1.0),)
WARM: Hues = ((0.02, 0.13),)
EARTH: Hues = ((0.0, 0.06), (0.07, 0.12), (0.55, 0.65))
CALM: Hues = ((0.04, 0.16), (0.25, 0.45), (0.48, 0.64), (0.92, 0.99))
GREEN: Hues = ((0.19, 0.33), (0.19, 0.33), (0.07, 0.13))
SKY: Hues = ((0.52, 0.61), (0.52, 0.61), (0.03, 0.1))


def tint(rng: np.random.Generator, hues: Hues, saturation: Range, value: Range) -> Colour:
    """Returns a colour whose hue is in one of the ranges."""
    hue = rng.uniform(*hues[int(rng.integers(len(hues)))])
    rgb = colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value))
    return tuple(round(255 * c) for c in rgb)


def _gradient(top: Colour, bottom: Colour, width: int, height: int) -> Image.Image:
    column = np.linspace(np.array(top), np.array(bottom), max(height, 1))
    return Image.fromarray(np.repeat(column[:, None].round().astype(np.uint8), width, axis=1))


def _planks(rng: np.random.Generator, draw: Draw, side: int, line: int, colour: Colour) -> None:
    """Draws boards that run towards a vanishing point, or rows of tiles."""
    vanish = (side * rng.uniform(0.4, 0.6), line - side * rng.uniform(0.25, 0.4))
    step = side * rng.uniform(0.09, 0.16)
    joint = shade(colour, 0.84)
    edges = np.arange(-side * 1.5, side * 2.5, step)
    for i, x in enumerate(edges):
        far = [vanish[0] + (e - vanish[0]) * (line - vanish[1]) / (side - vanish[1]) for e in (x, x + step)]
        tone = shade(colour, 1 + 0.1 * float(rng.uniform(-1, 1)))
        if i % 2 or rng.random() < 0.6:
            draw.polygon([(far[0], line), (far[1], line), (x + step, side), (x, side)], fill=tone)
        draw.line([(far[0], line), (x, side)], fill=joint, width=2)
    if rng.random() < 0.5:
        for share in np.cumsum(rng.uniform(0.08, 0.16) * np.array([1, 1.5, 2.2, 3.2, 4.6])):
            y = line + share * (side - line)
            draw.line([(0, y), (side, y)], fill=joint, width=2)


def _room(rng: np.random.Generator, draw: Draw, image: Image.Image, line: int) -> None:
    side = image.width
    wall = tint(rng, CALM, (0.06, 0.3), (0.62, 0.95))
    image.paste(_gradient(shade(wall, 0.93), wall, side, line))
    pattern = rng.integers(4)
    step = int(side * rng.uniform(0.05, 0.11))
    tone = shade(wall, rng.choice([0.9, 1.3]))
    if pattern == 0:
        for left in range(0, side, step):
            draw.rectangle([left, 0, left + step * 0.45, line], fill=tone)
    elif pattern == 1:
        for row, top in enumerate(range(0, line, step)):
            for left in range((row % 2) * step // 2, side, step):
                draw.ellipse([left, top, left + step * 0.3, top + step * 0.3], fill=tone)
    elif pattern == 2:
        draw.rectangle([0, line * 0.62, side, line], fill=shade(wall, 0.82))
        draw.line([(0, line * 0.62), (side, line * 0.62)], fill=shade(wall, 1.4), width=5)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, 0.85) * side, rng.uniform(0.05, 0.35) * line
        w, h = rng.uniform(0.12, 0.24) * side, rng.uniform(0.25, 0.4) * line
        frame = shade(wall, 0.55)
        draw.rectangle([x - 5, y - 5, x + w + 5, y + h + 5], fill=frame)
        if rng.random() < 0.5:  # a window
            image.paste(_gradient((150, 196, 236), (226, 238, 246), int(w), int(h)), (int(x), int(y)))
            draw.line([(x + w / 2, y), (x + w / 2, y + h)], fill=frame, width=5)
            draw.line([(x, y + h / 2), (x + w, y + h / 2)], fill=frame, width=5)
        else:  # a picture
            draw.rectangle([x, y, x + w, y + h], fill=tint(rng, CALM, (0.1, 0.35), (0.7, 0.95)))
            for _ in range(3):
                cx, cy, r = x + rng.uniform(0.2, 0.8) * w, y + rng.uniform(0.2, 0.8) * h, rng.uniform(0.08, 0.2) * w
                draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=tint(rng, ANY, (0.3, 0.6), (0.5, 0.95)))
    floor = tint(rng, (*WARM, *WARM, *CALM), (0.12, 0.45), (0.35, 0.75))
    draw.rectangle([0, line, side, side], fill=floor)
    _planks(rng, draw, side, line, floor)
    draw.rectangle([0, line - 0.025 * side, side, line], fill=shade(wall, 1.5))
    draw.line([(0, line), (side, line)], fill=shade(floor, 0.6), width=3)


def _bricks(rng: np.random.Generator, draw: Draw, image: Image.Image, line: int) -> None:
    side = image.width
    brick = tint(rng, EARTH, (0.1, 0.5), (0.45, 0.8))
    draw.rectangle([0, 0, side, line], fill=shade(brick, 0.72))
    h = int(side * rng.uniform(0.03, 0.055))
    w = int(h * rng.uniform(1.0, 2.6))
    for row, y in enumerate(range(line - h, -h, -h)):
        for x in range(-w + (row % 2) * w // 2, side, w):
            draw.rectangle([x + 2, y + 2, x + w - 2, y + h - 2], fill=shade(brick, float(rng.uniform(0.88, 1.14))))
    ground = tint(rng, CALM, (0.02, 0.15), (0.42, 0.7))
    draw.rectangle([0, line, side, side], fill=ground)
    _planks(rng, draw, side, line, ground)
    draw.rectangle([0, line - 4, side, line + 4], fill=shade(ground, 0.7))


def _park(rng: np.random.Generator, draw: Draw, image: Image.Image, line: int) -> None:
    side = image.width
    sky = tint(rng, SKY, (0.2, 0.5), (0.78, 0.98))
    image.paste(_gradient(sky, shade(sky, 1.55), side, line))
    for _ in range(int(rng.integers(2, 6))):
        x, y, w = rng.uniform(0, 1) * side, rng.uniform(0.05, 0.4) * line, rng.uniform(0.06, 0.14) * side
        for k in range(4):
            cx, r = x + (k - 1.5) * w * 0.5, w * rng.uniform(0.25, 0.45)
            draw.ellipse([cx - r, y - r * 0.7, cx + r, y + r * 0.7], fill=shade(sky, 1.75))
    green = tint(rng, GREEN, (0.25, 0.5), (0.45, 0.7))
    for level, tone in ((0.62, 1.35), (0.78, 1.1)):
        along = np.linspace(0, side, 40)
        ridge = np.full(40, line * level)
        for _ in range(2):
            ridge += line * 0.07 * np.sin(along / side * rng.uniform(2, 9) + rng.uniform(0, 6))
        draw.polygon(
            [(0, line), *zip(along.tolist(), ridge.tolist(), strict=True), (side, line)], fill=shade(green, tone)
        )
    for _ in range(int(rng.integers(2, 7))):
        x, base, h = rng.uniform(0, 1) * side, line + rng.uniform(0, 6), rng.uniform(0.3, 0.62) * line
        draw.rectangle([x - 6, base - h * 0.5, x + 6, base], fill=(98, 72, 54))
        crown = shade(green, float(rng.uniform(0.62, 0.95)))
        for k in range(5):
            cx, cy, r = x + rng.uniform(-0.2, 0.2) * h, base - h * rng.uniform(0.5, 0.95), h * rng.uniform(0.16, 0.26)
            draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=shade(crown, 1 + 0.05 * k))
    grass = tint(rng, GREEN, (0.3, 0.55), (0.45, 0.75))
    image.paste(_gradient(shade(grass, 0.85), grass, side, side - line), (0, line))
    for _ in range(160):
        x, y = rng.uniform(0, side), rng.uniform(line, side)
        draw.line([(x, y), (x + rng.uniform(-4, 4), y - 8)], fill=shade(grass, float(rng.choice([0.82, 1.2]))), width=2)


def _city(rng: np.random.Generator, draw: Draw, image: Image.Image, line: int) -> None:
    side = image.width
    sky = tint(rng, SKY, (0.25, 0.55), (0.4, 0.95))
    image.paste(_gradient(sky, shade(sky, 1.6), side, line))
    x = -20.0
    while x < side:
        w, h = rng.uniform(0.1, 0.22) * side, rng.uniform(0.35, 0.9) * line
        wall = tint(rng, EARTH, (0.08, 0.3), (0.32, 0.62))
        draw.rectangle([x, line - h, x + w, line], fill=wall)
        lit = tint(rng, ((0.1, 0.16), (0.52, 0.58)), (0.15, 0.45), (0.75, 1.0))
        gap = w / int(rng.integers(3, 6))
        for wx in np.arange(x + gap * 0.3, x + w - gap * 0.5, gap):
            for wy in np.arange(line - h + gap * 0.4, line - gap * 0.6, gap * 1.2):
                fill = lit if rng.random() < 0.4 else shade(wall, 0.75)
                draw.rectangle([wx, wy, wx + gap * 0.45, wy + gap * 0.6], fill=fill)
        x += w + rng.uniform(0, 0.05) * side
    street = tint(rng, CALM, (0.02, 0.12), (0.38, 0.62))
    draw.rectangle([0, line, side, side], fill=street)
    draw.rectangle([0, line, side, line + 0.03 * side], fill=shade(street, 1.35))
    _planks(rng, draw, side, int(line + 0.03 * side), street)


def _studio(rng: np.random.Generator, draw: Draw, image: Image.Image, line: int) -> None:
    """Draws a painted backdrop: a soft gradient with blobs, rings and bands."""
    side = image.width
    wall = tint(rng, CALM, (0.15, 0.45), (0.45, 0.9))
    other = tint(rng, CALM, (0.15, 0.4), (0.45, 0.9))
    image.paste(_gradient(wall, other, side, line))
    for _ in range(int(rng.integers(4, 12))):
        cx, cy, r = rng.uniform(0, 1) * side, rng.uniform(0, 1) * line, rng.uniform(0.03, 0.16) * side
        fill = shade(wall if rng.random() < 0.5 else other, float(rng.uniform(0.78, 1.3)))
        kind = rng.integers(3)
        if kind == 0:
            draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=fill)
        elif kind == 1:
            draw.ellipse([cx - r, cy - r, cx + r, cy + r], outline=fill, width=int(r * 0.3) + 2)
        else:
            draw.polygon(
                [(cx - r, cy - r * 0.4), (cx + r, cy - r), (cx + r, cy + r * 0.4), (cx - r, cy + r)], fill=fill
            )
    floor = shade(other, float(rng.uniform(0.6, 0.85)))
    image.paste(_gradient(shade(floor, 0.9), shade(floor, 1.12), side, side - line), (0, line))
    if rng.random() < 0.5:
        _planks(rng, draw, side, line, floor)


_KINDS: tuple[Callable[[np.random.Generator, Draw, Image.Image, int], None], ...] = (
    _room,
    _room,
    _bricks,
    _park,
    _city,
    _studio,
)


def background(rng: np.random.Generator, size: int, floor: float) -> Image.Image:
    """Draws a textured picture of side `size * (1 + 2 MARGIN)`; the wall meets the floor at share `floor` of `size`."""
    side = round(size * (1 + 2 * MARGIN))
    image = Image.new("RGB", (_DRAWN, _DRAWN))
    line = int((floor + MARGIN) / (1 + 2 * MARGIN) * _DRAWN)
    _KINDS[int(rng.integers(len(_KINDS)))](rng, ImageDraw.Draw(image), image, line)
    picture = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS), dtype=np.float32)
    rough = rng.normal(0, 1, (9, 9)).astype(np.float32)
    clouds = np.asarray(Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC))
    # a separate generator: the amount of noise for a size must not change later draws
    grain = np.random.default_rng(int(rng.integers(2**32))).normal(0, 1, (side, side)).astype(np.float32)
    picture = picture * (1 + 0.05 * clouds + 0.015 * grain)[..., None]
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def unrest(rng: np.random.Generator, seconds: Array, slow: float, fast: float) -> Array:
    """Returns a smooth random movement [T]: a drift over the clip of up to `slow` and a tremble of about `fast`."""
    middle = (seconds[0] + seconds[-1]) / 2
    length = max(float(seconds[-1] - seconds[0]), 1e-6)
    path = rng.uniform(-slow, slow) * (seconds - middle) / length
    for _ in range(3):
        path = path + fast * 0.6 * np.sin(2 * np.pi * rng.uniform(0.4, 2.2) * seconds + rng.uniform(0, 2 * np.pi))
    return path


def view(image: Image.Image, camera: Camera, size: int, rest: tuple[float, float, float]) -> list[Image.Image]:
    """Returns the background as the camera sees it in every frame; it was drawn for `rest`: scale, x and y."""
    zoom = camera.scale / rest[0]
    frames = []
    for t in range(len(zoom)):
        left = MARGIN * size + rest[1] - camera.x[t] / zoom[t]
        top = MARGIN * size + rest[2] - camera.y[t] / zoom[t]
        span = size / zoom[t]
        left = min(max(left, 0.0), image.width - span)
        top = min(max(top, 0.0), image.height - span)
        box = (left, top, left + span, top + span)
        frames.append(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return frames


def distractors(rng: np.random.Generator, pencil: Pencil, seconds: Array, actor: Array) -> list[LayerGroup]:
    """Draws balls, boxes and balloons that move by, and sometimes a post that passes in front of everything.

    `actor` [T] is the depth of the actor: nearer objects cover the actor.
    """
    shapes = []
    frames = len(seconds)
    clock = (seconds - seconds[0]) / max(float(seconds[-1] - seconds[0]), 1e-6)
    for _ in range(int(rng.integers(0, 4))):
        depth, radius = rng.uniform(-1.6, -0.5), rng.uniform(0.05, 0.1)
        start, end = rng.uniform(-1.1, 1.1, size=2)
        x = start + (end - start) * clock
        rank = np.where(actor < depth, 30.0, -20.0) + depth
        colour = tint(rng, ANY, (0.35, 0.65), (0.55, 0.95))
        kind = rng.integers(3)
        bounce = np.abs(np.sin(2 * np.pi * (rng.uniform(0.3, 0.8) * seconds + rng.random())))
        height, hop = rng.uniform(0.5, 1.2), rng.uniform(0.15, 0.5)
        y = radius + hop * bounce if kind == 0 else (np.full(frames, radius) if kind == 1 else height + 0.1 * bounce)
        centre = np.stack([x, y, np.full(frames, depth)], axis=1)
        if kind == 1:
            frame = np.tile(np.eye(3), (frames, 1, 1))
            shapes.append(pencil.shape(rank, pencil.cuboid(centre, (radius,) * 3, frame, colour)))
        else:
            shapes.append(pencil.rounded(rank, [(centre[:, None], (radius,), colour)]))
        if kind < 2:
            spot = np.repeat((centre * np.array([1, 0, 1]))[:, None], 2, axis=1)
            spot[:, 0, 0] -= radius * 0.6
            spot[:, 1, 0] += radius * 0.6
            shapes.append(pencil.shape(-45.0, [pencil.flat(spot, (0.03, 0.03), (20, 18, 30, 60))]))
    if rng.random() < 0.12:
        start, end = rng.choice([-0.85, 0.85]) * rng.uniform(0.7, 1.3), rng.uniform(-0.85, 0.85)
        foot = np.stack([start + (end - start) * clock, np.full(frames, -0.4), np.full(frames, 0.9)], axis=1)
        top = foot + np.array([0.0, 2.6, 0.0])
        post = pencil.rounded(
            60.0, [(np.stack([foot, top], axis=1), (0.022, 0.022), tint(rng, CALM, (0.05, 0.3), (0.35, 0.75)))]
        )
        shapes.append(post)
    return shapes


def light(rng: np.random.Generator, frames: list[Image.Image], seconds: Array) -> list[np.ndarray]:
    """Applies light to frames [H, W, 3] uint8: a drifting brightness, a colour, and a darker border."""
    size = frames[0].width
    axis = np.linspace(-1, 1, size)
    radius = np.hypot(*np.meshgrid(axis + rng.uniform(-0.3, 0.3), axis + rng.uniform(-0.3, 0.3)))
    border = 1 - rng.uniform(0, 0.3) * np.clip(radius - 0.5, 0, 1) ** 1.5
    warm = rng.uniform(-0.07, 0.07)
    colour = np.array([1 + warm, 1.0, 1 - warm])
    field = (border[..., None] * colour).astype(np.float32)
    gain = rng.uniform(0.85, 1.15) * (1 + unrest(rng, seconds, 0.16, 0.02))
    offset = np.float32(rng.uniform(-6, 10))
    return [
        np.clip(np.asarray(frame) * (field * np.float32(g)) + offset, 0, 255).astype(np.uint8)
        for frame, g in zip(frames, gain, strict=True)
    ]
