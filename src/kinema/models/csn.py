"""Channel-separated networks: 3-D ResNets whose 3x3x3 convolutions are channel-wise, ir-CSN and ip-CSN."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.registry import register
from kinema.models.video_model import VideoModel
from kinema.ops.arguments import Eps
from kinema.ops.conv import Conv3d

Interactions = Literal["reduced", "preserved"]
LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
EXPANSION = 4


class CSNBlock(nn.Module):
    """1x1x1, channel-wise 3x3x3 with the stride, 1x1x1, shortcut; N C T H W -> N C' T' H' W'.

    Args:
        channels: input channels of the block.
        inner: channels between its convolutions.
        out_channels: output channels of the block.
        stride: stride in time, height and width.
        interactions: `preserved` puts a 1x1x1 with BatchNorm and no ReLU before the channel-wise convolution, so that
            both together cover the same as the 3x3x3; `reduced` omits it.
        eps: eps of the BatchNorms.

    Source: Tran et al., Video Classification with Channel-Separated Convolutional Networks, ICCV 2019, figure 2.
    """

    def __init__(
        self, channels: int, inner: int, out_channels: int, stride: int, interactions: Interactions, eps: float
    ) -> None:
        super().__init__()
        step = (stride, stride, stride)
        self.conv_a = Conv3d(channels, inner, 1, bias=False)
        self.norm_a = nn.BatchNorm3d(inner, eps)
        self.mix: nn.Module = nn.Identity()
        if interactions == "preserved":
            self.mix = nn.Sequential(Conv3d(inner, inner, 1, bias=False), nn.BatchNorm3d(inner, eps))
        self.conv_b = Conv3d(inner, inner, 3, step, 1, groups=inner, bias=False)
        self.norm_b = nn.BatchNorm3d(inner, eps)
        self.conv_c = Conv3d(inner, out_channels, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(out_channels, eps)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(
                Conv3d(channels, out_channels, 1, step, bias=False), nn.BatchNorm3d(out_channels, eps)
            )

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        y = self.mix(self.relu(self.norm_a(self.conv_a(x))))
        y = self.relu(self.norm_b(self.conv_b(y)))
        return self.relu(self.norm_c(self.conv_c(y)).add_(self.shortcut(x)))


class CSNStem(nn.Sequential):
    """A 3x7x7 convolution and a 1x3x3 max pooling, both with stride 2 in space; N 3 T H W -> N C T H/4 W/4."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.conv = Conv3d(3, channels, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        self.norm = nn.BatchNorm3d(channels, eps)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))


class CSN(VideoModel):
    """A channel-separated network; it reduces T by 8 and the height and width of a clip by 32.

    Args:
        depth: 50, 101 or 152.
        interactions: see `CSNBlock`.
        num_classes: number of outputs of the classifier.
        frames: T, the number of frames that the network is built for; it accepts any T.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        eps: eps of the BatchNorms.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        depth: int,
        interactions: Interactions,
        num_classes: int,
        frames: int,
        width: float,
        dropout: float,
        eps: float,
    ) -> None:
        super().__init__()
        self.clip_spec = ClipSpec(
            frames=frames, stride=2, sampler="dense", short_side=256, crop=224,
            mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989),
        )  # fmt: skip
        base = channels = max(1, round(64 * width))
        self.stem = CSNStem(channels, eps)
        for i, count in enumerate(LAYERS[depth]):
            blocks = []
            for j in range(count):
                inner = base * 2**i
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(CSNBlock(channels, inner, inner * EXPANSION, stride, interactions, eps))
                channels = inner * EXPANSION
            setattr(self, f"layer{i + 1}", Stack(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(channels, num_classes)
        self.initialise(mode="fan_in")  # the fan-out of a channel-wise convolution counts unconnected channels


@register(
    {
        **{f"ir_csn_{depth}": {"depth": depth, "interactions": "reduced"} for depth in LAYERS},
        **{f"ip_csn_{depth}": {"depth": depth, "interactions": "preserved"} for depth in LAYERS},
    },
    paper="CSN, ICCV 2019",
)
def csn(
    depth: int,
    interactions: Interactions,
    num_classes: int = 400,
    frames: int = 32,
    width: float = 1.0,
    *,
    dropout: float = 0.0,
    eps: Eps = 1e-3,
) -> CSN:
    """Interaction-reduced and interaction-preserved channel-separated networks.

    Args:
        depth: fixed by the name.
        interactions: fixed by the name.
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        eps: eps of the BatchNorms. The authors' releases (VMZ, mmaction2) have 1e-3, PyTorchVideo's 1e-5.
    """
    return CSN(depth, interactions, num_classes, frames, width, dropout, eps)
