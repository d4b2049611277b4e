"""I3D as first published: Inception-v1 with kernels and pooling inflated to three dimensions."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.registry import register
from kinema.models.video_model import VideoModel
from kinema.ops.conv import Conv3d
from kinema.ops.layout import same_padding

Size = tuple[int, int, int]
POINT, CUBE = (1, 1, 1), (3, 3, 3)
EPSILON = 1e-3  # eps of the BatchNorms of all releases

# Channels of the branches: 1x1x1; 1x1x1 and 3x3x3; the same, instead of the 2-D network's 5x5; 1x1x1 after pooling.
MIXED = {
    "layer2": {"b": (64, (96, 128), (16, 32), 32), "c": (128, (128, 192), (32, 96), 64)},
    "layer3": {
        "b": (192, (96, 208), (16, 48), 64),
        "c": (160, (112, 224), (24, 64), 64),
        "d": (128, (128, 256), (24, 64), 64),
        "e": (112, (144, 288), (32, 64), 64),
        "f": (256, (160, 320), (32, 128), 128),
    },
    "layer4": {"b": (256, (160, 320), (32, 128), 128), "c": (384, (192, 384), (48, 128), 128)},
}
POOLS: dict[str, tuple[Size, Size]] = {
    "layer2": ((1, 3, 3), (1, 2, 2)),
    "layer3": ((3, 3, 3), (2, 2, 2)),
    "layer4": ((2, 2, 2), (2, 2, 2)),
}


class SameConv3d(Conv3d):
    """`Conv3d` with TensorFlow's padding, which depends on the size of the clip if there is a stride."""

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W', sizes divided by the stride and rounded up."""
        pads = [same_padding(s, k, d) for s, k, d in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)]
        x = F.pad(x, [side for pair in reversed(pads) for side in pair])
        return super().forward(x.contiguous(memory_format=torch.channels_last_3d))


class SamePool3d(nn.Module):
    """Max pooling with TensorFlow's padding; padded values are never the maximum.

    Args:
        kernel: size in time, height and width, at most 3.
        stride: stride in time, height and width.
    """

    def __init__(self, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C T' H' W', sizes divided by the stride and rounded up."""
        sizes = zip(x.shape[2:], self.kernel, self.stride, strict=True)
        before = [same_padding(*each)[0] for each in sizes]
        return F.max_pool3d(x, self.kernel, self.stride, before, ceil_mode=True)  # ceil_mode pads at the end


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and ReLU; N C T H W -> N C' T' H' W'."""

    def __init__(self, channels: int, out_channels: int, kernel: Size) -> None:
        super().__init__()
        self.conv: nn.Module
        if kernel == POINT:
            self.conv = Conv3d(channels, out_channels, 1, bias=False)
        elif kernel == CUBE:
            self.conv = Conv3d(channels, out_channels, 3, 1, 1, bias=False)
        else:
            self.conv = SameConv3d(channels, out_channels, kernel, 2, bias=False)
        self.norm = nn.BatchNorm3d(out_channels, EPSILON)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        return self.relu(self.norm(self.conv(x)))


class Mixed(nn.Module):
    """Four branches of the same clip, whose channels are concatenated; N C T H W -> N C' T H W.

    Args:
        channels: C.
        branches: channels of the branches, see `MIXED`; their sum, without the reductions, is C'.

    Source: Carreira and Zisserman, Quo Vadis, Action Recognition?, CVPR 2017, figure 3.
    """

    def __init__(self, channels: int, branches: tuple[int, tuple[int, int], tuple[int, int], int]) -> None:
        super().__init__()
        first, (reduce1, second), (reduce2, third), fourth = branches
        self.out_channels = first + second + third + fourth
        self.branch0 = ConvNorm(channels, first, POINT)
        self.branch1 = nn.Sequential(ConvNorm(channels, reduce1, POINT), ConvNorm(reduce1, second, CUBE))
        self.branch2 = nn.Sequential(ConvNorm(channels, reduce2, POINT), ConvNorm(reduce2, third, CUBE))
        self.branch3 = nn.Sequential(SamePool3d(CUBE, POINT), ConvNorm(channels, fourth, POINT))

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T H W."""
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], 1)


class InceptionI3D(VideoModel):
    """Inflated Inception-v1; it reduces T by 8 and the height and width of a clip by 32.

    Its parts are grouped into the stages of a ResNet: `layer1` contains the two convolutions before the first branched
    block, `layer2` to `layer4` a pooling and the blocks 3b and 3c, 4b to 4f, 5b and 5c.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, num_classes: int, frames: int, width: float, dropout: float) -> None:
        super().__init__()
        self.clip_spec = ClipSpec(
            frames=frames, stride=1, sampler="dense", short_side=256, crop=224,
            mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
        )  # fmt: skip

        def wide(channels: int) -> int:
            return max(1, round(channels * width))

        base, channels = wide(64), wide(192)
        self.stem = nn.Sequential(OrderedDict(conv=ConvNorm(3, base, (7, 7, 7)), pool=SamePool3d((1, 3, 3), (1, 2, 2))))
        self.layer1 = Stack(OrderedDict(reduce=ConvNorm(base, base, POINT), conv=ConvNorm(base, channels, CUBE)))
        for stage, blocks in MIXED.items():
            parts: OrderedDict[str, nn.Module] = OrderedDict(pool=SamePool3d(*POOLS[stage]))
            for name, (first, second, third, fourth) in blocks.items():
                block = Mixed(
                    channels,
                    (wide(first), (wide(second[0]), wide(second[1])), (wide(third[0]), wide(third[1])), wide(fourth)),
                )
                parts[f"mixed_{name}"], channels = block, block.out_channels
            setattr(self, stage, Stack(parts))
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(channels, num_classes)
        self.initialise(mode="fan_in")  # by its few outputs, a reduction would start with large weights

    def pool(self, features: Tensor) -> Tensor:
        """N C T H W -> N C."""
        pooled = features.mean((3, 4), dtype=torch.promote_types(features.dtype, torch.float32))
        if pooled.shape[2] > 1:
            # Pools two frames each, as the 2x7x7 of the paper: the first and last frame of the clip count half.
            pooled = (pooled[:, :, 1:] + pooled[:, :, :-1]) / 2
        return pooled.mean(2).to(features.dtype)


@register({"i3d_v1": {}}, paper="I3D, CVPR 2017")
def i3d_v1(
    num_classes: int = 400,
    frames: int = 64,
    width: float = 1.0,
    *,
    dropout: float = 0.5,
) -> InceptionI3D:
    """The RGB network of the two-stream I3D.

    Args:
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
    """
    return InceptionI3D(num_classes, frames, width, dropout)
