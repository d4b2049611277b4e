"""2-D ResNets on frames: TSN (average of frames), TSM (shifted channels), STM (CSTM + CMM), TEA and TANet.

Frames are processed as `(N T) C H W`; the input and output of each stage are `N C T H W`, so that feature maps have a
time axis. The stride is in the 3x3 convolution ("v1.5"), as the published FLOPs of TSN and STM imply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

from kinema.clip_spec import ClipSpec
from kinema.models.frame_model import FrameModel
from kinema.models.registry import register
from kinema.models.resnet2d_blocks import (
    Adapted,
    BasicBlock,
    Bottleneck,
    Conv,
    Core,
    FrameConv,
    Fuse,
    Stage,
    Stem,
    Sum,
    TEABlock,
)
from kinema.ops.arguments import Count, OddCount
from kinema.ops.shift import Fold, Shift
from kinema.ops.stm import CMM, CSTM, Connection, Motion, StrideAt, TemporalInit
from kinema.ops.tam import TAM

LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}

Mode = Literal["stm", "cstm", "cmm", "tsn"]
TEAMode = Literal["tea", "mta", "me", "res2net"]
Spatial = Literal["ordinary", "depthwise", "late"]
Replace = Literal["first", "second", "both"]
Blocks = Literal["all", "four", "stage2", "stage3", "stage4", "stage5"]


class ResNet2D(FrameModel):
    """A ResNet on each frame, with optional operators over time before a block or instead of its 3x3 convolution.

    Args:
        depth: 18, 34 or 50.
        num_classes: number of outputs of the classifier.
        frames: T, the number of frames that the network is built for; it accepts any T.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        convs: builds the modules that replace the 3x3 convolutions of a block; one per 3x3.
        shift: builds the operator before the first convolution of a residual branch, or None.
        block: builds a complete block from its channels, inner channels, stride and index in its stage; `convs` and
            `shift` are then not used.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        depth: int,
        num_classes: int,
        frames: int,
        width: float,
        dropout: float,
        convs: tuple[Conv, ...] = (),
        shift: Callable[[], Shift | None] = lambda: None,
        block: Callable[[int, int, int, int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        usual = Bottleneck if depth >= 50 else BasicBlock
        self.clip_spec = ClipSpec(frames=frames)
        base = channels = max(1, round(64 * width))
        self.stem = Stem(channels)
        for i, count in enumerate(LAYERS[depth]):
            inner = base * 2**i
            blocks = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                if block is not None:
                    blocks.append(block(channels, inner, stride, j))
                else:
                    made = [convs[0](channels if usual is BasicBlock else inner, inner, stride, i + 2, j)]
                    if usual is BasicBlock:
                        made.append(convs[1](inner, inner, 1, i + 2, j))
                    blocks.append(usual(channels, inner, stride, shift(), tuple(made)))
                channels = inner * usual.expansion
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
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
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
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        fold: one `fold`-th of the channels is shifted, per direction.
        causal: shift only from earlier frames.
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
    """STM: CSTM + CMM instead of the 3x3 convolution of a residual block.

    Args:
        depth: fixed by the name.
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        mode: `stm`, one of its halves `cstm` or `cmm` (CMM beside the plain 3x3), or `tsn` (neither).
        blocks: `all`, `four` (the first of each stage), or only the first of one stage, `stage2`, `stage3`, `stage4` or
            `stage5` (table 9).
        replace: which 3x3 of a basic block is replaced, `first`, `second` or `both` (ResNet-18 and -34; the paper does
            not say, FLOPs favour the first).
        fuse: how the two halves are joined: `sum`, or `concat` and a 1x1 convolution.
        init: initial temporal kernels: `shift`, `identity`, `random`; `degenerate` fixes both halves to the plain
            frequencies of equation 7 (table 8).
        temporal: `depthwise` or `ordinary` temporal convolution (table 10).
        spatial: `ordinary`, `depthwise`, or `late`: depthwise in the last two stages only (table 10).
        motion: `depthwise` or `ordinary` 3x3 of CMM (table 10), or `degenerate`.
        reduction: r, the reduction of channels in CMM.
        stride_at: position of the stride, `difference` or `reduce`, see `CMM`.
        zero_restore: the output of CMM is zero at the start.
        causal: no frame depends on a later one.
        low_scale: scale of the degenerate temporal kernel.
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


@register({"tea_r50": {"depth": 50}}, paper="TEA, CVPR 2020")
def tea(
    depth: int,
    num_classes: int = 400,
    frames: int = 8,
    width: float = 1.0,
    *,
    dropout: float = 0.5,
    mode: TEAMode = "tea",
) -> ResNet2D:
    """TEA: motion excitation and multiple temporal aggregation in a Res2Net-50 (26w x 4s).

    It follows the authors' released code; see `kinema.ops.tea` for differences from the paper's text.

    Args:
        depth: fixed by the name.
        num_classes: number of outputs.
        frames: T, the number of frames of a clip.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        mode: `tea`, one of its halves `mta` (temporal convolutions) or `me` (motion excitation), or `res2net`, neither
            of them, which processes frames separately.
    """

    def block(channels: int, inner: int, stride: int, index: int) -> TEABlock:
        excited, temporal = mode in ("tea", "me"), mode in ("tea", "mta")
        return TEABlock(channels, inner, stride, first=index == 0, excited=excited, temporal=temporal)

    return ResNet2D(depth, num_classes, frames, width, dropout, block=block)


@register({"tanet_r50": {"depth": 50}}, paper="TAM, ICCV 2021")
def tanet(
    depth: int,
    num_classes: int = 400,
    frames: int = 8,
    width: float = 1.0,
    *,
    dropout: float = 0.5,
    kernel_size: OddCount = 3,
    alpha: Count = 2,
    beta: Count = 4,
) -> ResNet2D:
    """TANet: a temporal adaptive module before the 3x3 convolution of each block.

    Its module is that of Liu et al. (arXiv 2005.06803), not the TAM of Fan et al. (bLVNet-TAM, NeurIPS 2019).

    Args:
        depth: fixed by the name.
        num_classes: number of outputs.
        frames: T, part of the shape of the weights; clips of other lengths are interpolated where that matters.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        kernel_size: K of the adaptive kernel, see `kinema.ops.TAM`.
        alpha: hidden width of the global branch over T.
        beta: ratio of a block's channels to the hidden channels of the local branch.
    """

    def conv(channels: int, out_channels: int, stride: int, stage: int, index: int) -> Core:
        tam = TAM(channels, frames, kernel_size=kernel_size, alpha=alpha, beta=beta)
        return Adapted(tam, FrameConv(channels, out_channels, stride))

    return ResNet2D(depth, num_classes, frames, width, dropout, (conv,))
