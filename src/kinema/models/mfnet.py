"""MF-Net: a 3-D network whose residual blocks are split into fibers that are connected only by a multiplexer.

Source: Chen et al., Multi-Fiber Networks for Video Recognition, ECCV 2018, and the authors' release
(cypw/PyTorch-MFNet, network/mfnet_3d.py). The MFNet in STM's tables (Lee et al., Motion Feature Network, ECCV 2018) is
a different network.
"""

from __future__ import annotations

from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.registry import register
from kinema.models.video_model import VideoModel
from kinema.ops.arguments import Count
from kinema.ops.conv import Conv3d

LAYERS = (3, 4, 6, 3)
Triple = tuple[int, int, int]


class NormConv(nn.Module):
    """BatchNorm, ReLU, convolution without bias; N C T H W -> N C' T' H' W'."""

    def __init__(self, channels: int, out_channels: int, kernel: Triple, stride: Triple, groups: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = Conv3d(channels, out_channels, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        return self.conv(self.relu(self.norm(x)))


class MultiFiberUnit(nn.Module):
    """The multiplexer, the fibers and the shortcut; N C T H W -> N C' T' H' W'.

    The multiplexer consists of two 1x1x1 convolutions with a fourth of the channels between them. It is added to its
    own input, so that fibers share information. Then follow a 3x3x3 and a 1x3x3 convolution in `groups` fibers. In the
    first unit of a stage, the second convolution is a full 1x1x1, and the shortcut is projected.

    Args:
        channels: C.
        inner: channels between the two convolutions of the fibers.
        out_channels: C'.
        stride: stride of the first convolution.
        groups: number of fibers.
        first: True for the first one of its stage.
    """

    def __init__(self, channels: int, inner: int, out_channels: int, stride: Triple, groups: int, first: bool) -> None:
        super().__init__()
        point, still = (1, 1, 1), (1, 1, 1)
        between = max(1, inner // 4)
        self.multiplexer = nn.Sequential(
            NormConv(channels, between, point, still, 1), NormConv(between, channels, point, still, 1)
        )
        self.fibers = nn.Sequential(
            NormConv(channels, inner, (3, 3, 3), stride, groups),
            NormConv(inner, out_channels, point if first else (1, 3, 3), still, 1 if first else groups),
        )
        self.shortcut = NormConv(channels, out_channels, point, stride, 1) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        return self.fibers(x + self.multiplexer(x)) + self.shortcut(x)


class MFStem(nn.Sequential):
    """A 3x5x5 convolution and a 1x3x3 max pooling, both with stride 2 in space; N 3 T H W -> N C T H/4 W/4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3d(3, channels, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False)
        self.norm = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))


class MFTail(nn.Sequential):
    """The BatchNorm and ReLU after the last unit; N C T H W -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)


class MFNet(VideoModel):
    """A multi-fiber network; it reduces T by 2 and the height and width of a clip by 32.

    Args:
        num_classes: number of outputs of the classifier.
        frames: T, the number of frames that the network is built for; it accepts any T.
        width: factor of all channels, which stay multiples of `groups`.
        groups: number of fibers.
        dropout: dropout rate before the classifier.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, num_classes: int, frames: int, width: float, groups: int, dropout: float) -> None:
        super().__init__()
        # The release subtracts (124, 117, 104) and multiplies by 0.0167.
        self.clip_spec = ClipSpec(
            frames=frames, stride=2, sampler="dense", short_side=256, crop=224,
            mean=(124 / 255, 117 / 255, 104 / 255), std=(1 / 0.0167 / 255,) * 3,
        )  # fmt: skip
        channels, base = (groups * max(1, round(n * width / groups)) for n in (16, 96))
        self.stem = MFStem(channels)
        for i, count in enumerate(LAYERS):
            out_channels = base * 2**i
            units: list[nn.Module] = []
            for j in range(count):
                stride = (1, 1, 1) if j else (2, 1, 1) if i == 0 else (1, 2, 2)
                units.append(MultiFiberUnit(channels, out_channels, out_channels, stride, groups, j == 0))
                channels = out_channels
            if i == len(LAYERS) - 1:
                units.append(MFTail(channels))
            setattr(self, f"layer{i + 1}", Stack(*units))
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(channels, num_classes)
        self.initialise(mode="fan_in")  # the fan-out of a grouped convolution counts unconnected channels


@register({"mfnet": {}}, paper="MF-Net, ECCV 2018")
def mfnet(
    num_classes: int = 400,
    frames: int = 16,
    width: float = 1.0,
    *,
    groups: Count = 16,
    dropout: float = 0.0,
) -> MFNet:
    """MF-Net, the multi-fiber network for video.

    Args:
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels, which stay multiples of `groups`.
        groups: number of fibers.
        dropout: dropout rate before the classifier; the release fine-tunes with 0.5.
    """
    return MFNet(num_classes, frames, width, groups, dropout)
