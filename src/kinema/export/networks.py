"""The modules that are exported: networks with preprocessing, or one step of streams with an external state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.data.transforms import to_input
from kinema.errors import KinemaError
from kinema.models import VideoModel
from kinema.ops.streaming import ENDLESS, LENGTH

_FOREVER = 2**31 - 1  # frames; runtimes may use 32-bit integers


class Clips(nn.Module):
    """A network for clips.

    Args:
        network: from N 3 T H W to logits N K.
        spec: if given, the input is pixels, uint8 RGB N T H W 3, which are normalised first; None: normalised clips.
    """

    def __init__(self, network: VideoModel, spec: ClipSpec | None) -> None:
        super().__init__()
        self.network, self.spec = network, spec
        self.architecture = network.architecture

    def forward(self, clips: Tensor) -> Tensor:
        """Returns logits N K for clips."""
        logits: Tensor = self.network(clips if self.spec is None else to_input(clips, self.spec))
        return logits


@dataclass(frozen=True)
class Part:
    """A part of the state that is an input and an output.

    Attributes:
        name: its name in the network.
        shape: its shape for one stream in the network.
        outside: its shape for one stream in the file.
        dtype: its dtype.
    """

    name: str
    shape: tuple[int, ...]
    outside: tuple[int, ...]
    dtype: torch.dtype


class Step(nn.Module):
    """One step of a network that streams. Constant parts of the state, such as the size of frames, stay inside.

    Args:
        network: a network that streams without delay.
        spec: clip specification: the size of the frames and, with `pixels`, their normalisation.
        pixels: the input is uint8 RGB N t H W 3 instead of normalised N 3 t H W.
        rank: largest number of dimensions of a part of the state; larger parts have channels and frames merged.

    Raises:
        KinemaError: the network cannot stream.
    """

    def __init__(self, network: VideoModel, spec: ClipSpec, *, pixels: bool, rank: int) -> None:
        super().__init__()
        self.network, self.spec, self.pixels = network, spec, pixels
        self.architecture = network.architecture
        start = network.initial_state(2, size=spec.tested)
        frames = torch.zeros(2, 3, 1, spec.tested, spec.tested)
        with torch.no_grad():
            after = network.step(frames, start)[1]
        self.parts, self.constants = [], {}
        for name, value in start.items():
            if name == LENGTH:
                self.constants[name] = value[:1].clamp(max=min(_FOREVER, ENDLESS))
            elif not value.any():
                shape = tuple(value.shape[1:])
                outside = shape if len(shape) < rank else (-1, *shape[len(shape) - rank + 2 :])
                folded = tuple(value[0].reshape(outside).shape)
                self.parts.append(Part(name, shape, folded, value.dtype))
            elif torch.equal(value, after[name]):
                self.constants[name] = value[:1]
            else:
                raise KinemaError(f"the state {name!r} does not start at zero, so this network cannot be exported")

    def zeros(self, batch: int) -> list[Tensor]:
        """Returns the state before the first frame, in the file's shapes."""
        return [torch.zeros(batch, *part.outside, dtype=part.dtype) for part in self.parts]

    def forward(self, frames: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """Returns logits N t K and the next state for frames and state."""
        x = to_input(frames, self.spec) if self.pixels else frames
        whole = {name: value.expand(frames.shape[0], *value.shape[1:]) for name, value in self.constants.items()} | {
            part.name: value.reshape(-1, *part.shape) for part, value in zip(self.parts, state, strict=True)
        }
        logits, after = self.network.step(x, whole)
        return [logits, *(after[part.name].reshape(-1, *part.outside) for part in self.parts)]
