"""Crops, resizing, flips and normalisation: one box of the source per clip, so that all its frames are cut alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, unknown

Scale = Literal["fixed", "jitter", "corners"]

CORNER_SCALES = (1.0, 0.875, 0.75, 0.66)
_CORNERS = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))  # (top, left) in quarters of the free space
_MORE_CORNERS = (*_CORNERS, (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3))


@dataclass(frozen=True)
class Augment:
    """Settings of how a training clip is cut from its frames; colour is changed later, on the device.

    Attributes:
        scale: `fixed` crops anywhere after the short side was scaled to `ClipSpec.short_side`. `jitter` draws the short
            side from `jitter` for every clip. `corners` is the multi-scale corner crop of TSN: height and width are
            each 1, 0.875, 0.75 or 0.66 of the short side, at most one step of that list apart, at fixed places.
        jitter: shortest and longest short side, in pixels, inclusive.
        flip: probability of a left-right flip; labels follow the data set's flip map.
        more_fix: `corners` uses 13 places instead of the four corners and the centre.
    """

    scale: Scale = "fixed"
    jitter: tuple[int, int] = (256, 320)
    flip: float = 0.5
    more_fix: bool = False

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            raise unknown("augment.scale", str(self.scale), get_args(Scale))
        if len(self.jitter) != 2 or not 1 <= self.jitter[0] <= self.jitter[1]:
            raise KinemaError(
                f"augment.jitter is {self.jitter}: give the shortest and the longest short side in pixels"
            )
        if not 0 <= self.flip <= 1:
            raise KinemaError(f"augment.flip is {self.flip}: give a probability between 0 and 1")


@dataclass(frozen=True)
class Box:
    """A rectangle of the source frame, in its pixels."""

    top: int
    left: int
    height: int
    width: int


def check_jitter(spec: ClipSpec, augment: Augment) -> None:
    """Rejects a short side, drawn for `jitter`, into which the crop does not fit.

    Raises:
        KinemaError: `augment.jitter` starts below the crop.
    """
    if augment.scale == "jitter" and augment.jitter[0] < spec.crop:
        raise KinemaError(f"augment.jitter starts at {augment.jitter[0]}, below clip.crop {spec.crop}: raise it")


def random_box(height: int, width: int, spec: ClipSpec, augment: Augment, rng: np.random.Generator) -> Box:
    """Draws the box of a training clip, always inside the frame and at least one pixel large.

    Scaling the frame and then cropping is expressed as one box of the source: a crop of c pixels from a frame whose
    short side is scaled to s is c / s of the source's short side.

    Args:
        height: height of the source frame, in pixels.
        width: width of the source frame, in pixels.
        spec: specification; `crop` and `short_side` are used (not by `corners`: its boxes are fractions of the frame).
        augment: settings of the draw.
        rng: source of all randomness.

    Raises:
        KinemaError: `augment.jitter` starts below the crop.
    """
    if augment.scale == "corners":
        return _corner_box(height, width, augment.more_fix, rng)
    short_side = spec.short_side
    if augment.scale == "jitter":
        check_jitter(spec, augment)
        short_side = int(rng.integers(augment.jitter[0], augment.jitter[1] + 1))
    side = _side(height, width, spec.crop, short_side)
    top, left = rng.integers(0, (height - side + 1, width - side + 1))
    return Box(int(top), int(left), side, side)


def test_boxes(height: int, width: int, spec: ClipSpec, crops: int) -> list[Box]:
    """Returns the boxes of a test video: squares of `test_crop` (else `crop`) pixels, frame scaled to `short_side`.

    Args:
        height: height of the source frame, in pixels.
        width: width of the source frame, in pixels.
        spec: specification of the sizes.
        crops: 1 is the centre; 3 are the first, middle and last position along the longer side (along the width of a
            square frame).

    Raises:
        KinemaError: `crops` is neither 1 nor 3.
    """
    if crops not in (1, 3):
        raise KinemaError(f"{crops} crops were requested: give 1 (centre) or 3 (along the longer side)")
    side = _side(height, width, spec.test_crop or spec.crop, spec.short_side)
    down, right = height - side, width - side
    if crops == 1:
        return [Box(down // 2, right // 2, side, side)]
    if height > width:
        return [Box(top, right // 2, side, side) for top in (0, down // 2, down)]
    return [Box(down // 2, left, side, side) for left in (0, right // 2, right)]


def cut(frames: Tensor, box: Box, size: int, flip: bool) -> Tensor:
    """Cuts one box from all frames and resizes it (bilinear with antialiasing, rounded to uint8).

    Args:
        frames: uint8 `T H W 3`, colour last as in decoded frames.
        box: part to cut.
        size: height and width of the result, in pixels.
        flip: mirror left and right.

    Returns:
        uint8 `T size size 3`, contiguous.
    """
    part = frames[:, box.top : box.top + box.height, box.left : box.left + box.width]  # T h w 3
    if (box.height, box.width) != (size, size):
        resized = interpolate(part.permute(0, 3, 1, 2), size=(size, size), mode="bilinear", antialias=True)
        part = resized.permute(0, 2, 3, 1)
    elif not flip:
        part = part.clone()  # otherwise the clip keeps the whole frames in memory
    return (part.flip(2) if flip else part).contiguous()


def to_input(clips: Tensor, spec: ClipSpec) -> Tensor:
    """Converts pixels to the input of a network: (pixel / 255 - mean) / std, in the colour order of `spec`.

    Args:
        clips: uint8 RGB `N T H W 3`, on any device.
        spec: specification; mean, std and colour order are used.

    Returns:
        float32 `N 3 T H W` in `channels_last_3d` memory on the same device.

    Raises:
        KinemaError: the clips are not uint8 with five dimensions and three channels.
    """
    check_pixels(clips)
    if spec.colour == "bgr":
        clips = clips.flip(4)
    mean, std = (_constant(v, clips.device) for v in (spec.mean, spec.std))
    x = clips.to(torch.float32, memory_format=torch.contiguous_format)
    return x.mul_(1 / (255 * std)).sub_(mean / std).permute(0, 4, 1, 2, 3)


def _constant(values: Sequence[float], device: torch.device) -> Tensor:
    """Makes a tensor of values without making the host wait for a GPU."""
    made = torch.tensor(values)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made.to(device)


def check_pixels(clips: Tensor) -> None:
    """Rejects anything that is not a batch of clips as cut from videos.

    Raises:
        KinemaError: the batch is not uint8 `N T H W 3`.
    """
    if clips.dim() != 5 or clips.shape[4] != 3 or clips.dtype != torch.uint8:
        raise KinemaError(
            f"a batch of clips is uint8 with the shape N T H W 3, but this is {clips.dtype} {tuple(clips.shape)}"
        )


def _side(height: int, width: int, crop: int, short_side: int) -> int:
    short = min(height, width)
    return min(short, max(1, round(short * crop / short_side)))


def _corner_box(height: int, width: int, more: bool, rng: np.random.Generator) -> Box:
    short = min(height, width)
    steps = len(CORNER_SCALES)
    pairs = [(i, j) for i in range(steps) for j in range(steps) if abs(i - j) <= 1]
    tall, wide = (max(1, round(short * CORNER_SCALES[k])) for k in pairs[rng.integers(len(pairs))])
    places = _MORE_CORNERS if more else _CORNERS
    down, right = places[rng.integers(len(places))]
    return Box((height - tall) * down // 4, (width - wide) * right // 4, tall, wide)
