"""Frames of equal scores, of which every runtime keeps the same ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.backends.base import find_backend
from kinema.ops import select_frames

for _package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(_package)


class Selection(nn.Module):
    """N C T H W -> the kept half of the frames."""

    def forward(self, x: Tensor) -> Tensor:
        return select_frames(x, x.shape[2] // 2)[0]


@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize(("channels", "frames"), [(1, 13), (7, 16), (30, 8)])
def test_equal_scores(channels: int, frames: int, to: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, channels, 1, 5, 5) * torch.rand(2, 1, frames, 1, 1)  # frames that differ in brightness only
    found = find_backend(to).build(Selection(), x)(x)
    torch.testing.assert_close(found, Selection()(x))
    assert torch.equal(select_frames(x, frames // 2)[1][0], torch.arange(1, 1 + frames // 2))
