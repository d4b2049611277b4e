"""`ClipSpec`: the one preprocessing specification, used by training, testing, prediction, export and the web pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from math import isfinite
from typing import Any, Literal, get_args

import kinema
from kinema.errors import KinemaError, unknown

Pad = Literal["loop", "last", "error"]
Colour = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class ClipSpec:
    """Specification of how a video becomes the clip that a network sees.

    Attributes:
        frames: T, the number of frames of a clip.
        stride: distance between consecutive frames of the clip, in frames of the video (samplers `dense` and `normal`).
        sampler: name of a `kinema.data.samplers.Sampler`. `segments` cuts the video into T equal parts and takes one
            frame of each (TSN). `dense` takes T frames, `stride` apart, from a uniformly random start. `normal` does
            the same from a start drawn from a normal distribution with mean L/4 and standard deviation L/6 on
            [0, L/2] (thesis, figure 5.6). `normal_uniform` draws such a start and then the other frames uniformly
            from all frames after it (same figure). A sampler that you register yourself adds its name.
        short_side: length, in pixels, to which the shorter side of a frame is scaled before a crop is cut.
        crop: height and width, in pixels, of the clip.
        test_crop: side of the square that testing cuts from the scaled frame; None means `crop`.
        test_size: height and width, in pixels, to which a test crop is resized; None means `crop`.
        pad: how a clip is completed if the video is too short: `loop` starts again from its first frame, `last`
            repeats its last frame, `error` rejects the video.
        mean: mean per channel, for pixel values from 0 to 1, in the order of `colour`.
        std: standard deviation per channel, for pixel values from 0 to 1, in the order of `colour`.
        colour: order of the channels.
    """

    frames: int = 8
    stride: int = 1
    sampler: str = "segments"
    short_side: int = 256
    crop: int = 224
    test_crop: int | None = None
    test_size: int | None = None
    pad: Pad = "loop"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    colour: Colour = "rgb"

    def __post_init__(self) -> None:
        for name in ("frames", "stride", "short_side", "crop"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise KinemaError(f"clip.{name} is {value!r}: give an integer of at least 1")
        import_module(kinema.SAMPLERS).find_sampler(self.sampler)  # a base module imports no subpackage at load time
        for name, kind in (("pad", Pad), ("colour", Colour)):
            if getattr(self, name) not in get_args(kind):
                raise unknown(f"clip.{name}", str(getattr(self, name)), get_args(kind))
        if self.crop > self.short_side:
            raise KinemaError(f"clip.crop is {self.crop} but clip.short_side is {self.short_side}: it must fit inside")
        if self.test_crop is not None and not 1 <= self.test_crop <= self.short_side:
            raise KinemaError(
                f"clip.test_crop is {self.test_crop}: give 1 to {self.short_side}, which is clip.short_side, or null "
                "for clip.crop"
            )
        if self.test_size is not None and (
            not isinstance(self.test_size, int) or isinstance(self.test_size, bool) or self.test_size < 1
        ):
            raise KinemaError(
                f"clip.test_size is {self.test_size!r}: give an integer of at least 1, or null for clip.crop"
            )
        for name in ("mean", "std"):
            given = getattr(self, name)
            numbers = isinstance(given, Sequence) and all(isinstance(v, int | float) and isfinite(v) for v in given)
            if not numbers or len(given) != 3 or (name == "std" and min(given) <= 0):
                raise KinemaError(f"clip.{name} is {given!r}: give three numbers, std above 0")
            object.__setattr__(self, name, tuple(float(v) for v in given))

    @property
    def tested(self) -> int:
        """Height and width, in pixels, of the clips that a network sees during testing and prediction."""
        return self.crop if self.test_size is None else self.test_size

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, as they are written to `card.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ClipSpec:
        """Inverse of `to_dict`; a key that is not a field raises `KinemaError`."""
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown("key of the clip specification", key, known)
        return cls(**values)

    def replace(self, **changes: Any) -> ClipSpec:
        """Returns a copy with some fields changed."""
        return replace(self, **changes)
