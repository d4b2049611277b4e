"""2-D ResNets over frames: TSN (average of frames), TSM (shifted channels) and STM (CSTM + CMM).

Frames travel as `(N T) C H W`; each stage takes and gives `N C T H W`, so that feature maps have a time axis.
Stride sits in the 3x3 convolution ("v1.5"), as the published FLOPs of TSN and STM imply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.frame_model import FrameModel
from kinema.models.registry import register
from kinema.ops.arguments import Count
from kinema.ops.conv import Conv2d
from kinema.ops.layout import fold_time, unfold_time
from kinema.ops.shift import Fold, Shift
from kinema.ops.stm import CMM, CSTM, Connection, Motion, StrideAt, TemporalInit
from kinema.ops.streaming import Stream

LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}

Mode = Literal["stm", "cstm", "cmm", "tsn"]
Spatial = Literal["ordinary", "depthwise", "late"]
Replace = Literal["first", "second", "both"]
Fuse = Literal["sum", "concat"]
Blocks = Literal["all", "four", "stage2", "stage3", "stage4", "stage5"]
# (channels, out channels, stride, stage 2..5, block of the stage) -> what stands in place of a 3x3, N C T H W -> same
Conv = Callable[[int, int, int, int, int], "Core"]


class FrameConv(Conv2d):
    """The plain 3x3 convolution of each frame, N C T H W -> N C' T H' W'."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(channels, out_channels, 3, stride, 1, bias=False)

    look_ahead = 0

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Each frame by itself."""
        return unfold_time(super().forward(fold_time(x)), x.shape[2])


class Sum(nn.Module):
    """CSTM (or the plain 3x3) and CMM side by side, summed, or concatenated and mixed by a 1x1 convolution."""

    def __init__(self, spatial: FrameConv | CSTM, cmm: CMM, out_channels: int, fuse: Fuse) -> None:
        super().__init__()
        self.cstm = spatial
        self.cmm = cmm
        self.mix = Conv2d(2 * out_channels, out_channels, 1, bias=False) if fuse == "concat" else None

    @property
    def look_ahead(self) -> int:
        """Frames after the present one that it sees."""
        return self.cmm.look_ahead

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """N C T H W -> N C' T H' W'."""
        if stream is None:
            spatial, motion = self.cstm(x), self.cmm(x)
        else:
            spatial, lag = self.cstm(x, stream), stream.lag
            spatial = stream.delayed(self, spatial, self.look_ahead - self.cstm.look_ahead)
            stream.lag = lag - self.cstm.look_ahead  # side by side, not one after the other
            motion = self.cmm(x, stream)
        if self.mix is None:
            return spatial.add_(motion)  # a fresh tensor of the convolution, which its backward does not need
        return unfold_time(self.mix(fold_time(torch.cat([spatial, motion], 1))), x.shape[2])


Core = FrameConv | CSTM | Sum  # what may stand in place of a 3x3 convolution


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (ResNet-18 and -34); works on `(N T) C H W` with T given."""

    expansion = 1

    def __init__(self, channels: int, inner: int, stride: int, shift: Shift | None, convs: tuple[Core, ...]):
        super().__init__()
        self.shift = shift
        self.conv1, self.conv2 = convs
        self.bn1, self.bn2 = nn.BatchNorm2d(inner), nn.BatchNorm2d(inner)
        self.downsample = _projection(channels, inner, stride)
        self.relu = nn.ReLU(inplace=True)

    @property
    def look_ahead(self) -> int:
        """Frames by which it is late in a stream."""
        shift = 0 if self.shift is None else self.shift.look_ahead
        return shift + self.conv1.look_ahead + self.conv2.look_ahead

    def forward(self, x: Tensor, frames: int, stream: Stream | None = None) -> Tensor:
        """(N T) C H W -> (N T) C' H' W'."""
        clip = unfold_time(x, frames)
        y = _through(self.conv1, clip if self.shift is None else _through(self.shift, clip, stream), stream)
        y = self.relu(self.bn1(fold_time(y)))
        y = self.bn2(fold_time(_through(self.conv2, unfold_time(y, frames), stream)))
        return self.relu(y.add_(_shortcut(self, x, frames, stream)))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 (ResNet-50); works on `(N T) C H W` with T given."""

    expansion = 4

    def __init__(self, channels: int, inner: int, stride: int, shift: Shift | None, convs: tuple[Core, ...]):
        super().__init__()
        self.shift = shift
        self.conv1 = Conv2d(channels, inner, 1, bias=False)
        (self.conv2,) = convs
        self.conv3 = Conv2d(inner, inner * 4, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(inner), nn.BatchNorm2d(inner), nn.BatchNorm2d(inner * 4)
        self.downsample = _projection(channels, inner * 4, stride)
        self.relu = nn.ReLU(inplace=True)

    @property
    def look_ahead(self) -> int:
        """Frames by which it is late in a stream."""
        return (0 if self.shift is None else self.shift.look_ahead) + self.conv2.look_ahead

    def forward(self, x: Tensor, frames: int, stream: Stream | None = None) -> Tensor:
        """(N T) C H W -> (N T) C' H' W'."""
        y = x if self.shift is None else fold_time(_through(self.shift, unfold_time(x, frames), stream))
        y = self.relu(self.bn1(self.conv1(y)))
        y = self.relu(self.bn2(fold_time(_through(self.conv2, unfold_time(y, frames), stream))))
        y = self.bn3(self.conv3(y))
        return self.relu(y.add_(_shortcut(self, x, frames, stream)))


def _through(module: nn.Module, x: Tensor, stream: Stream | None) -> Tensor:
    """The output of an operator, which need not know of streams where there is none; N C T H W -> N C' T H' W'."""
    y: Tensor = module(x) if stream is None else module(x, stream)
    return y


def _shortcut(block: BasicBlock | Bottleneck, x: Tensor, frames: int, stream: Stream | None) -> Tensor:
    """What is added at the end of a block; in a stream as late as the residual branch is."""
    if stream is not None and block.look_ahead:
        x = fold_time(stream.delayed(block, unfold_time(x, frames), block.look_ahead))
    return x if block.downsample is None else block.downsample(x)


def _projection(channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """The shortcut of a block that changes size; None is the identity."""
    if stride == 1 and channels == out_channels:
        return None
    return nn.Sequential(Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class Stem(nn.Sequential):
    """7x7 convolution and max pooling, both with stride 2; N 3 T H W -> N C T H/4 W/4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(3, channels, 7, 2, 3, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """Each frame by itself."""
        return unfold_time(super().forward(fold_time(x)), x.shape[2])


class Stage(Stack):
    """Residual blocks at one resolution; N C T H W -> N C' T H' W'."""

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        """Folds time into the batch once for all blocks."""
        frames = x.shape[2]
        return unfold_time(super().forward(fold_time(x), frames, *args), frames)


class ResNet2D(FrameModel):
    """A ResNet that sees each frame, with room for something temporal in front of a block or in place of its 3x3.

    Args:
        depth: 18, 34 or 50.
        num_classes: outputs of the classifier.
        frames: T that the network is meant for; it runs on any T.
        width: multiplies all channels.
        dropout: before the classifier.
        conv: makes what stands in place of the 3x3 convolutions of a block; one per 3x3.
        shift: makes what stands before the first convolution of a residual branch, or None.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        depth: int,
        num_classes: int,
        frames: int,
        width: float,
        dropout: float,
        convs: tuple[Conv, ...],
        shift: Callable[[], Shift | None],
    ) -> None:
        super().__init__()
        block = Bottleneck if depth >= 50 else BasicBlock
        self.clip_spec = ClipSpec(frames=frames)
        base = channels = max(1, round(64 * width))
        self.stem = Stem(channels)
        for i, count in enumerate(LAYERS[depth]):
            inner = base * 2**i
            blocks = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                first = channels if block is BasicBlock else inner
                made = [convs[0](first, inner, stride, i + 2, j)]
                if block is BasicBlock:
                    made.append(convs[1](inner, inner, 1, i + 2, j))
                blocks.append(block(channels, inner, stride, shift(), tuple(made)))
                channels = inner * block.expansion
            setattr(self, f"layer{i + 1}", Stage(*blocks))
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(channels, num_classes)
        self.initialise()


def _plain(channels: int, out_channels: int, stride: int, stage: int, index: int) -> Core:
    return FrameConv(channels, out_channels, stride)


@register({f"tsn_r{d}": {"depth": d} for d in LAYERS}, paper="TSN, ECCV 2016")
def tsn(depth: int, num_classes: int = 400, frames: int = 8, width: float = 1.0, *, dropout: float = 0.5) -> ResNet2D:
    """Temporal Segment Network: a 2-D ResNet on each frame, the mean of the frames' logits.

    Args:
        depth: fixed by the name.
        num_classes: outputs.
        frames: T.
        width: multiplies all channels.
        dropout: before the classifier.
    """
    return ResNet2D(depth, num_classes, frames, width, dropout, (_plain, _plain), lambda: None)


@register({f"tsm_r{d}": {"depth": d} for d in LAYERS}, paper="TSM, ICCV 2019")
def tsm(
    depth: int,
    num_classes: int = 400,
    frames: int = 8,
    width: float = 1.0,
    *,
    dropout: float = 0.5,
    fold: Fold = 8,
    causal: bool = False,
) -> ResNet2D:
    """Temporal Shift Module in every residual branch ("blockres").

    Args:
        depth: fixed by the name.
        num_classes: outputs.
        frames: T.
        width: multiplies all channels.
        dropout: before the classifier.
        fold: one `fold`-th of the channels moves, per direction.
        causal: shift from earlier frames only.
    """
    return ResNet2D(depth, num_classes, frames, width, dropout, (_plain, _plain), lambda: Shift(fold, causal))


@register({f"stm_r{d}": {"depth": d} for d in LAYERS}, paper="STM, ICCV 2019 and journal version")
def stm(
    depth: int,
    num_classes: int = 400,
    frames: int = 8,
    width: float = 1.0,
    *,
    dropout: float = 0.5,
    mode: Mode = "stm",
    blocks: Blocks = "all",
    replace: Replace = "first",
    fuse: Fuse = "sum",
    init: TemporalInit = "shift",
    temporal: Connection = "depthwise",
    spatial: Spatial = "ordinary",
    motion: Motion = "depthwise",
    reduction: Count = 16,
    stride_at: StrideAt = "difference",
    zero_restore: bool = True,
    causal: bool = False,
    low_scale: float = 1.0,
) -> ResNet2D:
    """STM: CSTM + CMM in place of the 3x3 convolution of a residual block.

    Args:
        depth: fixed by the name.
        num_classes: outputs.
        frames: T.
        width: multiplies all channels.
        dropout: before the classifier.
        mode: `stm`, one of its halves `cstm` or `cmm` (CMM beside the plain 3x3), or `tsn` (neither).
        blocks: `all`, `four` (the first of each stage), or only the first of one stage, `stage2`, `stage3`, `stage4` or
            `stage5` (table 9).
        replace: which 3x3 of a basic block, `first`, `second` or `both` (ResNet-18 and -34; the paper does not say,
            FLOPs favour the first).
        fuse: of the two halves: `sum`, or `concat` and a 1x1 convolution.
        init: temporal kernels at the start: `shift`, `identity`, `random`; `degenerate` fixes both halves to the plain
            frequencies of equation 7 (table 8).
        temporal: `depthwise` or `ordinary` temporal convolution (table 10).
        spatial: `ordinary`, `depthwise`, or `late`: depthwise in the last two stages only (table 10).
        motion: `depthwise` or `ordinary` 3x3 of CMM (table 10), or `degenerate`.
        reduction: r of CMM.
        stride_at: `difference` or `reduce`, see `CMM`.
        zero_restore: CMM starts silent.
        causal: no frame depends on a later one.
        low_scale: of the degenerate temporal kernel.
    """

    def conv(channels: int, out_channels: int, stride: int, stage: int, index: int) -> Core:
        chosen = blocks == "all" or (index == 0 and blocks in ("four", f"stage{stage}"))
        if mode == "tsn" or not chosen:
            return FrameConv(channels, out_channels, stride)
        thin = spatial == "depthwise" or (spatial == "late" and stage >= 4)
        core: FrameConv | CSTM = FrameConv(channels, out_channels, stride)
        if mode != "cmm":
            core = CSTM(
                channels, out_channels, stride, init=init, temporal=temporal,
                spatial="depthwise" if thin else "ordinary", causal=causal, low_scale=low_scale,
            )  # fmt: skip
        if mode == "cstm":
            return core
        cmm = CMM(
            channels, out_channels, stride, reduction=reduction,
            motion="degenerate" if init == "degenerate" else motion,
            causal=causal, stride_at=stride_at, zero_restore=zero_restore,
        )  # fmt: skip
        return Sum(core, cmm, out_channels, fuse)

    convs = (conv if replace != "second" else _plain, conv if replace != "first" else _plain)
    return ResNet2D(depth, num_classes, frames, width, dropout, convs if depth < 50 else (conv,), lambda: None)
