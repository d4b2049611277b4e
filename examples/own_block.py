"""Add a block: a ResNet whose 3x3 convolutions also see the difference from the frame before.

    python examples/own_block.py DATA OUT

A block is one operator and one registered name. As soon as this module has been imported, `diff_r18` and `diff_r50` are
networks like all others: they train, test, explain and stream. A program that loads the recognizer later has to import
the module first.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema import create_model
from kinema.evaluation import run_test
from kinema.models import register
from kinema.models.resnet2d import ResNet2D
from kinema.models.resnet2d_blocks import FrameConv
from kinema.ops.arguments import Count, checked
from kinema.ops.streaming import Stream
from kinema.training import Optim, TrainConfig, train


class FrameDifference(nn.Module):
    """The 3x3 convolution of `x + scale (x_t - x_{t-1})`, with one scale per channel; N C T H W -> N C' T H' W'.

    The scales start at 0, so that the network starts as a plain ResNet. Before the first frame stands a frame of zeros.
    """

    sees_other_frames = True  # the network then knows that frames depend on each other
    look_ahead = 0  # frames after the present one that it needs: in a stream it answers at once

    @checked  # an argument that does not fit its annotation raises KinemaError
    def __init__(self, channels: Count, out_channels: Count, stride: Count = 1) -> None:
        super().__init__()
        self.conv = FrameConv(channels, out_channels, stride)
        self.scale = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Processes a whole clip or, with `stream`, the next frames of a stream, which stores the last frame."""
        if stream is None:
            before = F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1]
        else:
            x = stream.masked(x)
            before = stream.previous(self, x)
        return self.conv(x + self.scale.view(-1, 1, 1, 1) * (x - before))


def conv(channels: int, out_channels: int, stride: int, stage: int, index: int) -> FrameDifference:
    """Replaces a 3x3 convolution of block `index` in stage 2 to 5."""
    return FrameDifference(channels, out_channels, stride)


@register({"diff_r18": {"depth": 18}, "diff_r50": {"depth": 50}}, paper="this file")
def diff(depth: int, num_classes: int = 400, frames: int = 8, width: float = 1.0, *, dropout: float = 0.5) -> ResNet2D:
    """A ResNet with differences between frames.

    Args:
        depth: fixed by the name.
        num_classes: outputs.
        frames: T.
        width: multiplies all channels.
        dropout: before the classifier.
    """
    return ResNet2D(depth, num_classes, frames, width, dropout, (conv, conv) if depth < 50 else (conv,))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()

    # Frame by frame it must give what it gives for the whole clip.
    model = create_model("diff_r18", num_classes=4, width=0.125).eval()
    nn.init.normal_(model.layer1[0].conv1.scale)
    clip = torch.randn(1, 3, 8, 64, 64)
    with torch.no_grad():
        state, logits = model.initial_state(1, size=64), []
        for frame in clip.split(1, dim=2):
            step, state = model.step(frame, state)  # N t K
            logits.append(step)
        torch.testing.assert_close(torch.cat(logits, 1).mean(1), model(clip), atol=1e-4, rtol=1e-4)

    config = TrainConfig(
        "diff_r18",
        args.data,
        out=args.out,
        epochs=args.epochs,
        options={"width": 0.25},
        clip={"short_side": 72, "crop": 64},
        optim=Optim(lr=0.05),
    )
    metrics = run_test(train(config), args.data, overwrite=True).result.metrics
    print(f"top-1 {metrics.top1:.1%}, {metrics.coverage}")
