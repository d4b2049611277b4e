"""The actor's appearance: colours and clothes, and their shapes around the joints."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kinema.puppets.figure import ARMS, LEGS, Body, Skeleton
from kinema.puppets.stage import Array, Colour, LayerGroup, Pencil, Solid, shade

SKINS = ((242, 202, 172), (230, 180, 144), (214, 160, 120), (176, 122, 86), (134, 90, 62), (98, 66, 48))
HAIRS = ((38, 30, 30), (74, 48, 34), (120, 76, 42), (196, 152, 84), (168, 72, 40), (150, 150, 156))
SHIRTS = (
    (214, 62, 58),
    (236, 142, 52),
    (244, 204, 84),
    (96, 168, 92),
    (44, 138, 140),
    (64, 122, 204),
    (122, 92, 188),
    (206, 92, 150),
    (244, 240, 230),
    (52, 58, 74),
)
TROUSERS = (
    (48, 62, 98),
    (40, 44, 52),
    (92, 82, 74),
    (178, 152, 112),
    (70, 96, 132),
    (84, 110, 80),
    (120, 58, 62),
    (206, 202, 194),
)
SHOES = ((246, 244, 240), (44, 40, 42), (120, 74, 48), (200, 60, 56), (60, 110, 180))


@dataclass(frozen=True)
class Look:
    """Colours (RGB) and cuts of the clothes."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    accent: Colour
    short_sleeves: bool
    shorts: bool
    style: str  # hair: short, long, bun, bald, cap
    striped: bool


def draw_look(rng: np.random.Generator, surroundings: Colour) -> Look:
    """Draws random clothes; of a few candidates, those that stand out most from the surroundings are used."""

    def pick(colours: tuple[Colour, ...], candidates: int = 1) -> Colour:
        chosen = rng.choice(len(colours), size=candidates, replace=False)
        return max(
            (colours[i] for i in chosen), key=lambda c: sum(abs(a - b) for a, b in zip(c, surroundings, strict=True))
        )

    shirt = pick(SHIRTS, 2)
    return Look(
        skin=pick(SKINS, 2),
        hair=pick(HAIRS),
        shirt=shirt,
        trousers=pick(tuple(c for c in TROUSERS if sum(abs(a - b) for a, b in zip(c, shirt, strict=True)) > 90), 2),
        shoes=pick(SHOES),
        accent=pick(tuple(c for c in SHIRTS if c != shirt)),
        short_sleeves=bool(rng.random() < 0.55),
        shorts=bool(rng.random() < 0.3),
        style=str(rng.choice(["short", "short", "long", "bun", "bald", "cap"])),
        striped=bool(rng.random() < 0.35),
    )


def dress(pencil: Pencil, body: Body, look: Look, skeleton: Skeleton) -> list[LayerGroup]:
    """Returns the shapes of the actor, each with the name of its part and the depth at which it covers the others."""
    torso_depth = skeleton.pelvis[:, 2] * 0.5 + skeleton.chest[:, 2] * 0.5
    shapes = [replace(_torso(pencil, body, look, skeleton), part="torso")]
    shapes += [replace(shape, part="head") for shape in _head(pencil, body, look, skeleton)]
    for side in (0, 1):
        leg_depth = (skeleton.knee[:, side, 2] + skeleton.ankle[:, side, 2]) / 2 - skeleton.pelvis[:, 2]
        shapes.append(replace(_leg(pencil, body, look, skeleton, side, leg_depth * 0.2), part=LEGS[side]))
        joints = skeleton.shoulder[:, side, 2] + skeleton.elbow[:, side, 2] + skeleton.wrist[:, side, 2]
        before = joints / 3 - torso_depth
        arm_depth = np.where(before > -0.035, 1.6, 0.5) + before * 0.2
        shapes.append(replace(_arm(pencil, body, look, skeleton, side, arm_depth), part=ARMS[side]))
    return shapes


def floor_shadow(pencil: Pencil, skeleton: Skeleton) -> LayerGroup:
    """Draws a soft dark spot on the floor between the feet and the pelvis."""
    middle = (skeleton.ankle.mean(axis=1) + skeleton.pelvis) / 2
    spread = np.abs(skeleton.ankle[:, 0, 0] - skeleton.ankle[:, 1, 0]) / 2 + 0.1
    layers = []
    for grow, alpha in ((1.35, 26), (1.0, 40), (0.7, 46)):
        ends = np.repeat(middle[:, None], 2, axis=1)
        ends[:, 0, 0] -= spread * grow
        ends[:, 1, 0] += spread * grow
        ends[..., 1] = 0.0
        layers.append(pencil.flat(ends, (0.045 * grow, 0.045 * grow), (20, 18, 30, alpha)))
    return pencil.shape(-50.0, layers)


def _between(a: Array, b: Array, share: float) -> Array:
    return a + (b - a) * share


def _line(*points: Array) -> Array:
    return np.stack(points, axis=1)


def _torso(pencil: Pencil, body: Body, look: Look, s: Skeleton) -> LayerGroup:
    b = body.build
    spine = s.chest - s.pelvis
    hem = s.pelvis + spine * 0.1
    waist = [hem + sign * (s.hip[:, 0] - s.hip[:, 1]) * 0.5 for sign in (1, -1)]
    tops = [_between(s.shoulder[:, i], s.chest, 0.28) - spine * 0.09 for i in (0, 1)]
    shirt = _line(*tops, *waist)
    neck = _line(_between(s.chest, s.head, 0.05), _between(s.chest, s.head, 0.5))
    shape = pencil.rounded(
        1.0,
        [
            (neck, (0.031 * b, 0.03 * b), look.skin),
            (shirt, (0.056 * b, 0.056 * b, 0.06 * b, 0.06 * b), look.shirt),
        ],
    )
    layers = list(shape.layers)
    if look.striped:
        for height in (0.42, 0.68):
            ends = [_between(w, t, height) for w, t in zip(waist, tops, strict=True)]
            layers.append(pencil.flat(_line(*ends), (0.016 * b + 0.008, 0.016 * b + 0.008), look.accent))
    return LayerGroup(shape.depth, layers)


def _leg(pencil: Pencil, body: Body, look: Look, s: Skeleton, side: int, depth: Array) -> LayerGroup:
    b = body.build
    hip, knee, ankle, toe = s.hip[:, side], s.knee[:, side], s.ankle[:, side], s.toe[:, side]
    cloth_end = _between(hip, knee, 0.8) if look.shorts else None
    shank = look.skin if look.shorts else look.trousers
    heel = ankle - (toe - ankle) * 0.25
    heel[:, 1] = np.minimum(heel[:, 1], ankle[:, 1] - 0.014)
    parts = [
        (_line(knee, ankle), (0.041 * b, 0.027 * b), shank),
        (_line(heel, _between(ankle, toe, 0.9)), (0.026, 0.022), look.shoes),
    ]
    if cloth_end is None:
        parts.append((_line(hip, knee), (0.06 * b, 0.043 * b), look.trousers))
    else:
        parts.append((_line(hip, knee), (0.05 * b, 0.041 * b), look.skin))
        parts.append((_line(hip, cloth_end), (0.063 * b, 0.054 * b), look.trousers))
    return pencil.rounded(depth, parts)


def _arm(pencil: Pencil, body: Body, look: Look, s: Skeleton, side: int, depth: Array) -> LayerGroup:
    b = body.build
    shoulder, elbow, wrist, hand = s.shoulder[:, side], s.elbow[:, side], s.wrist[:, side], s.hand[:, side]
    inner = _between(shoulder, s.chest, 0.12)
    parts = [(_line(wrist, hand), (0.022, 0.03), look.skin)]
    if look.short_sleeves:
        parts += [
            (_line(elbow, wrist), (0.031 * b, 0.023 * b), look.skin),
            (_line(shoulder, elbow), (0.035 * b, 0.031 * b), look.skin),
            (_line(inner, _between(shoulder, elbow, 0.55)), (0.042 * b, 0.041 * b), look.shirt),
        ]
    else:
        parts += [
            (_line(elbow, wrist), (0.034 * b, 0.027 * b), look.shirt),
            (_line(inner, elbow), (0.045 * b, 0.034 * b), look.shirt),
        ]
    return pencil.rounded(depth, parts)


def _head(pencil: Pencil, body: Body, look: Look, s: Skeleton) -> list[LayerGroup]:
    r = body.head
    # the visible side of the head decides whether the hair or the face covers the other
    away = s.facing[:, 2] < -0.25
    front = np.where(away, 1.2, 1.3)
    back = np.where(away, 1.3, 1.2)
    jaw = s.head + s.facing * r * 0.2 - s.up * r * 0.35
    brow = s.head + s.facing * r * 0.1 + s.up * r * 0.15
    skull = s.head - s.facing * r * 0.18 + s.up * r * 0.2
    face = pencil.rounded(front, [(_line(brow, jaw), (r * 0.88, r * 0.72), look.skin)])
    layers = list(face.layers)
    sight = s.head + s.facing * r * 0.92 - s.up * r * 0.05
    for sign in (1.0, -1.0):
        eye = sight + sign * s.left * r * 0.36
        normal = eye[:, 2] - s.head[:, 2]
        seen = normal > r * 0.12
        layers.append(pencil.flat(_line(eye, eye + s.up * r * 0.1), (r * 0.2,) * 2, (250, 248, 244), seen))
        pupil = eye + s.facing * r * 0.1 + s.up * r * 0.03
        layers.append(pencil.flat(_line(pupil, pupil + s.up * r * 0.06), (r * 0.13,) * 2, (30, 24, 28), seen))
    nose = s.head + s.facing * r * 1.02 - s.up * r * 0.3
    layers.append(pencil.flat(_line(nose), (r * 0.17,), shade(look.skin, 0.8), s.facing[:, 2] > -0.3))
    shapes = [LayerGroup(face.depth, layers)]

    colour = look.accent if look.style == "cap" else look.hair
    if look.style != "bald":
        parts: list[Solid] = [(_line(skull), (r * 1.02,), colour)]
        if look.style == "long":
            nape = s.head - s.facing * r * 0.5 - s.up * r * 1.1
            parts.append((_line(skull - s.facing * r * 0.1, nape), (r * 0.95, r * 0.62), colour))
        if look.style == "bun":
            parts.append((_line(skull - s.facing * r * 0.6 + s.up * r * 0.85), (r * 0.42,), colour))
        shapes.append(pencil.rounded(back, parts))
        fringe = s.head + s.up * r * 0.86
        tips = [fringe + sign * s.left * r * 0.45 + s.facing * r * 0.3 for sign in (1, -1)]
        top = fringe - s.facing * r * 0.3 + s.up * r * 0.05
        shapes.append(pencil.rounded(1.31, [(_line(*tips, top), (r * 0.27, r * 0.27, r * 0.4), colour)]))
    if look.style == "cap":
        root = s.head + s.up * r * 0.5 + s.facing * r * 0.75
        brim = [root + sign * s.left * r * 0.4 for sign in (1, -1)]
        tip = root + s.facing * r * 0.75
        show_last = np.where(away, 1.15, 1.32)
        shapes.append(
            pencil.rounded(show_last, [(_line(*brim, tip), (r * 0.16, r * 0.16, r * 0.14), shade(colour, 0.8))])
        )
    return shapes
