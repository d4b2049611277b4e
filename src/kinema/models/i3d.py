"""Inflated ResNets, the backbones of CIDC: R2D, I3D and SlowOnly, the first two also with non-local blocks.

They share one structure and differ in which first convolutions of a bottleneck cover three frames (3x1x1), and in how
the stem reduces time. With 8 frames (32 for I3D), all stages have the same 8 time steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import nn

from kinema.clip_spec import ClipSpec
from kinema.models.i3d_blocks import EXPANSION, LAYERS, Bottleneck, Stage, Stem
from kinema.models.registry import register
from kinema.models.video_model import VideoModel
from kinema.ops.arguments import Range
from kinema.ops.nonlocal_attention import Attention, NonLocal, SubSample

Kind = Literal["r2d", "i3d", "slowonly"]
Places = Literal["nl5", "nl10"]
StemStride = Annotated[int, Range(1, 2)]


@dataclass(frozen=True)
class I3DDesign:
    """Design of an inflated ResNet.

    Attributes:
        depth: 50 or 101.
        kind: which convolutions cover several frames.
        stem_stride: stride in time of the stem's convolution and of its pooling.
        pool2: halve time after the first stage.
        pool_padding: padding of the stem's pooling.
        places: stage 1 to 4 -> blocks that are followed by a non-local block.
        non_local: builds a non-local block from its channels.
    """

    depth: int
    kind: Kind
    stem_stride: int
    pool2: bool
    pool_padding: bool
    places: dict[int, tuple[int, ...]]
    non_local: Callable[[int], NonLocal]

    def kernel_size(self, stage: int, block: int) -> int:
        """Returns the number of frames that the first convolution of a block covers; stages start at 1, blocks at 0."""
        if self.kind == "slowonly":
            return 3 if stage >= 3 else 1
        sees = stage == 1 or block % 2 == (1 if stage == 4 else 0)
        return 3 if self.kind == "i3d" and sees else 1


class InflatedResNet(VideoModel):
    """A bottleneck ResNet on `N C T H W`; it reduces the height and width of a clip by 32.

    Args:
        design: design of stem and blocks.
        num_classes: number of outputs of the classifier.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        spec: specification of the clips.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, design: I3DDesign, num_classes: int, width: float, dropout: float, spec: ClipSpec) -> None:
        super().__init__()
        self.clip_spec = spec
        base = channels = max(1, round(64 * width))
        self.stem = Stem(channels, 5 if design.kind == "i3d" else 1, design.stem_stride, design.pool_padding)
        for stage, count in enumerate(LAYERS[design.depth], 1):
            inner = base * 2 ** (stage - 1)
            blocks = []
            for j in range(count):
                after = design.non_local(inner * EXPANSION) if j in design.places.get(stage, ()) else None
                stride = 2 if stage > 1 and j == 0 else 1
                blocks.append(Bottleneck(channels, inner, stride, design.kernel_size(stage, j), after))
                channels = inner * EXPANSION
            setattr(self, f"layer{stage}", Stage(*blocks, halve_time=design.pool2 and stage == 1))
        self.per_frame = design.kind == "r2d" and design.stem_stride == 1 and not design.pool2 and not design.places
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(channels, num_classes)
        self.initialise()


def _spec(kind: Kind, frames: int | None, stem_stride: int) -> ClipSpec:
    """Clips cover 64 frames of a video: every second one for 32 frames, every eighth if the stem keeps time."""
    native = 32 if kind == "i3d" and stem_stride == 2 else 8
    spec = ClipSpec(frames=frames or native, stride=64 // native, sampler="dense")
    if kind == "slowonly":
        return spec.replace(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
    return spec


_KINDS: dict[Kind, dict[str, object]] = {
    "r2d": {"stem_stride": 1},
    "i3d": {},
    "slowonly": {"stem_stride": 1, "pool2": False},
}


@register(
    {f"{kind}_{d}": {"depth": d, "kind": kind, **fixed} for kind, fixed in _KINDS.items() for d in LAYERS},
    paper="CIDC, ECCV 2020 (backbones)",
)
def inflated(
    depth: int,
    kind: Kind,
    num_classes: int = 400,
    frames: int | None = None,
    width: float = 1.0,
    *,
    dropout: float = 0.5,
    stem_stride: StemStride = 2,
    pool2: bool = False,
    pool_padding: bool = True,
) -> InflatedResNet:
    """R2D: no convolution covers time. I3D: every second block does. SlowOnly: all blocks of the last two stages do.

    Args:
        depth: fixed by the name.
        kind: fixed by the name.
        num_classes: number of outputs.
        frames: T; None is 8, or 32 for an I3D whose stem reduces time.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        stem_stride: stride in time of the stem's 5x7x7 convolution and of its pooling. 2 gives the paper's operations
            and 8 steps from 32 frames, as in mmaction2 and gluon-cv; 1 is for releases of PySlowFast and PyTorchVideo.
        pool2: halve time after the first stage, as all these releases of I3D and most of R2D (C2D) do; the operations
            in CIDC's table 1 are those without it.
        pool_padding: the max pooling of the stem is padded by one pixel; that of mmaction2's C2D is not.
    """
    design = I3DDesign(depth, kind, stem_stride, pool2, pool_padding, {}, NonLocal)
    return InflatedResNet(design, num_classes, width, dropout, _spec(kind, frames, stem_stride))


# Blocks 2 and 4 of the second stage and 2, 4 and 6 of the third, or all of both (Non-local neural networks, section 5).
_PLACES: dict[Places, dict[int, tuple[int, ...]]] = {
    "nl5": {2: (1, 3), 3: (1, 3, 5)},
    "nl10": {2: (0, 1, 2, 3), 3: (0, 1, 2, 3, 4, 5)},
}


@register(
    {f"{kind}_nl_50": {"depth": 50, "kind": kind, **_KINDS[kind]} for kind in ("r2d", "i3d")},
    paper="Non-local, CVPR 2018",
)
def with_non_local(
    depth: int,
    kind: Kind,
    num_classes: int = 400,
    frames: int | None = None,
    width: float = 1.0,
    *,
    nl: Places = "nl5",
    attention: Attention = "embedded_gaussian",
    sub_sample: SubSample = "after",
    scaled: bool = False,
    dropout: float = 0.5,
    stem_stride: StemStride = 2,
    pool2: bool = False,
    pool_padding: bool = True,
) -> InflatedResNet:
    """R2D and I3D with non-local blocks, which have no effect at the start.

    Args:
        depth: fixed by the name.
        kind: fixed by the name.
        num_classes: number of outputs.
        frames: T; None is 8, or 32 for an I3D whose stem reduces time.
        width: factor of all channels.
        nl: `nl5`: two blocks in the second stage and three in the third; `nl10`: after all blocks of both.
        attention: weight of each position for another one: `embedded_gaussian`, the softmax of the products of theta
            and phi; `gaussian`, that of the features themselves; `dot_product`, the products divided by their number.
        sub_sample: use only the maximum of every 2x2 pixels: `after` the convolutions phi and g, as in the paper and
            mmaction2; `before` them, as in PySlowFast; `none`: use all pixels, as in gluon-cv.
        scaled: divide the input of the softmax by the root of its number of channels, as in PySlowFast and gluon-cv.
        dropout: dropout rate before the classifier.
        stem_stride: stride in time of the stem's 5x7x7 convolution and of its pooling; 1 is for releases of PySlowFast
            and PyTorchVideo.
        pool2: halve time after the first stage, as the releases do; the paper's operations are those without it.
        pool_padding: the max pooling of the stem is padded by one pixel; that of mmaction2's C2D is not.
    """

    def block(channels: int) -> NonLocal:
        return NonLocal(channels, attention=attention, sub_sample=sub_sample, scaled=scaled)

    design = I3DDesign(depth, kind, stem_stride, pool2, pool_padding, _PLACES[nl], block)
    return InflatedResNet(design, num_classes, width, dropout, _spec(kind, frames, stem_stride))
