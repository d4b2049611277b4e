"""X3D: a small 3-D ResNet whose 3x3x3 convolutions are channel-wise."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.registry import register
from kinema.models.video_model import VideoModel
from kinema.models.x3d_blocks import SqueezeExcitation, X3DHead, X3DStem
from kinema.ops.conv import Conv3d

Size = Literal["s", "m", "l", "xl"]
# Frames, their distance, crop and short side in the paper (tables 2 and 4), factor of the depths of the stages.
SIZES: dict[Size, tuple[int, int, int, int, float]] = {
    "s": (13, 6, 160, 182, 2.2),
    "m": (16, 5, 224, 256, 2.2),
    "l": (16, 5, 312, 356, 5.0),
    "xl": (16, 5, 312, 356, 5.0),
}
DEPTHS = (1, 2, 5, 3)
# 12, 24, 48 and 96 times 2, for XL times 2.9, rounded to multiples of 8.
CHANNELS, XL_CHANNELS = (24, 48, 96, 192), (32, 72, 136, 280)
EXPANSION = 2.25


class X3DBlock(nn.Module):
    """1x1x1, channel-wise 3x3x3 with the stride, 1x1x1; squeeze-and-excitation in every other block; N C T H W.

    Args:
        channels: input channels of the block.
        inner: channels between its convolutions.
        out_channels: output channels of the block.
        stride: stride in height and width.
        excite: use squeeze and excitation after the channel-wise convolution.
        normalise: add a BatchNorm to the shortcut if it is a convolution.
    """

    def __init__(
        self, channels: int, inner: int, out_channels: int, stride: int, excite: bool, normalise: bool
    ) -> None:
        super().__init__()
        step = (1, stride, stride)
        self.conv_a = Conv3d(channels, inner, 1, bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.conv_b = Conv3d(inner, inner, 3, step, 1, groups=inner, bias=False)
        self.norm_b = nn.BatchNorm3d(inner)
        self.se = SqueezeExcitation(inner) if excite else nn.Identity()
        self.conv_c = Conv3d(inner, out_channels, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.swish = nn.SiLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(Conv3d(channels, out_channels, 1, step, bias=False))
            if normalise:
                self.shortcut.append(nn.BatchNorm3d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T H' W'."""
        y = self.relu(self.norm_a(self.conv_a(x)))
        y = self.swish(self.se(self.norm_b(self.conv_b(y))))
        return self.relu(self.norm_c(self.conv_c(y)).add_(self.shortcut(x)))


class X3D(VideoModel):
    """X3D; T is kept, the height and width of a clip are reduced by 32.

    The classifier receives more channels than any stage has: `head.maps` returns them at every position.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        stages: tuple[int, ...],
        depth: float,
        num_classes: int,
        width: float,
        dropout: float,
        shortcut_norm: bool,
        spec: ClipSpec,
    ) -> None:
        super().__init__()
        self.clip_spec = spec
        channels = max(1, round(stages[0] * width))
        self.stem = X3DStem(channels)
        for i, (planes, count) in enumerate(zip(stages, DEPTHS, strict=True)):
            out_channels = max(1, round(planes * width))
            inner = int(out_channels * EXPANSION)
            blocks = []
            for j in range(math.ceil(count * depth)):
                normalise = shortcut_norm or channels != out_channels
                blocks.append(X3DBlock(channels, inner, out_channels, 2 if j == 0 else 1, j % 2 == 0, normalise))
                channels = out_channels
            setattr(self, f"layer{i + 1}", Stack(*blocks))
        features = max(1, round(2048 * width))
        self.head = X3DHead(channels, inner, features)
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(features, num_classes)
        self.initialise()

    def pool(self, features: Tensor) -> Tensor:
        """N C T H W -> N F."""
        return self.head(features)


@register({f"x3d_{size}": {"size": size} for size in SIZES}, paper="X3D, CVPR 2020")
def x3d(
    size: Size,
    num_classes: int = 400,
    frames: int | None = None,
    width: float = 1.0,
    *,
    dropout: float = 0.5,
    shortcut_norm: bool = False,
) -> X3D:
    """X3D-S, -M, -L and -XL.

    Args:
        size: fixed by the name.
        num_classes: number of outputs.
        frames: T; None is that of the paper, 13 for S and 16 for the others.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        shortcut_norm: also add a BatchNorm to the first shortcut, whose channels do not change. SlowFast's release has
            it, PyTorchVideo's does not.
    """
    native, stride, crop, short_side, depth = SIZES[size]
    spec = ClipSpec(
        frames=frames or native, stride=stride, sampler="dense", short_side=short_side, crop=crop,
        mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225),
    )  # fmt: skip
    stages = XL_CHANNELS if size == "xl" else CHANNELS
    return X3D(stages, depth, num_classes, width, dropout, shortcut_norm, spec)
