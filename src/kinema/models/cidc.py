"""The multi-scale CIDC network on the last stages of any other network.

Source: Li, Shuai and Tighe, Directional Temporal Modeling for Action Recognition, ECCV 2020. The text does not give the
numbers of units in its figure 3. The default, one on each of three stages, is the smallest network that it describes;
the `_table` names have the numbers that give the operations and parameters of its table 1.
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
    """A backbone F and the multi-scale network F_CIDC on it; both are fused and pooled (equation 2).

    Clips of other lengths than `frames` also work: the features of the stages are interpolated over time to the number
    of steps of the kernels. The last of `feature_maps`, `cidc`, is F_CIDC. With the direction `bi`, its first half goes
    forward through the clip and its second half, in its own order, through the reversed clip.

    Args:
        backbone: network whose features it uses.
        scales: builds F_CIDC for the shapes of the backbone's stages.
        fusion: see `cidc`.
        head: see `cidc`.
        num_classes: number of outputs of the classifier.
        dropout: dropout rate before the classifier.
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
        """The stages of the backbone that F_CIDC uses."""
        return {*self.cidc.levels, *self.cidc.sources.values()}

    def run_stages(self, x: Tensor, watch: Watch = unchanged) -> Tensor:
        """N 3 T H W -> F and F_CIDC fused; N C T' H' W'."""
        return self._fused(*self.both(x, watch))

    def _fused(self, f: Tensor, directional: Tensor) -> Tensor:
        if self.fusion == "sum":
            return f + directional
        return torch.cat([f, directional], 2 if self.fusion == "time" else 1)

    @property
    def window(self) -> int:
        """Number of frames that determine the result for one frame of a stream: that frame and those before it."""
        return self.shapes[self.cidc.levels[-1]].steps

    def initial_state(self, batch: int, *, size: int | tuple[int, int] | None = None, delayed: bool = False) -> State:
        """Returns the state of streams before their first frame: the maps of the last `window` frames.

        Args:
            batch: N, number of streams.
            size: H and W of the frames; None means `clip_spec.tested`.
            delayed: rejected, because no result is delayed.

        Returns:
            Name -> tensor with N rows, see `FrameModel.initial_state`.

        Raises:
            KinemaError: `delayed` is set, the frames of the backbone depend on each other, there is Class
                Regularisation, or there is no classifier.
        """
        check_streaming(self, batch)
        if delayed:
            raise KinemaError(f"{self.architecture['name']} has no delayed mode, because no result is delayed")
        if not self.backbone.per_frame:
            raise KinemaError(
                f"{self.architecture['name']} cannot stream on {self.backbone.architecture['name']}, whose frames "
                "depend on each other: use a backbone that processes frames separately, such as r2d_50 or tsn_r50, or "
                "classify sliding windows; causal=True does not help, because the maps depend on where a window begins"
            )
        some = next(self.parameters())
        height, width = (size, size) if isinstance(size, int) else size or (self.clip_spec.tested,) * 2
        with in_evaluation(self), torch.no_grad():
            maps = self.maps(some.new_zeros(1, 3, 1, height, width), self.wanted)
        rows = {name: y.new_zeros(batch, y.shape[1], self.window, *y.shape[3:]) for name, y in maps.items()}
        seen = torch.zeros(batch, dtype=torch.int64, device=some.device)
        return {SEEN: seen, SIZE: torch.tensor([[height, width]], device=some.device).repeat(batch, 1), **rows}

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Computes the logits of the next frames of N streams, each for the window that ends with that frame.

        The backbone processes every frame once, the layers on it every window. Before the first frame, a window is
        filled with copies of the first frame.

        Args:
            frames: N 3 t H W.
            state: result of `initial_state` or of the previous step; it is not changed.

        Returns:
            Logits N t K, and the state after them.

        Raises:
            KinemaError: the frames have another shape than the state.
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
        """Shows where a stage is active, as the paper draws it (figures 1 and 4): N 3 T H W -> N 1 T' H' W' in (0, 1).

        Args:
            x: clips.
            stage: a stage of the backbone, or `cidc`, whose steps are those of F_CIDC, see `CIDC`.
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
    """CIDC on another network.

    Args:
        num_classes: number of outputs.
        frames: T; None is the default of the backbone.
        width: factor of the channels of the backbone, and so of all channels.
        backbone: name of a model (see `kinema models`).
        backbone_options: further options of the backbone.
        freeze_backbone: train only the layers on the backbone. The paper does not say; by default all layers are
            trained.
        stages: stages of the backbone that have units; None means its last three. Their results go to the last stage of
            the backbone even if it has no units.
        units: number of units, one number for all stages or one per stage. The `_table` names fix (3, 3, 6).
        direction: `uni`: a step of the result uses its own part of the clip and earlier ones; `bi`: half of the
            steps do so on the clip, the other half on the reversed clip; `none`: every step uses all (table 4b).
        normalise: scales the softmax of the kernels to [-1, 1]: `matrix`, all values of a channel together, as the text
            says, which makes late steps nearly minus the sum of all that they use; `row`, each step separately;
            `affine`, 2 p - 1; `none` keeps the softmax, a weighted mean.
        mask: which of the T steps each of the T' steps uses in a direction: `progressive`, step t uses the first
            ceil((t + 1) T / T'); `bilinear`, the paper's rule, a resized triangle, which is the same if T' = T.
        kernel_size: height and width of the directional kernels; 1 in the paper.
        aggregation: `chain`: the result of each stage goes to the next stage; `dense`: to all later ones.
        links: `stages`: only results of stages go to others; `units`: the output of each unit also goes to other
            stages, after the unit with the same number, as in HRNet, on which the paper's design is based.
        attention: the stage of the backbone whose spatial attention weights a stage before its units: `adjacent`, the
            next one; `last`, the last one; `none` (table 4a).
        fusion: how F and F_CIDC are joined: along `time` or `channels`, or their `sum` (table 5b). With the head
            `pool`, `time` is the mean of both and `sum` twice that: the same network except for the scale.
        head: `pool` over time and space, or `flatten`: over space only, so that the classifier sees every step.
        dropout: dropout rate before the classifier.

    Raises:
        KinemaError: the backbone does not have a stage, or the number of units is not given per stage.
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
    """Returns stage -> number of units, in the order of the backbone."""
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
