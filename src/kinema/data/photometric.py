"""Changes of brightness, colour, sharpness and geometry of training clips, on the device, the same in all frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, pi
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from kinema.data.transforms import check_pixels
from kinema.errors import KinemaError, unknown

Kind = Literal[
    "gaussian_blur", "mean_blur", "rgb_shift", "contrast", "brightness", "geometric", "colour_jitter", "grayscale"
]
Values = tuple[float, ...]


@dataclass(frozen=True)
class Photometric:
    """Probabilities on two levels (thesis, section 4.4.1): that a clip is changed at all, and then of each kind.

    Attributes:
        clips: share of the clips that are changed: 0 for none, 0.8 for SRTG, 0.7 for MTNet, 1 for Twins.
        each: probability of each kind within a changed clip.
        kinds: applied in this order. `gaussian_blur` (standard deviation 0.1 to 2 pixels of 224), `mean_blur` (windows
            of 3, 5 or 7 pixels of 224), `rgb_shift` (each channel by 1 to 15 of 255, up or down), `contrast` (times 0.6
            to 1.4
            about the clip's mean), `brightness` (up to 0.2 of the range, up or down), `geometric` (rotation by up to 10
            degrees, scaling by 0.9 to 1.1, shear by up to 5 degrees), `colour_jitter` (brightness and contrast times
            0.6 to 1.4, saturation times 0.8 to 1.2, hue by up to a tenth of the circle), `grayscale`.
        odds: a separate probability per kind, even for kinds that are not in `kinds`; Twins: no kinds, and odds
            {colour_jitter: 0.8, grayscale: 0.2}.
    """

    clips: float = 0.0
    each: float = 0.4
    kinds: tuple[Kind, ...] = ("gaussian_blur", "mean_blur", "rgb_shift", "contrast", "brightness", "geometric")
    odds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in (*self.kinds, *self.odds):
            if kind not in get_args(Kind):
                raise unknown("kind of photometric", str(kind), get_args(Kind))
        odds = {f"odds.{kind}": chance for kind, chance in self.odds.items()}
        for name, chance in {"clips": self.clips, "each": self.each, **odds}.items():
            if not 0 <= chance <= 1:
                raise KinemaError(f"photometric.{name} is {chance}: give a probability between 0 and 1")

    def chances(self) -> dict[str, float]:
        """Returns every kind that may occur, in the order of application, and its probability within a changed clip."""
        further = [kind for kind in get_args(Kind) if kind in self.odds and kind not in self.kinds]
        return {kind: self.odds.get(kind, self.each) for kind in (*self.kinds, *further)}


def apply(clips: Tensor, photometric: Photometric, rng: np.random.Generator) -> Tensor:
    """Changes some clips, in the same way in all frames of a clip.

    Everything random comes from `rng` on any device, so that a run that continues after a stop repeats it.

    Args:
        clips: uint8 RGB `N T H W 3`, on any device; not modified.
        photometric: probabilities of the changes.
        rng: source of all randomness.

    Returns:
        uint8 of the same shape. Unchanged clips have the same bits; if no clip is changed, it is `clips` itself.

    Raises:
        KinemaError: the clips are not uint8 with five dimensions and three channels.
    """
    if not len(clips):  # no video of the batch could be read
        return clips
    check_pixels(clips)
    changes = draw(photometric, len(clips), rng)
    concerned = [i for i, change in enumerate(changes) if change]
    if not concerned:
        return clips
    out = clips.clone()
    # A GPU is faster with many clips at once; on a CPU, as many as fit its cache are several times faster than a batch.
    at_once = max(1, (2**22 if clips.device.type == "cpu" else 2**27) // clips[0].numel())
    with torch.no_grad(), torch.autocast(clips.device.type, enabled=False):
        for begin in range(0, len(concerned), at_once):
            part = concerned[begin : begin + at_once]
            x = clips[part].permute(0, 4, 1, 2, 3).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
            for kind in photometric.chances():
                rows = [row for row, i in enumerate(part) if kind in changes[i]]
                if rows:
                    values = torch.tensor([changes[part[row]][kind] for row in rows], dtype=torch.float32)
                    if len(rows) == len(part):
                        x = _CHANGES[kind](x, values)
                    else:
                        x[rows] = _CHANGES[kind](x[rows], values)
            out[part] = x.mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 4, 1)
    return out


def draw(photometric: Photometric, clips: int, rng: np.random.Generator) -> list[dict[str, Values]]:
    """Draws the changes per clip: kind -> the values that `_DRAWS` gives for it; empty for no change."""
    changes: list[dict[str, Values]] = [{} for _ in range(clips)]
    if photometric.clips > 0:
        for change in changes:
            if rng.random() < photometric.clips:
                for kind, chance in photometric.chances().items():
                    if rng.random() < chance:
                        change[kind] = tuple(map(float, _DRAWS[kind](rng)))
    return changes


# The papers name the kinds and the 15 of rgb_shift; colour_jitter is that of Barlow Twins; other values are our choice.
_DRAWS: dict[str, Callable[[np.random.Generator], Values]] = {
    "gaussian_blur": lambda rng: (rng.uniform(0.1, 2.0),),
    "mean_blur": lambda rng: (float(rng.integers(1, 4)),),  # pixels to either side
    "rgb_shift": lambda rng: tuple(rng.integers(1, 16, 3) * rng.choice((-1, 1), 3)),
    "contrast": lambda rng: (rng.uniform(0.6, 1.4),),
    "brightness": lambda rng: (rng.uniform(-0.2, 0.2),),
    "geometric": lambda rng: (rng.uniform(-10, 10), rng.uniform(0.9, 1.1), rng.uniform(-5, 5)),
    "colour_jitter": lambda rng: (*rng.uniform(0.6, 1.4, 2), rng.uniform(0.8, 1.2), rng.uniform(-0.1, 0.1)),
    "grayscale": lambda rng: (),
}


# All take float N 3 T H W in [0, 1], contiguous, and N values per clip. kornia takes N C H W: it receives the frames of
# a clip as one tall picture or as channels, without a copy and with one value per clip. It is imported where it is
# needed, because the import takes 0.2 to 0.4 s.


def _tall(x: Tensor) -> Tensor:
    return x.flatten(2, 3)


def _as_channels(x: Tensor) -> Tensor:
    return x.flatten(1, 2)


def _of_224(x: Tensor) -> float:
    """Blurs are as strong on the smaller clips of multigrid as on the full ones."""
    return min(x.shape[3:]) / 224


def _gaussian_blur(x: Tensor, values: Tensor) -> Tensor:
    from kornia.filters import gaussian_blur2d

    window = 2 * ceil(3 * 2.0 * _of_224(x)) + 1
    sigma = (values * _of_224(x)).expand(-1, 2)
    return gaussian_blur2d(_as_channels(x), (window, window), sigma, "replicate").view_as(x)


def _mean_blur(x: Tensor, values: Tensor) -> Tensor:
    from kornia.filters import box_blur

    radii = (values[:, 0] * _of_224(x)).round().int().clamp_min(1).tolist()
    out = torch.empty_like(x)
    for radius in sorted(set(radii)):
        rows = [row for row, its_radius in enumerate(radii) if its_radius == radius]
        window = (2 * radius + 1, 2 * radius + 1)
        out[rows] = box_blur(_as_channels(x[rows]), window, "replicate").view(-1, *x.shape[1:])
    return out


def _rgb_shift(x: Tensor, values: Tensor) -> Tensor:
    from kornia.enhance import shift_rgb

    return shift_rgb(_tall(x), *(values / 255).unbind(1)).view_as(x)


def _contrast(x: Tensor, values: Tensor) -> Tensor:
    from kornia.enhance import adjust_contrast_with_mean_subtraction

    return adjust_contrast_with_mean_subtraction(_tall(x), values[:, 0]).view_as(x)


def _brightness(x: Tensor, values: Tensor) -> Tensor:
    from kornia.enhance import adjust_brightness

    return adjust_brightness(_tall(x), values[:, 0]).view_as(x)


def _geometric(x: Tensor, values: Tensor) -> Tensor:
    from kornia.geometry.transform import get_affine_matrix2d, warp_affine

    height, width = x.shape[3:]
    angle, scale, shear = values.unbind(1)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2]).expand(len(x), 2)
    matrix = get_affine_matrix2d(
        torch.zeros(len(x), 2), centre, scale[:, None].expand(-1, 2), angle, torch.deg2rad(shear), torch.zeros(len(x))
    )
    moved = warp_affine(_as_channels(x), matrix[:, :2].to(x.device), (height, width), padding_mode="border")
    return moved.view_as(x)


def _colour_jitter(x: Tensor, values: Tensor) -> Tensor:
    from kornia import enhance

    brightness, contrast, saturation, hue = values.unbind(1)
    tall = enhance.adjust_brightness_accumulative(_tall(x), brightness)
    tall = enhance.adjust_contrast_with_mean_subtraction(tall, contrast)
    tall = enhance.adjust_saturation_with_gray_subtraction(tall, saturation)
    return enhance.adjust_hue(tall, hue * 2 * pi).view_as(x)


def _grayscale(x: Tensor, values: Tensor) -> Tensor:
    from kornia.color import grayscale_to_rgb, rgb_to_grayscale

    return grayscale_to_rgb(rgb_to_grayscale(_tall(x))).view_as(x)


_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gaussian_blur": _gaussian_blur,
    "mean_blur": _mean_blur,
    "rgb_shift": _rgb_shift,
    "contrast": _contrast,
    "brightness": _brightness,
    "geometric": _geometric,
    "colour_jitter": _colour_jitter,
    "grayscale": _grayscale,
}
