"""The interface of all networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, unknown
from kinema.models.checkpointing import Stack
from kinema.models.initialisation import plain_convolutions
from kinema.ops.layout import channels_last, check_clips

# Called with the name and the output of each stage; its result is the input of the next stage.
Watch = Callable[[str, Tensor], Tensor]
Maps = dict[str, Tensor | tuple[Tensor, ...]]


def unchanged(name: str, x: Tensor) -> Tensor:
    """The `Watch` that does nothing."""
    return x


def average(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Returns the mean over some dimensions, summed in float32 at least."""
    return x.mean(dims, dtype=torch.promote_types(x.dtype, torch.float32)).to(x.dtype)


def check_num_classes(num_classes: object) -> int:
    """Rejects values that are not a number of outputs; 0 means a network without classifier."""
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 0:
        raise KinemaError(f"num_classes is {num_classes!r}: give an integer of at least 0 (0 for the pooled embedding)")
    return num_classes


class VideoModel(nn.Module):
    """Base class of all networks: clips N 3 T H W -> logits N K, or with `num_classes=0` the pooled embedding N F.

    `forward(x)` is `forward_head(forward_features(x))`.

    Attributes:
        num_features: F, number of inputs of the classifier.
        classifier: the final linear layer; `nn.Identity` if `num_classes` is 0.
        dropout: dropout layer before the classifier.
        clip_spec: specification of its clips.
        feature_maps: names of the stages, in order; `get_submodule` finds each.
        architecture: name and resolved options (including defaults), from which `create_model` builds it again.
        resolved: values that the family chose for options left at None, by option name.
        recurrence_rate: factor of the learning rate of its recurrent cells, unless the training gives another one.
        per_frame: True if no frame depends on another one before the head.
        takes_pixels: True if its input is pixels, uint8 RGB N T H W 3, which it normalises itself, as some exported
            files do.
        trunk_product: True if blocks multiply their whole output, including the shortcut, by recurrent states.
    """

    num_features: int
    classifier: nn.Linear
    dropout: nn.Dropout
    clip_spec: ClipSpec
    feature_maps: tuple[str, ...]
    architecture: dict[str, Any]
    recurrence_rate = 1.0
    per_frame = False
    takes_pixels = False
    trunk_product = False

    def __init__(self) -> None:
        super().__init__()
        self.resolved: dict[str, Any] = {}
        self.class_regularisation = nn.ModuleDict()  # stage -> ClassRegularisation, see `create_model`

    @property
    def num_classes(self) -> int:
        """K, the number of outputs of the classifier; 0 if the network has none."""
        return self.classifier.out_features if isinstance(self.classifier, nn.Linear) else 0

    def add_classifier(self, num_features: int, num_classes: int) -> None:
        """Sets `num_features` and `classifier`; for constructors."""
        self.num_features = num_features
        made = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()
        self.classifier = made  # type: ignore[assignment]  # Identity only without classes

    def initialise(self, *, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
        """Initialises the network's plain convolutions (He) and its classifier, N(0, 0.01).

        A family calls it last: it also changes all kernels of 2-D and 3-D convolutions to the channels-last layout.
        Operators initialise themselves, and keep their weights here, see `plain_convolutions`.

        Args:
            mode: `fan_in` or `fan_out`: whether the variance of weights follows from a convolution's inputs or outputs.
        """
        for conv in plain_convolutions(self):
            nn.init.kaiming_normal_(conv.weight, mode=mode, nonlinearity="relu")
        self._start_classifier()
        channels_last(self)

    def _start_classifier(self) -> None:
        if self.num_classes:
            nn.init.normal_(self.classifier.weight, std=0.01)
            nn.init.zeros_(self.classifier.bias)

    def stage(self, name: str, x: Tensor) -> Tensor:
        """Applies a stage of `feature_maps` and then its Class Regularisation, if it has one."""
        return self.regularised(name, self.get_submodule(name)(x))

    def regularised(self, name: str, x: Tensor) -> Tensor:
        """Returns the output of a stage after its Class Regularisation, if it has one."""
        if name in self.class_regularisation:
            x = self.class_regularisation[name](x, self.classifier.weight)
        return x

    def run_stages(self, x: Tensor, watch: Watch = unchanged) -> Tensor:
        """Runs all stages; a family overrides it if its stages do not simply follow each other.

        Args:
            x: clips N 3 T H W.
            watch: called with the name and the output of each stage.

        Returns:
            The input of `forward_head`.
        """
        x = check_clips(x).contiguous(memory_format=torch.channels_last_3d)
        for name in self.feature_maps:
            x = watch(name, self.stage(name, x))
        return x

    def pathways(self, name: str, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Returns the output of a stage in the form of `forward_intermediates`: one map, or one per pathway."""
        return x

    def pathway_names(self, name: str) -> tuple[str, ...]:
        """Returns the names of the maps of `pathways` for a stage; empty if it has one map."""
        return ()

    def forward_features(self, x: Tensor) -> Tensor:
        """N 3 T H W -> N C T' H' W', the features that the head pools."""
        return self.run_stages(x)

    def forward_intermediates(self, x: Tensor, stages: Iterable[str] | None = None) -> tuple[Tensor, Maps]:
        """Returns the features and the outputs of the stages, including Class Regularisation.

        Args:
            x: clips N 3 T H W.
            stages: some of `feature_maps`; None means all.

        Returns:
            The input of `forward_head`, and stage -> map N C T' H' W' in the order of `feature_maps`. A network with
            two pathways returns a tuple of maps per stage.

        Raises:
            KinemaError: the network does not have a stage.
        """
        if isinstance(stages, str):
            raise KinemaError(f"stages is {stages!r}: give a list of stages, such as [{stages!r}]")
        wanted = self.feature_maps if stages is None else tuple(stages)
        for name in wanted:
            if name not in self.feature_maps:
                raise unknown("stage", str(name), self.feature_maps)
        maps: Maps = {}

        def keep(name: str, y: Tensor) -> Tensor:
            if name in wanted:
                maps[name] = self.pathways(name, y)
            return y

        return self.run_stages(x, keep), maps

    def pool(self, features: Tensor) -> Tensor:
        """N C T H W -> N F, the input of the classifier."""
        return average(features, (2, 3, 4))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Pools features and classifies them.

        Args:
            features: N C T H W, result of `forward_features` or `forward_intermediates`.
            pre_logits: return the pooled embedding, before dropout.

        Returns:
            Logits N K; with `pre_logits`, or without a classifier, the pooled embedding N F.
        """
        pooled = self.pool(features)
        return pooled if pre_logits or not self.num_classes else self.classifier(self.dropout(pooled))

    def forward(self, x: Tensor) -> Tensor:
        """N 3 T H W -> logits N K, or the pooled embedding N F where `num_classes` is 0."""
        return self.forward_head(self.forward_features(x))

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the final layer.

        Args:
            num_classes: number of outputs of the new layer, which starts with small random weights. 0 removes the
                layer, so that the output is the pooled embedding; a later call can add one again.

        Raises:
            KinemaError: the number is not valid, or is 0 with Class Regularisation, which needs the classifier.
        """
        if not check_num_classes(num_classes) and self.class_regularisation:
            raise KinemaError(
                "num_classes is 0, but class_regularisation needs the classifier: give the number of classes, or build "
                "the network without class_regularisation"
            )
        some = next(self.parameters())
        self.add_classifier(self.num_features, num_classes)
        self.classifier.to(some.device, some.dtype)
        self._start_classifier()
        self.architecture["options"]["num_classes"] = num_classes

    def initial_state(
        self, batch: int, *, size: int | tuple[int, int] | None = None, delayed: bool = False
    ) -> dict[str, Tensor]:
        """Returns the state of streams before their first frame; `FrameModel` and `CIDC` implement it.

        Raises:
            KinemaError: this network cannot stream.
        """
        raise self._no_stream()

    def step(self, frames: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the logits of the next frames of streams; see `initial_state`.

        Raises:
            KinemaError: this network cannot stream.
        """
        raise self._no_stream()

    def _no_stream(self) -> KinemaError:
        return KinemaError(
            f"{self.architecture['name']} cannot stream, because its result for a frame depends on the whole clip: "
            "classify sliding windows, or use a network on frames, such as stm_r50 or tsm_efficientnet_lite0 with "
            "causal=True"
        )

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades time for memory in training: blocks store only their inputs and run again in the backward pass.

        Outputs, gradients and BatchNorm statistics are the same.

        Args:
            enable: False stores all activations again.
        """
        for module in self.modules():
            if isinstance(module, Stack):
                module.grad_checkpointing = bool(enable)
