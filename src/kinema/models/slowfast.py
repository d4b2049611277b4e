"""SlowFast: a wide pathway on few frames and a narrow one on all frames.

A stage returns both pathways in one tensor N C T H W with the T of the slow one: first the channels of the slow
pathway, then those of the fast one, once for each of the `alpha` fast frames per slow frame. No information is lost.
Stages therefore follow each other as in any other network, and code that shows, regularises or uses feature maps sees
both pathways. The last stage returns the mean of those fast frames, so that it has the channels of the classifier.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.models.checkpointing import Stack
from kinema.models.i3d_blocks import EXPANSION, LAYERS, Bottleneck, Stem
from kinema.models.registry import register
from kinema.models.video_model import VideoModel
from kinema.ops.arguments import Count, OddCount, Range
from kinema.ops.conv import Conv3d
from kinema.ops.nonlocal_attention import NonLocal

SlowFrames = Literal["strided", "spread"]

BETA = 8  # the slow pathway has this many times the channels of the fast one
NON_LOCAL = (6, 13, 20)  # blocks of the third stage, as in the authors' release


def join(slow: Tensor, fast: Tensor) -> Tensor:
    """Both pathways in one tensor: N C T H W, N F (A T) H W -> N (C + A F) T H W."""
    alpha = fast.shape[2] // slow.shape[2]
    every = [slow, *(fast[:, :, a::alpha] for a in range(alpha))]
    return torch.cat([x.permute(0, 2, 3, 4, 1) for x in every], 4).permute(0, 4, 1, 2, 3)  # stays channels-last


def part(x: Tensor, slow_channels: int, alpha: int) -> tuple[Tensor, Tensor]:
    """The inverse of `join`."""
    n, _, t, h, w = x.shape
    fast = x[:, slow_channels:].permute(0, 2, 3, 4, 1).unflatten(4, (alpha, -1))  # N T H W A F
    fast = fast.permute(0, 1, 4, 2, 3, 5).reshape(n, t * alpha, h, w, -1)
    return x[:, :slow_channels], fast.permute(0, 4, 1, 2, 3)


class TwoStems(nn.Module):
    """Stems of both pathways, 1x7x7 and 5x7x7; N 3 T H W -> joined.

    If T is not a multiple of `alpha`, the last frame is repeated until it is.
    """

    def __init__(self, channels: int, fast_channels: int, alpha: int, slow_frames: SlowFrames) -> None:
        super().__init__()
        self.alpha, self.slow_frames = alpha, slow_frames
        self.slow = Stem(channels, 1)
        self.fast = Stem(fast_channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        """N 3 T H W -> N (C + A F) T/A H/4 W/4."""
        lacking = -x.shape[2] % self.alpha
        if lacking:
            x = torch.cat([x, x[:, :, -1:].expand(-1, -1, lacking, -1, -1)], 2)
        return join(self.slow(x[:, :, self._chosen(x.shape[2])]), self.fast(x))

    def _chosen(self, frames: int) -> slice | list[int]:
        if self.slow_frames == "strided":
            return slice(None, None, self.alpha)
        count = frames // self.alpha
        return [i * (frames - 1) // max(1, count - 1) for i in range(count)]


class Lateral(nn.Sequential):
    """The fast pathway, reduced to the frames of the slow one by a strided Kx1x1 convolution, with twice its channels.

    Args:
        channels: channels of the fast pathway.
        kernel_size: K.
        alpha: stride.
        normalise: add BatchNorm and ReLU after it.
    """

    def __init__(self, channels: int, kernel_size: int, alpha: int, normalise: bool) -> None:
        super().__init__()
        self.conv = Conv3d(
            channels, 2 * channels, (kernel_size, 1, 1), (alpha, 1, 1), (kernel_size // 2, 0, 0), bias=False
        )
        if normalise:
            self.bn = nn.BatchNorm3d(2 * channels)
            self.relu = nn.ReLU(inplace=True)


class TwoStages(nn.Module):
    """One stage of both pathways; joined -> joined, in the last stage N (C + F) T H W.

    Args:
        fuse: adds the fast pathway to the slow one.
        slow: blocks of the slow pathway.
        fast: blocks of the fast pathway.
        slow_channels: channels of the slow pathway before the stage.
        alpha: number of fast frames per slow frame.
        last: average the fast frames.
    """

    def __init__(
        self, fuse: nn.Module, slow: nn.Module, fast: nn.Module, slow_channels: int, alpha: int, last: bool
    ) -> None:
        super().__init__()
        self.fuse, self.slow, self.fast = fuse, slow, fast
        self.slow_channels, self.alpha, self.last = slow_channels, alpha, last

    def forward(self, x: Tensor) -> Tensor:
        """N (C + A F) T H W -> N (C' + A F') T H' W'."""
        slow, fast = part(x, self.slow_channels, self.alpha)
        slow = self.slow(torch.cat([slow, self.fuse(fast)], 1))
        fast = self.fast(fast)
        if self.last:
            frames = fast.permute(0, 2, 3, 4, 1).unflatten(1, (-1, self.alpha))  # N T A H W F
            fast = frames.mean(2).permute(0, 4, 1, 2, 3)
        return join(slow, fast)


class SlowFast(VideoModel):
    """SlowFast; the slow pathway has T / alpha steps, the height and width of a clip are reduced by 32.

    Args:
        depth: 50 or 101.
        non_local: add non-local blocks to the third stage of the slow pathway.
        num_classes: number of outputs of the classifier.
        frames: T, the number of frames of the fast pathway.
        width: factor of all channels.
        dropout: dropout rate before the classifier.
        alpha: number of fast frames per slow frame.
        fusion_taps: number of frames that a lateral convolution covers.
        fusion_norm: add BatchNorm and ReLU after the lateral convolutions.
        temporal_blocks: largest number of first blocks of a stage with 3x1x1 convolutions.
        slow_frames: which frames the slow pathway receives.
    """

    feature_maps = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        depth: int,
        non_local: bool,
        num_classes: int,
        frames: int,
        width: float,
        dropout: float,
        alpha: int,
        fusion_taps: int,
        fusion_norm: bool,
        temporal_blocks: int,
        slow_frames: SlowFrames,
    ) -> None:
        super().__init__()
        self.clip_spec = ClipSpec(
            frames=frames, stride=2, sampler="dense", mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225)
        )
        base = slow_channels = max(1, round(64 * width))
        fast_base = fast_channels = max(1, round(base / BETA))
        self.stem = TwoStems(base, fast_base, alpha, slow_frames)
        self.alpha, self.slow_channels = alpha, {"stem": base}
        for stage, count in enumerate(LAYERS[depth], 1):
            fuse = Lateral(fast_channels, fusion_taps, alpha, fusion_norm)
            into, fast_into = slow_channels + 2 * fast_channels, fast_channels
            inner, fast_inner = base * 2 ** (stage - 1), fast_base * 2 ** (stage - 1)
            slow, fast = [], []
            for j in range(count):
                stride, kernel_size = 2 if stage > 1 and j == 0 else 1, 3 if j < temporal_blocks else 1
                after = NonLocal(inner * EXPANSION, attention="dot_product", sub_sample="before") if (
                    non_local and stage == 3 and j in NON_LOCAL
                ) else None  # fmt: skip
                slow.append(Bottleneck(into, inner, stride, kernel_size if stage >= 3 else 1, after))
                fast.append(Bottleneck(fast_into, fast_inner, stride, kernel_size))
                into, fast_into = inner * EXPANSION, fast_inner * EXPANSION
            made = TwoStages(fuse, Stack(*slow), Stack(*fast), slow_channels, alpha, stage == 4)
            setattr(self, f"layer{stage}", made)
            slow_channels, fast_channels = into, fast_into
            self.slow_channels[f"layer{stage}"] = slow_channels
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(slow_channels + fast_channels, num_classes)
        self.initialise()

    def pathways(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Joined -> the maps of the slow pathway, N C T H W, and of the fast one, N F (A T) H W.

        In the last stage, the fast one has the T of the slow one.
        """
        return part(x, self.slow_channels[name], 1 if name == self.feature_maps[-1] else self.alpha)

    def pathway_names(self, name: str) -> tuple[str, ...]:
        """Every stage has both pathways."""
        return ("slow", "fast")


@register(
    {
        "slowfast_50": {"depth": 50, "non_local": False},
        "slowfast_101": {"depth": 101, "non_local": False},
        "slowfast_nl_101": {"depth": 101, "non_local": True},
    },
    paper="SlowFast, ICCV 2019",
)
def slowfast(
    depth: int,
    non_local: bool,
    num_classes: int = 400,
    frames: int = 32,
    width: float = 1.0,
    *,
    dropout: float = 0.5,
    alpha: Count = 4,
    fusion_taps: OddCount | None = None,
    fusion_norm: bool = True,
    temporal_blocks: Annotated[int, Range(0)] | None = None,
    slow_frames: SlowFrames = "strided",
) -> SlowFast:
    """SlowFast 8x8; 4x16 is `alpha=8, fusion_taps=5`, 16x8 of depth 101 `frames=64, temporal_blocks=6`.

    Args:
        depth: fixed by the name.
        non_local: fixed by the name; dot products, sub-sampled before phi and g, as in the authors' release.
        num_classes: number of outputs.
        frames: T, the number of frames of the fast pathway.
        width: factor of all channels; the fast pathway has an eighth of them.
        dropout: dropout rate before the classifier.
        alpha: number of fast frames per slow frame.
        fusion_taps: number of frames that a lateral convolution covers; None is that of the releases: 7 for depth 50,
            5 for depth 101 (and for 4x16).
        fusion_norm: add BatchNorm and ReLU after the lateral convolutions; those of mmaction2 have neither.
        temporal_blocks: largest number of first blocks of a stage with 3x1x1 convolutions; None is that of the
            releases: all, or 6 with non-local blocks. 6 gives the operations and parameters in the paper for R101.
        slow_frames: `strided`: every `alpha`-th frame, as in the paper; `spread`: evenly from first to last, as in the
            releases of PySlowFast and PyTorchVideo.
    """
    if fusion_taps is None:
        fusion_taps = 7 if depth == 50 else 5
    if temporal_blocks is None:
        temporal_blocks = 6 if non_local else max(LAYERS[depth])
    model = SlowFast(
        depth, non_local, num_classes, frames, width, dropout, alpha, fusion_taps, fusion_norm, temporal_blocks,
        slow_frames,
    )  # fmt: skip
    model.resolved = {"fusion_taps": fusion_taps, "temporal_blocks": temporal_blocks}
    return model
