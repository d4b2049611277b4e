"""The multi-scale CIDC network on the last stages of any network of the zoo.

Source: Li, Shuai and Tighe, Directional Temporal Modeling for Action Recognition, ECCV 2020. The numbers of
units in its figure 3 are not in the text: one on each of three stages, the default, is the smallest network that it
describes; the `_table` names have as many as give the operations and parameters of its table 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError, unknown
from kinema.models.attached import Attached, Backbone, StageShape, resample
from kinema.models.cidc_blocks import Aggregation, Attention, CIDCUnit, Links, MultiScale
from kinema.models.modes import in_evaluation
from kinema.models.registry import register
from kinema.models.streaming import check_state, check_streaming
from kinema.models.video_model import Watch, average, unchanged
from kinema.ops.arguments import OddCount
from kinema.ops.cidc import Direction, Mask, Normalise, spatial_attention
from kinema.ops.streaming import SEEN, SIZE, State

Fusion = Literal["time", "channels", "sum"]
Head = Literal["pool", "flatten"]


class CIDC(Attached):
    """A backbone F, the multi-scale network F_CIDC on it, both fused and pooled (equation 2).

    Clips of other lengths than `frames` run too: the features of the stages are interpolated over time to the steps
    that the kernels have. The last of `feature_maps`, `cidc`, is F_CIDC. With the direction `bi` its first half runs
    through the clip and the second one, in its own order, through the reversed clip.

    Args:
        backbone: what it stands on.
        scales: makes F_CIDC for the shapes of the backbone's stages.
        fusion: see `cidc`.
        head: see `cidc`.
        num_classes: outputs of the classifier.
        dropout: before the classifier.
    """

    def __init__(
        self,
        backbone: Backbone,
        scales: Callable[[Mapping[str, StageShape]], MultiScale],
        fusion: Fusion,
        head: Head,
        num_classes: int,
        dropout: float,
    ) -> None:
        super().__init__(backbone)
        self.feature_maps = (*self.backbone.feature_maps, "cidc")
        self.cidc, self.fusion, self.head = scales(self.shapes), fusion, head
        last = self.shapes[self.cidc.levels[-1]]
        features = last.channels * (2 if fusion == "channels" else 1)
        if head == "flatten":
            features *= last.steps * (2 if fusion == "time" else 1)
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(features, num_classes)
        self.start()

    def both(self, x: Tensor, watch: Watch = unchanged) -> tuple[Tensor, Tensor]:
        """N 3 T H W -> F, F_CIDC, both N C T' H' W'."""
        maps = {name: resample(y, self.shapes[name].steps) for name, y in self.maps(x, self.wanted, watch).items()}
        return maps[self.cidc.levels[-1]], watch("cidc", self.regularised("cidc", self.cidc(maps)))

    @property
    def wanted(self) -> set[str]:
        """The stages of the backbone whose maps F_CIDC is made from."""
        return {*self.cidc.levels, *self.cidc.sources.values()}

    def run_stages(self, x: Tensor, watch: Watch = unchanged) -> Tensor:
        """N 3 T H W -> F and F_CIDC, fused; N C T' H' W'."""
        return self._fused(*self.both(x, watch))

    def _fused(self, f: Tensor, directional: Tensor) -> Tensor:
        if self.fusion == "sum":
            return f + directional
        return torch.cat([f, directional], 2 if self.fusion == "time" else 1)

    @property
    def window(self) -> int:
        """Frames that the result for one frame of a stream is made from: it and those before it."""
        return self.shapes[self.cidc.levels[-1]].steps

    def initial_state(self, batch: int, *, size: int | tuple[int, int] | None = None, delayed: bool = False) -> State:
        """The state of streams of which no frame has been seen: the maps of the last `window` frames.

        Args:
            batch: N, how many streams.
            size: H and W of the frames; None is `clip_spec.tested`.
            delayed: refused, because nothing is late.

        Returns:
            Name -> tensor of N rows, see `FrameModel.initial_state`.

        Raises:
            KinemaError: `delayed`, a backbone in which frames see one another, Class Regularisation, or no classifier.
        """
        check_streaming(self, batch)
        if delayed:
            raise KinemaError(f"{self.architecture['name']} has no delayed mode, because no answer is late")
        if not self.backbone.per_frame:
            raise KinemaError(
                f"{self.architecture['name']} cannot stream on {self.backbone.architecture['name']}, whose frames see "
                "one another: take a backbone that sees each frame by itself, such as r2d_50 or tsn_r50, or classify "
                "sliding windows; causal=True does not help, because the maps depend on where a window begins"
            )
        some = next(self.parameters())
        height, width = (size, size) if isinstance(size, int) else size or (self.clip_spec.tested,) * 2
        with in_evaluation(self), torch.no_grad():
            maps = self.maps(some.new_zeros(1, 3, 1, height, width), self.wanted)
        rows = {name: y.new_zeros(batch, y.shape[1], self.window, *y.shape[3:]) for name, y in maps.items()}
        seen = torch.zeros(batch, dtype=torch.int64, device=some.device)
        return {SEEN: seen, SIZE: torch.tensor([[height, width]], device=some.device).repeat(batch, 1), **rows}

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits of the next frames of N streams, each of the window that ends with it.

        The backbone sees every frame once, what stands on it sees every window. Before the first frame a window holds
        the first frame again.

        Args:
            frames: N 3 t H W.
            state: of `initial_state` or of the step before; it is not changed.

        Returns:
            Logits N t K and the state after them.

        Raises:
            KinemaError: frames of another shape than the state is for.
        """
        check_state(frames, state)
        whole = {}
        for name, y in self.maps(frames, self.wanted).items():
            new = (state[SEEN] == 0)[:, None, None, None, None]
            whole[name] = torch.cat([torch.where(new, y[:, :, :1], state[name].to(y.dtype)), y], 2)
        logits = []
        for i in range(1, frames.shape[2] + 1):
            maps = {name: y[:, :, i : i + self.window] for name, y in whole.items()}
            logits.append(self.forward_head(self._fused(maps[self.cidc.levels[-1]], self.cidc(maps))))
        after = {name: y[:, :, -self.window :].clone() for name, y in whole.items()}
        return torch.stack(logits, 1), {SEEN: state[SEEN] + frames.shape[2], SIZE: state[SIZE], **after}

    def pool(self, features: Tensor) -> Tensor:
        """N C T H W -> N F."""
        return average(features, (2, 3, 4)) if self.head == "pool" else average(features, (3, 4)).flatten(1)

    def attention(self, x: Tensor, stage: str = "cidc") -> Tensor:
        """Where a stage is active, as the paper draws it (figures 1 and 4): N 3 T H W -> N 1 T' H' W' in (0, 1).

        Args:
            x: clips.
            stage: of the backbone, or `cidc`, whose steps are those of F_CIDC, see `CIDC`.
        """
        if stage not in (*self.shapes, "cidc"):
            raise unknown("stage", stage, [*self.shapes, "cidc"])
        return spatial_attention(self.both(x)[1] if stage == "cidc" else self.maps(x, [stage])[stage])


BACKBONES = ("r2d_50", "r2d_nl_50", "i3d_50", "i3d_nl_50", "slowonly_50")


@register(
    {"cidc": {}}
    | {f"cidc_{name}": {"backbone": name} for name in BACKBONES}
    | {f"cidc_{name}_table": {"backbone": name, "units": (3, 3, 6)} for name in BACKBONES},
    paper="CIDC, ECCV 2020",
)
def cidc(
    num_classes: int = 400,
    frames: int | None = None,
    width: float = 1.0,
    *,
    backbone: str = "i3d_50",
    backbone_options: Mapping[str, Any] | None = None,
    freeze_backbone: bool = False,
    stages: Sequence[str] | None = None,
    units: int | Sequence[int] = 1,
    direction: Direction = "bi",
    normalise: Normalise = "matrix",
    mask: Mask = "progressive",
    kernel_size: OddCount = 1,
    aggregation: Aggregation = "chain",
    links: Links = "stages",
    attention: Attention = "adjacent",
    fusion: Fusion = "time",
    head: Head = "pool",
    dropout: float = 0.6,
) -> CIDC:
    """CIDC on a network of the zoo.

    Args:
        num_classes: outputs.
        frames: T; None is what the backbone is meant for.
        width: multiplies the channels of the backbone, and so all.
        backbone: a name of the zoo.
        backbone_options: its further options.
        freeze_backbone: only what stands on the backbone learns. The paper does not say; all learns by default.
        stages: of the backbone, on which units stand; None is its last three. What they give flows to the last stage
            of the backbone even where no unit stands there.
        units: on each stage, one number for all or one for each. The `_table` names fix (3, 3, 6).
        direction: `uni`: a step of the result sees its own share of the clip and what is before; `bi`: so does one half
            of the steps, the other half on the reversed clip; `none`: every step sees all (table 4b).
        normalise: brings the softmax of the kernels to [-1, 1]: `matrix`, all that a channel sees at once, as the text
            reads, which makes late steps nearly minus the sum of all that they see; `row`, each step by itself;
            `affine`, 2 p - 1; `none` leaves the softmax, a weighted mean.
        mask: what a direction lets T' steps see of T: `progressive`, step t the first ceil((t + 1) T / T'); `bilinear`,
            the paper's rule, a resized triangle, the same where T' = T.
        kernel_size: height and width of the directional kernels; the paper has 1.
        aggregation: `chain`: each stage's result goes to the next stage; `dense`: to all later ones.
        links: `stages`: only results of stages go to others; `units`: so does what comes out of each unit, to after the
            unit of the same number, as in HRNet, on which the paper models itself.
        attention: whose spatial attention weighs a stage before its units: `adjacent`, the next stage of the backbone;
            `last`, its last one; `none` (table 4a).
        fusion: of F and F_CIDC: along `time` or `channels`, or their `sum` (table 5b). Under `pool` the first is the
            mean of both and the last its double: the same network but for the scale.
        head: `pool` over time and space, or `flatten`: over space only, and the classifier sees every step.
        dropout: before the classifier.

    Raises:
        KinemaError: a stage that the backbone has not, or not a number of units for each.
    """

    def scales(shapes: Mapping[str, StageShape]) -> MultiScale:
        placed = _placed(shapes, backbone, stages, units)
        unit = partial(CIDCUnit, direction=direction, normalise=normalise, mask=mask, kernel_size=kernel_size)
        return MultiScale(shapes, placed, unit, aggregation, attention, links)

    base = Backbone(backbone, frames, width, backbone_options, freeze_backbone)
    model = CIDC(base, scales, fusion, head, num_classes, dropout)
    model.resolved["stages"] = list(_chosen(model.shapes, stages))
    return model


def _chosen(shapes: Mapping[str, StageShape], stages: Sequence[str] | None) -> Sequence[str]:
    return list(shapes)[-3:] if stages is None else stages


def _placed(
    shapes: Mapping[str, StageShape], backbone: str, stages: Sequence[str] | None, units: int | Sequence[int]
) -> dict[str, int]:
    """Stage -> number of units, in the order of the backbone."""
    chosen = _chosen(shapes, stages)
    if isinstance(chosen, str) or not isinstance(chosen, Sequence) or not 0 < len(set(map(str, chosen))) == len(chosen):
        raise KinemaError(f"stages is {stages!r}: give a list of different stages of the backbone")
    for name in chosen:
        if name not in list(shapes):
            raise unknown(f"stage of {backbone}", str(name), shapes)
    counts = list(units) if isinstance(units, Sequence) else [units] * len(chosen)
    if len(counts) != len(chosen) or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in counts):
        raise KinemaError(
            f"units is {units!r}: give an integer above 0, or one for each of the stages {', '.join(chosen)}"
        )
    return dict(sorted(zip(chosen, counts, strict=True), key=lambda pair: list(shapes).index(pair[0])))
