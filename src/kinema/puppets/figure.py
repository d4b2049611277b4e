"""The actor: proportions, a pose, and the joint positions of a pose (two-bone inverse kinematics)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinema.puppets.stage import Array

ANKLE = 0.042
"""Height of the ankle above the floor, in body heights."""

ARMS, LEGS = ("left arm", "right arm"), ("left leg", "right leg")
"""Names of the limbs, the person's left one first."""

PARTS = (*ARMS, *LEGS, "torso", "head")
"""All parts of the actor."""


@dataclass(frozen=True)
class Body:
    """Lengths and radii in body heights (the first of a pair of joints is the person's left one)."""

    build: float = 1.0  # factor of every radius
    head: float = 0.074  # radius
    neck: float = 0.035
    torso: float = 0.27  # hip joints to shoulder joints
    shoulder: float = 0.112  # half the distance between the joints
    hip: float = 0.052
    upper_arm: float = 0.165
    forearm: float = 0.15
    hand: float = 0.034  # wrist to the middle of the hand
    thigh: float = 0.235
    shank: float = 0.23
    foot: float = 0.1

    @property
    def hip_height(self) -> float:
        """Height of the hip joints when standing at ease (with slightly bent knees)."""
        return ANKLE + 0.985 * (self.thigh + self.shank)

    @property
    def arm(self) -> float:
        """Shoulder to wrist."""
        return self.upper_arm + self.forearm

    @property
    def shoulder_height(self) -> float:
        """Height of the shoulder joints when standing."""
        return self.hip_height + self.torso


def draw_body(rng: np.random.Generator) -> Body:
    """Draws random proportions of a person of height 1."""
    legs, arms, child = rng.uniform(0.95, 1.05), rng.uniform(0.96, 1.06), rng.uniform(0.92, 1.2)
    width = rng.uniform(0.9, 1.12)
    return Body(
        build=rng.uniform(0.86, 1.3),
        head=0.074 * child,
        torso=0.27 * (2 - legs) * (1.55 - 0.55 * child if child > 1 else 1.0),
        shoulder=0.112 * width,
        hip=0.052 * rng.uniform(0.9, 1.15),
        upper_arm=0.165 * arms,
        forearm=0.15 * arms,
        thigh=0.235 * legs,
        shank=0.23 * legs,
    )


@dataclass
class Pose:
    """A movement of T frames in the actor's own frame: x to the person's left, y up, z forward, origin on the floor.

    Attributes:
        pelvis: middle of the hip joints [T, 3].
        lean: forward lean of the torso, radians [T].
        roll: roll of the torso to the person's left, radians [T].
        twist: twist of the shoulders to the person's left, radians [T].
        nod: forward tilt of the head beyond half of the lean, radians [T].
        turn: turn of the head to the person's left, radians [T].
        reach: wrists relative to the shoulders, in arm lengths, not leaning with the torso [T, 2, 3].
        grip: wrists in the actor's frame [T, 2, 3].
        hold: weight of `grip` (1) against `reach` (0) [T, 2].
        feet: ankles [T, 2, 3].
        tiptoe: pitch of the feet, radians [T, 2].
        yaw: direction the actor faces: 0 towards the camera, pi/2 to +x of the world [T].
        place: position of the actor's origin in the world [T, 3].
    """

    pelvis: Array
    lean: Array
    roll: Array
    twist: Array
    nod: Array
    turn: Array
    reach: Array
    grip: Array
    hold: Array
    feet: Array
    tiptoe: Array
    yaw: Array
    place: Array


def stand(frames: int, body: Body) -> Pose:
    """Stands at ease, arms hanging, facing the camera."""
    feet = np.zeros((frames, 2, 3))
    feet[:, :, 0] = np.array([1.15, -1.15]) * body.hip
    feet[:, :, 1] = ANKLE
    pelvis = np.zeros((frames, 3))
    pelvis[:, 1] = body.hip_height
    reach = np.stack([arm(side, np.full(frames, 0.13), 1.2, 0.975) for side in (1, -1)], axis=1)
    zero = np.zeros(frames)
    return Pose(
        pelvis=pelvis,
        lean=zero.copy(),
        roll=zero.copy(),
        twist=zero.copy(),
        nod=zero.copy(),
        turn=zero.copy(),
        reach=reach,
        grip=np.zeros((frames, 2, 3)),
        hold=np.zeros((frames, 2)),
        feet=feet,
        tiptoe=np.zeros((frames, 2)),
        yaw=zero.copy(),
        place=np.zeros((frames, 3)),
    )


def arm(side: int, raised: Array, outward: float | Array, stretch: float | Array = 0.97) -> Array:
    """Returns the direction of an arm for `Pose.reach` [T, 3].

    Args:
        side: 1 is the person's left, -1 the right.
        raised: angle from hanging (0) over horizontal (pi/2) to upright (pi); negative is backward [T].
        outward: plane in which the arm is raised: 0 forward, pi/2 to its side.
        stretch: distance from shoulder to wrist as a share of the arm's length.
    """
    out = side * np.sin(raised) * np.sin(outward)
    return np.stack([out, -np.cos(raised), np.sin(raised) * np.cos(outward)], axis=1) * np.asarray(stretch)[..., None]


@dataclass(frozen=True)
class Skeleton:
    """Positions in the world: [T, 3], or [T, 2, 3] for a pair, the person's left one first."""

    pelvis: Array
    chest: Array
    head: Array
    up: Array
    facing: Array
    left: Array
    shoulder: Array
    elbow: Array
    wrist: Array
    hand: Array
    hip: Array
    knee: Array
    ankle: Array
    toe: Array


def solve(body: Body, pose: Pose) -> Skeleton:
    """Computes the joints of a pose. A target out of reach is approached as far as the limb allows."""
    frames = len(pose.lean)
    ones = np.ones(frames)
    spine = np.stack([np.sin(pose.roll), np.cos(pose.lean) * np.cos(pose.roll), np.sin(pose.lean)], axis=1)
    spine /= np.linalg.norm(spine, axis=1, keepdims=True)
    chest = pose.pelvis + body.torso * spine
    line = np.stack([np.cos(pose.twist), -np.sin(pose.roll), -np.sin(pose.twist)], axis=1)
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    sides = np.array([1.0, -1.0])[None, :, None]
    shoulder = chest[:, None] + sides * body.shoulder * line[:, None]
    hip_line = np.stack([np.cos(pose.twist * 0.3), 0 * ones, -np.sin(pose.twist * 0.3)], axis=1)
    hip = pose.pelvis[:, None] + sides * body.hip * hip_line[:, None]

    tilt = pose.lean * 0.5 + pose.nod
    up = np.stack([np.sin(pose.roll * 0.5), np.cos(tilt), np.sin(tilt)], axis=1)
    facing = np.stack([np.sin(pose.turn) * np.cos(tilt), -np.sin(tilt), np.cos(pose.turn) * np.cos(tilt)], axis=1)
    head = chest + spine * body.neck + up * body.head * 1.15

    wrist_goal = shoulder + pose.reach * body.arm
    wrist_goal += pose.hold[..., None] * (pose.grip - wrist_goal)
    elbow_pole = np.array([[0.3, -0.5, -0.8], [-0.3, -0.5, -0.8]])
    elbow, wrist = _two_bones(shoulder, wrist_goal, body.upper_arm, body.forearm, elbow_pole)
    knee_pole = np.array([[0.22, 0.1, 1.0], [-0.22, 0.1, 1.0]])
    knee, ankle = _two_bones(hip, pose.feet, body.thigh, body.shank, knee_pole)
    hand = wrist + (wrist - elbow) / body.forearm * body.hand
    splay = np.array([0.18, -0.18])
    toe = ankle + body.foot * np.stack(
        [
            np.broadcast_to(np.sin(splay), pose.tiptoe.shape) * np.cos(pose.tiptoe),
            -0.16 - np.sin(pose.tiptoe),
            np.cos(splay) * np.cos(pose.tiptoe),
        ],
        axis=2,
    )

    cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)

    def world(points: Array, place: bool = True) -> Array:
        lift = (slice(None),) + (None,) * (points.ndim - 2)
        c, s = cos[lift], sin[lift]
        x = c * points[..., 0] + s * points[..., 2]
        z = c * points[..., 2] - s * points[..., 0]
        turned = np.stack([x, points[..., 1], z], axis=-1)
        return turned + pose.place[(*lift, slice(None))] if place else turned

    return Skeleton(
        pelvis=world(pose.pelvis),
        chest=world(chest),
        head=world(head),
        up=world(up, place=False),
        facing=world(facing, place=False),
        left=world(line, place=False),
        shoulder=world(shoulder),
        elbow=world(elbow),
        wrist=world(wrist),
        hand=world(hand),
        hip=world(hip),
        knee=world(knee),
        ankle=world(ankle),
        toe=world(toe),
    )


def _two_bones(root: Array, goal: Array, first: float, second: float, pole: Array) -> tuple[Array, Array]:
    """Returns middle and end joint [T, 2, 3] of two bones from `root` towards `goal`, bent towards `pole` [2, 3]."""
    line = goal - root
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    direction = line / np.maximum(distance, 1e-9)
    distance = np.clip(distance, abs(first - second) + 1e-3, (first + second) * 0.999)
    along = (first**2 - second**2 + distance**2) / (2 * distance)
    across = np.sqrt(np.maximum(first**2 - along**2, 0))
    bend = pole - (pole * direction).sum(-1, keepdims=True) * direction
    bend /= np.maximum(np.linalg.norm(bend, axis=-1, keepdims=True), 1e-9)
    return root + direction * along + bend * across, root + direction * distance
