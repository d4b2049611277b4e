"""Small networks that export in a second: one for clips with a recurrent cell, one for clips of one length, one for
streams.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.models import VideoModel
from kinema.models.inception3d import SameConv3d
from kinema.ops.recurrence import Recurrent, recurrent
from kinema.recognizer import Recognizer

SPEC = ClipSpec(frames=4, short_side=16, crop=16)
LABELS = ("go left", "go right", 'naïve, "3"')


class Clip(VideoModel):
    """A convolution, a recurrent cell over the frames, a classifier."""

    def __init__(self, cell: str = "gru") -> None:
        super().__init__()
        torch.manual_seed(0)  # two of a kind are equal
        self.clip_spec, self.feature_maps = SPEC, ("stem",)
        self.architecture: dict[str, Any] = {"name": "clip_net", "options": {"cell": cell}}
        self.stem = nn.Conv3d(3, 8, (3, 4, 4), (1, 4, 4), (1, 0, 0))
        self.cell: Recurrent = recurrent(cell, 8, 2)
        self.dropout = nn.Dropout(0.5)
        self.add_classifier(8, len(LABELS))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5)  # so that each of them matters

    def pool(self, features: Tensor) -> Tensor:
        return self.cell(features.mean((3, 4)))[:, :, -1]


class Fixed(Clip):
    """Takes clips of 4 frames only."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(4))

    def pool(self, features: Tensor) -> Tensor:
        return (features.mean((3, 4)) * self.places).mean(2)


class Padded(Clip):
    """Its padding depends on the number of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.halved = SameConv3d(8, 8, (3, 1, 1), (2, 1, 1))
        nn.init.normal_(self.halved.weight, std=0.5)

    def pool(self, features: Tensor) -> Tensor:
        return self.halved(features).mean((2, 3, 4))


class Bare(Clip):
    """Calls an LSTM of PyTorch itself."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(8, 8)  # type: ignore[assignment]

    def pool(self, features: Tensor) -> Tensor:
        return self.cell(features.mean((3, 4)).permute(2, 0, 1))[0][-1]


class Streamed(Clip):
    """The logits of every frame see the two frames before it."""

    def initial_state(self, batch: int, *, size: Any = None, delayed: bool = False) -> dict[str, Tensor]:
        side = SPEC.tested if size is None else size
        return {"seen": torch.zeros(batch, dtype=torch.int64), "past.0": torch.zeros(batch, 3, 2, side, side)}

    def step(self, frames: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        whole = torch.cat([state["past.0"], frames], 2)
        maps = nn.functional.conv3d(whole, self.stem.weight, self.stem.bias, (1, 4, 4))
        pooled = maps.mean((3, 4)).transpose(1, 2)
        first = (state["seen"] == 0)[:, None, None]  # the first chunk counts otherwise
        logits = self.classifier(torch.where(first, 2 * pooled, pooled))
        return logits, {"seen": state["seen"] + frames.shape[2], "past.0": whole[:, :, -2:].clone()}


def recognizer(model: VideoModel | None = None) -> Recognizer:
    """With random weights."""
    return Recognizer((Clip() if model is None else model).eval(), LABELS, SPEC)
