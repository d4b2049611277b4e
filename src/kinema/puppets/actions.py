"""The actions: each maps progress from 0 to 1 to a pose and the props that it needs.

An action with a reversed label is performed only forwards: played backwards, it is the other action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kinema.puppets.figure import ANKLE, ARMS, LEGS, Body, Pose, arm, solve, stand
from kinema.puppets.props import TOYS, WOODS, Carried, Chair, Prop, Trunk, Wardrobe
from kinema.puppets.stage import Array, Colour

LEFT, RIGHT = 0, 1


@dataclass(frozen=True)
class Performance:
    """A pose of T frames, the acting limbs, the props, and the world x at which the camera looks.

    The acting limbs are those whose movement defines the action: the legs for walking or sitting down, the arms for
    handling an object.
    """

    pose: Pose
    limbs: tuple[str, ...]
    props: tuple[Prop, ...] = ()
    centre: float = 0.0


@dataclass(frozen=True)
class Action:
    """An action of the data set.

    Attributes:
        label: its class.
        reversed: class of the same clip played backwards, or empty.
        mirrored: whether the scene is mirrored; None decides at random.
        seconds: duration at tempo 1.
        height: smallest and largest height of the actor, as a share of the picture.
        perform: progress [T] in 0 to 1, body, generator -> performance. Draws from the generator do not depend on T.
    """

    label: str
    reversed: str
    mirrored: bool | None
    seconds: float
    height: tuple[float, float]
    perform: Callable[[Array, Body, np.random.Generator], Performance]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that one performance belongs to."""
        return (self.label, self.reversed) if self.reversed else (self.label,)


def ease(u: Array) -> Array:
    """Progress from 0 to 1 that starts and ends at rest; outside this range it stays at the ends."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(u, 0, 1))


def plateau(u: Array, ramp: float) -> Array:
    """Returns 0 at both ends and 1 in the middle, with soft ramps that each take the share `ramp` of the time."""
    return ease(np.minimum(u, 1 - u) / ramp)


def turned(point: Array, yaw: float) -> Array:
    """Converts a point [..., 3] of the actor's frame to the world, for an actor at the origin who faces `yaw`."""
    x = np.cos(yaw) * point[..., 0] + np.sin(yaw) * point[..., 2]
    z = np.cos(yaw) * point[..., 2] - np.sin(yaw) * point[..., 0]
    return np.stack([x, point[..., 1], z], axis=-1)


def pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """Returns one of the colours."""
    return colours[int(rng.integers(len(colours)))]


def walk(pose: Pose, body: Body, travel: Array, stride: float, phase: float) -> None:
    """Moves feet, pelvis and arms for a walk; `travel` [T] is the distance covered along the actor's forward axis.

    A foot stands still on the floor for 0.6 of its cycle of one `stride` (two steps).
    """
    total = abs(float(travel[-1] - travel[0]))
    gone = np.abs(travel - travel[0])
    size = ease(np.minimum(gone, total - gone) / (0.16 * total))
    half = 0.3 * stride
    for side in (LEFT, RIGHT):
        cycle = (travel / stride + phase + 0.5 * side) % 1.0
        swing = np.clip((cycle - 0.6) / 0.4, 0, 1)
        z = np.where(cycle < 0.6, half * (1 - cycle / 0.3), half * (2 * ease(swing) - 1))
        pose.feet[:, side, 2] += size * z
        pose.feet[:, side, 1] += size * (0.075 * np.sin(np.pi * swing) + 0.03 * np.maximum(-z / half, 0) ** 2)
        pose.tiptoe[:, side] += size * (0.55 * np.maximum(-z / half, 0) - 0.25 * np.maximum(z / half, 0))
        swung = arm(1 - 2 * side, 0.1 - 0.6 * z / half * size, 0.25, 0.93)
        pose.reach[:, side] += size[:, None] * (swung - pose.reach[:, side])
    apart = np.abs(pose.feet[:, LEFT, 2] - pose.feet[:, RIGHT, 2]) / 2
    leg = (body.thigh + body.shank) * 0.985
    pose.pelvis[:, 1] = ANKLE + np.sqrt(leg**2 - np.minimum(apart, 0.5 * leg) ** 2)
    pose.lean += size * 0.05


def sit_down(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Sits down on a chair, from standing before it."""
    yaw, bow, slump = rng.uniform(0.5, 1.5), rng.uniform(0.45, 0.75), rng.uniform(-0.06, 0.12)
    seat_height = rng.uniform(0.225, 0.27)
    colour, cushion, back = pick(rng, WOODS), pick(rng, TOYS), rng.uniform(0.26, 0.36)
    pose = stand(len(u), body)
    down = ease(u)
    back_to = body.thigh * 0.93
    pose.pelvis[:, 1] += down * (seat_height + 0.058 * body.build - pose.pelvis[:, 1])
    pose.pelvis[:, 2] = -back_to * ease(u * 1.12)
    pose.lean += bow * np.sin(np.pi * down) + slump * down
    pose.nod += -0.25 * bow * np.sin(np.pi * down)
    pose.feet[:, :, 2] += 0.03
    knees = np.array([[0.085, seat_height + 0.075, 0.0], [-0.085, seat_height + 0.075, 0.0]])
    pose.grip[:] = knees
    pose.hold[:] = ease((u - 0.15) / 0.7)[:, None]
    pose.yaw += yaw
    seat = turned(np.array([0.0, seat_height, -back_to - 0.03]), yaw)
    chair = Chair(seat, yaw, colour, cushion, back)
    return Performance(pose, LEGS, (chair,), centre=float(seat[0]) / 2)


def pick_up(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Bends to a box or a ball on the floor and lifts it to the chest."""
    yaw = rng.uniform(0.45, 1.5)
    radius, ball = rng.uniform(0.065, 0.085), bool(rng.random() < 0.4)
    colour, band = (TOYS[i] for i in rng.choice(len(TOYS), 2, replace=False))
    bow, crouch, top = rng.uniform(1.1, 1.28), rng.uniform(0.2, 0.25), rng.uniform(-0.14, -0.02)
    pose = stand(len(u), body)
    bent = np.sin(np.pi * ease(u)) ** 1.3
    lift = ease((u - 0.5) * 2)
    pose.lean += bow * bent
    pose.pelvis[:, 1] -= crouch * bent
    pose.pelvis[:, 2] -= 0.1 * bent
    pose.feet[:, :, 0] *= 1.25
    thing = np.zeros((len(u), 3))
    thing[:, 1] = radius + lift * (body.shoulder_height + top - 0.09 - radius)
    thing[:, 2] = 0.2 + 0.07 * np.sin(np.pi * lift) + 0.02 * lift
    for side in (LEFT, RIGHT):
        pose.grip[:, side] = thing + np.array([(1 - 2 * side) * radius * 0.95, 0.012, -0.03])
        pose.hold[:, side] = ease(u / 0.42)
    # if the arms are too short for the path, the object stays between the hands
    held = solve(body, pose).wrist.mean(axis=1) + np.array([0.0, -0.012, 0.03])
    held[:, 1] = np.maximum(held[:, 1], radius)
    thing += ease((u - 0.5) / 0.06)[:, None] * (held - thing)
    pose.yaw += yaw
    carried = Carried(turned(thing, yaw), pose.yaw, radius, colour, band, ball)
    return Performance(pose, ARMS, (carried,), centre=0.08 * float(np.sin(yaw)))


def raise_arms(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Lifts both arms from hanging to above the head, sideways, forwards or in between."""
    yaw, outward = rng.uniform(-0.6, 0.6), rng.choice([0.45, 1.0, 1.45]) + rng.uniform(-0.1, 0.1)
    top, stretch = rng.uniform(2.55, 2.95), rng.uniform(0.93, 0.99)
    pose = stand(len(u), body)
    raised = 0.16 + ease(u) * (top - 0.16)
    for side in (LEFT, RIGHT):
        pose.reach[:, side] = arm(1 - 2 * side, raised, outward, stretch)
    pose.nod -= 0.2 * ease(u)
    pose.yaw += yaw
    return Performance(pose, ARMS)


def approach(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Walks towards the camera, or backwards with the back to it."""
    away = bool(rng.random() < 0.25)
    yaw, drift = rng.uniform(-0.25, 0.25), rng.uniform(-0.12, 0.12)
    near, far, steps, phase = rng.uniform(-0.05, 0.15), rng.uniform(-2.4, -1.9), rng.uniform(1.6, 2.6), rng.uniform()
    pose = stand(len(u), body)
    gone = 0.35 * ease(u) + 0.65 * np.clip(u, 0, 1)
    pose.place[:, 2] = far + (near - far) * gone
    pose.place[:, 0] = drift * (1 - 2 * gone)
    travel = (near - far) * gone * (-1 if away else 1)
    walk(pose, body, travel, (near - far) / steps, phase)
    pose.yaw += yaw + (np.pi if away else 0)
    return Performance(pose, LEGS)


def step_right(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Walks to the right of the picture, in profile or half profile."""
    yaw, way, steps, phase = rng.uniform(1.15, 1.75), rng.uniform(0.65, 0.85), rng.uniform(1.3, 2.0), rng.uniform()
    pose = stand(len(u), body)
    gone = 0.35 * ease(u) + 0.65 * np.clip(u, 0, 1)
    pose.place[:, 0] = way * (gone - 0.5)
    walk(pose, body, way * gone, way / steps, phase)
    pose.yaw += yaw
    return Performance(pose, LEGS)


def open_trunk(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Opens the lid of a trunk."""
    yaw, height = rng.uniform(1.05, 1.45), rng.uniform(0.34, 0.44)
    depth, width, widest = rng.uniform(0.26, 0.3), rng.uniform(0.34, 0.44), rng.uniform(1.65, 1.95)
    colour, inside, both = pick(rng, WOODS), pick(rng, TOYS), bool(rng.random() < 0.5)
    pose = stand(len(u), body)
    turn = ease((u - 0.22) / 0.68)
    near = 0.16
    hinge = np.array([0.0, height, near + depth])
    trunk = Trunk(turned(hinge, yaw), yaw, turn * widest, width, depth, colour, inside)
    # the same lid in the actor's own frame, for the hands
    own = Trunk(hinge, 0.0, turn * widest, width, depth, colour, inside)
    touch = ease(u / 0.22)
    pose.lean += 0.42 * touch + 0.12 * turn - 0.1 * np.sin(np.pi * turn)
    pose.pelvis[:, 1] -= 0.02 * touch
    pose.pelvis[:, 2] += 0.05 * turn
    pose.nod += 0.15 * touch
    for side in (LEFT, RIGHT):
        if both or side == RIGHT:
            pose.grip[:, side] = own.edge() + np.array([(1 - 2 * side) * 0.09, 0.0, -0.02])
            pose.hold[:, side] = touch
    pose.yaw += yaw
    return Performance(pose, ARMS if both else ARMS[RIGHT:], (trunk,), centre=0.2)


def open_wardrobe(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Pulls open the door of a wardrobe that stands before the camera."""
    width, height = rng.uniform(0.36, 0.42), rng.uniform(0.92, 1.08)
    widest, colour = rng.uniform(1.55, 1.85), pick(rng, WOODS)
    yaw, things = rng.uniform(1.65, 1.95), tuple(TOYS[i] for i in rng.integers(len(TOYS), size=9))
    phase = rng.uniform()
    pose = stand(len(u), body)
    turn = ease((u - 0.2) / 0.7)
    hinge = np.array([width + 0.06, 0.0, -0.16])
    wardrobe = Wardrobe(hinge, turn * widest, width, height, colour, things)
    pose.place[:, 0] = -0.16 + 0.22 * turn
    pose.place[:, 2] = 0.06
    walk(pose, body, 0.22 * turn, 0.44, phase)
    pose.yaw += yaw
    touch = ease(u / 0.2)
    pose.lean += 0.1 * touch + 0.16 * turn
    local = wardrobe.handle(rng.uniform(0.55, 0.66)) - pose.place
    pose.grip[:, RIGHT] = turned(local, -yaw) - np.array([0.0, 0.0, 0.035])
    pose.hold[:, RIGHT] = touch
    pose.twist += 0.3 * touch
    return Performance(pose, ARMS[RIGHT:], (wardrobe,), centre=width / 2 - 0.03)


def open_something(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Opens a trunk or a wardrobe."""
    return (open_trunk if rng.random() < 0.5 else open_wardrobe)(u, body, rng)


def wave(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Lifts one hand beside the head, waves, and lowers it."""
    yaw, times, swing = rng.uniform(-0.5, 0.5), rng.uniform(2.0, 3.0), rng.uniform(0.55, 0.8)
    lift = rng.uniform(0.12, 0.28)
    pose = stand(len(u), body)
    up = plateau(u, 0.2)
    angle = swing * np.sin(2 * np.pi * times * u)
    raised = np.stack([0.44 + 0.48 * np.sin(angle), lift + 0.48 * np.cos(angle), np.full_like(u, 0.12)], axis=1)
    pose.reach[:, LEFT] += up[:, None] * (raised - pose.reach[:, LEFT])
    pose.roll -= 0.06 * up
    pose.yaw += yaw
    return Performance(pose, ARMS[:RIGHT])


def jumping_jack(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Jumps, spreading legs and arms, and jumps back."""
    yaw, times = rng.uniform(-0.35, 0.35), int(rng.integers(2, 4))
    spread, top, hop = rng.uniform(0.15, 0.2), rng.uniform(2.6, 2.95), rng.uniform(0.05, 0.08)
    pose = stand(len(u), body)
    out = 0.5 - 0.5 * np.cos(2 * np.pi * times * np.clip(u, 0, 1))
    jump = hop * np.abs(np.sin(2 * np.pi * times * np.clip(u, 0, 1)))
    for side in (LEFT, RIGHT):
        pose.feet[:, side, 0] += (1 - 2 * side) * spread * out
        pose.feet[:, side, 1] += jump
        pose.reach[:, side] = arm(1 - 2 * side, 0.16 + (top - 0.16) * out, 1.5, 0.97)
    pose.tiptoe += (jump / hop * 0.5)[:, None]
    pose.pelvis[:, 1] += jump - 0.035 * out
    pose.yaw += yaw
    return Performance(pose, ARMS + LEGS)


def clap(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Claps the hands before the chest with wide movements."""
    yaw, times = rng.uniform(-0.55, 0.55), int(rng.integers(2, 4))
    gap, height = rng.uniform(0.24, 0.32), rng.uniform(-0.17, -0.08)
    pose = stand(len(u), body)
    apart = 0.5 + 0.5 * np.cos(2 * np.pi * times * u)
    for side in (LEFT, RIGHT):
        x = (1 - 2 * side) * (0.045 + gap * apart)
        pose.grip[:, side] = np.stack([x, body.shoulder_height + height + 0.08 * apart, 0.24 - 0.1 * apart], axis=1)
        pose.hold[:, side] = plateau(u, 0.16)
    pose.yaw += yaw
    return Performance(pose, ARMS)


def punch(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Boxes with both fists in turn, from a guard before the chin."""
    yaw, times, stance = rng.uniform(0.75, 1.5), int(rng.integers(3, 5)), rng.uniform(0.07, 0.11)
    pose = stand(len(u), body)
    guard = plateau(u, 0.16)
    beat = np.sin(np.pi * times * np.clip((u - 0.1) / 0.8, 0, 1)) * np.sign(rng.random() - 0.5)
    pose.feet[:, LEFT, 2] += stance
    pose.feet[:, RIGHT, 2] -= stance
    pose.pelvis[:, 1] -= 0.02 + 0.012 * guard
    for side in (LEFT, RIGHT):
        out = np.maximum((1 - 2 * side) * beat, 0) ** 0.6
        pose.grip[:, side] = np.stack(
            [
                (1 - 2 * side) * (0.06 - 0.05 * out),
                body.shoulder_height + 0.01 + 0.01 * out,
                0.13 + out * (body.arm * 1.05 - 0.08),
            ],
            axis=1,
        )
        pose.hold[:, side] = guard
    pose.twist += -0.45 * beat * guard
    pose.lean += 0.08 * guard
    pose.yaw += yaw
    return Performance(pose, ARMS)


ACTIONS = (
    Action("sit down", "stand up", None, 1.1, (0.66, 0.8), sit_down),
    Action("pick up", "put down", None, 1.3, (0.64, 0.78), pick_up),
    Action("raise arms", "lower arms", None, 1.0, (0.63, 0.72), raise_arms),
    Action("approach", "retreat", None, 1.4, (0.7, 0.8), approach),
    Action("open", "close", None, 1.2, (0.62, 0.74), open_something),
    Action("step right", "", False, 1.3, (0.62, 0.76), step_right),
    Action("step left", "", True, 1.3, (0.62, 0.76), step_right),
    Action("wave", "", None, 1.5, (0.68, 0.8), wave),
    Action("jumping jack", "", None, 1.6, (0.58, 0.66), jumping_jack),
    Action("clap", "", None, 1.5, (0.64, 0.78), clap),
    Action("punch", "", None, 1.3, (0.64, 0.78), punch),
)

LABELS = tuple(sorted(label for action in ACTIONS for label in action.labels))
FLIP_MAP = {"step left": "step right"}
