"""Inflated ResNets, the backbones of CIDC: R2D, I3D and SlowOnly, the first two also with non-local blocks.

One skeleton; they differ in which first convolutions of a bottleneck see three frames (3x1x1) and how the stem shrinks
time. With 8 frames, or I3D with 32, all stages have the same 8 steps.
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
class Design:
    """How an inflated ResNet is built.

    Attributes:
        depth: 50 or 101.
        kind: which convolutions see time.
        stem_stride: in time, of the stem's convolution and of its pooling.
        pool2: halves time after the first stage.
        pool_padding: of the stem's pooling.
        places: stage 1 to 4 -> blocks after which `non_local` stands.
        non_local: makes a block from its channels.
    """

    depth: int
    kind: Kind
    stem_stride: int
    pool2: bool
    pool_padding: bool
    places: dict[int, tuple[int, ...]]
    non_local: Callable[[int], NonLocal]

    def kernel_size(self, stage: int, block: int) -> int:
        """Frames that the first convolution of a block sees; stages count from 1, blocks from 0."""
        if self.kind == "slowonly":
            return 3 if stage >= 3 else 1
        sees = stage == 1 or block % 2 == (1 if stage == 4 else 0)
        return 3 if self.kind == "i3d" and sees else 1


class InflatedResNet(VideoModel):
    """A bottleneck ResNet on `N C T H W`; the sides of a clip shrink by 32.

    Args:
        design: of stem and blocks.
        num_classes: outputs of the classifier.
        width: multiplies all channels.
        dropout: before the classifier.
        spec: of the clips.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, design: Design, num_classes: int, width: float, dropout: float, spec: ClipSpec) -> None:
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
    """Clips cover 64 frames of a video: 32 every second, or 8 every eighth where the stem does not shrink time."""
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
    """R2D: no convolution sees time. I3D: every second block does. SlowOnly: all blocks of the last two stages.

    Args:
        depth: fixed by the name.
        kind: fixed by the name.
        num_classes: outputs.
        frames: T; None is 8, and 32 for an I3D whose stem shrinks time.
        width: multiplies all channels.
        dropout: before the classifier.
        stem_stride: in time, of the stem's 5x7x7 convolution and of its pooling. 2 gives the paper's operations and 8
            steps from 32 frames, as mmaction2 and gluon-cv; 1 is for the releases of PySlowFast and PyTorchVideo.
        pool2: halves time after the first stage, as all these releases of I3D and most of R2D (C2D) do; the
            operations of CIDC's table 1 are those without it.
        pool_padding: the max pooling of the stem has a border of one pixel; that of mmaction2's C2D has none.
    """
    design = Design(depth, kind, stem_stride, pool2, pool_padding, {}, NonLocal)
    return InflatedResNet(design, num_classes, width, dropout, _spec(kind, frames, stem_stride))


# Stack 2 and 4 of the second stage and 2, 4 and 6 of the third, or all of both (Non-local neural networks, section 5).
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
    """R2D and I3D with non-local blocks, which start without any effect.

    Args:
        depth: fixed by the name.
        kind: fixed by the name.
        num_classes: outputs.
        frames: T; None is 8, and 32 for an I3D whose stem shrinks time.
        width: multiplies all channels.
        nl: `nl5`: two blocks in the second stage and three in the third; `nl10`: after all blocks of both.
        attention: how much each position counts for another: `embedded_gaussian`, the softmax of the products of theta
            and phi; `gaussian`, that of the features themselves; `dot_product`, the products over their number.
        sub_sample: only the maximum of every 2x2 pixels is looked at: `after` the convolutions phi and g, as the paper
            says and mmaction2 does; `before` them, as PySlowFast; `none`: all are, as in gluon-cv.
        scaled: divides what goes into the softmax by the root of its channels, as PySlowFast and gluon-cv do.
        dropout: before the classifier.
        stem_stride: in time, of the stem's 5x7x7 convolution and of its pooling; 1 is for the releases of PySlowFast
            and PyTorchVideo.
        pool2: halves time after the first stage, as the releases do; the paper's operations are those without it.
        pool_padding: the max pooling of the stem has a border of one pixel; that of mmaction2's C2D has none.
    """

    def block(channels: int) -> NonLocal:
        return NonLocal(channels, attention=attention, sub_sample=sub_sample, scaled=scaled)

    design = Design(depth, kind, stem_stride, pool2, pool_padding, _PLACES[nl], block)
    return InflatedResNet(design, num_classes, width, dropout, _spec(kind, frames, stem_stride))
