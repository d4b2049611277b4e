"""3-D ResNeXt: a 3-D ResNet whose 3x3x3 convolutions are grouped."""

from __future__ import annotations

from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.registry import register
from kinema.models.video_model import VideoModel
from kinema.ops.arguments import Count
from kinema.ops.conv import Conv3d

LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
PLANES = 128
EXPANSION = 2


class ResNeXtBlock(nn.Module):
    """1x1x1, grouped 3x3x3 with the stride, 1x1x1, shortcut; N C T H W -> N C' T' H' W'.

    Args:
        channels: input channels of the block.
        inner: between its convolutions, a multiple of `groups`.
        out_channels: output channels of the block.
        groups: number of groups of the middle convolution.
        stride: stride in time, height and width.

    Source: Hara et al., Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?, CVPR 2018, figure 3.
    """

    def __init__(self, channels: int, inner: int, out_channels: int, groups: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv3d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(inner)
        self.conv2 = Conv3d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm3d(inner)
        self.conv3 = Conv3d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            step = (stride, stride, stride)
            self.downsample = nn.Sequential(
                Conv3d(channels, out_channels, 1, step, bias=False), nn.BatchNorm3d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)).add_(self.downsample(x)))


class ResNeXtStem(nn.Sequential):
    """A 7x7x7 convolution with stride 2 in space, max pooling with stride 2 in time and space."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3d(3, channels, 7, (1, 2, 2), 3, bias=False)
        self.bn = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool3d(3, 2, 1)


class ResNeXt3D(VideoModel):
    """A 3-D ResNeXt; it reduces T by 16 and the height and width of a clip by 32.

    Args:
        depth: 50, 101 or 152.
        num_classes: number of outputs of the classifier.
        frames: T, the number of frames that the network is built for; it accepts any T.
        width: factor of all channels.
        groups: number of groups of the 3x3x3 convolutions.
        dropout: dropout rate before the classifier.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, depth: int, num_classes: int, frames: int, width: float, groups: int, dropout: float) -> None:
        super().__init__()
        # Same as the other 3-D ResNets here; the weights of 3D-ResNets-PyTorch were trained at 112.
        self.clip_spec = ClipSpec(frames=frames, stride=2, sampler="dense", short_side=320)
        channels = max(1, round(64 * width))
        self.stem = ResNeXtStem(channels)
        for i, count in enumerate(LAYERS[depth]):
            planes = PLANES * 2**i * width
            inner, out_channels = groups * max(1, round(planes / groups)), max(1, round(planes * EXPANSION))
            blocks = []
            for j in range(count):
                blocks.append(ResNeXtBlock(channels, inner, out_channels, groups, 2 if i > 0 and j == 0 else 1))
                channels = out_channels
            setattr(self, f"layer{i + 1}", Stack(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(channels, num_classes)
        self.initialise(mode="fan_in")  # the fan-out of a grouped convolution counts unconnected channels


@register({f"resnext3d_{depth}": {"depth": depth} for depth in LAYERS}, paper="3D ResNeXt, CVPR 2018")
def resnext3d(
    depth: int,
    num_classes: int = 400,
    frames: int = 16,
    width: float = 1.0,
    *,
    groups: Count = 32,
    dropout: float = 0.0,
) -> ResNeXt3D:
    """3-D ResNeXt of 50, 101 and 152 layers.

    Args:
        depth: fixed by the name.
        num_classes: number of outputs.
        frames: T; 3D-ResNets-PyTorch has weights for 16 and 64.
        width: factor of all channels; those inside a block stay a multiple of `groups`.
        groups: number of groups of the 3x3x3 convolutions, called cardinality in the paper.
        dropout: dropout rate before the classifier.
    """
    return ResNeXt3D(depth, num_classes, frames, width, groups, dropout)
