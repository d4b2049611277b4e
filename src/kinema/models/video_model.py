"""The interface of every network of the zoo."""

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

# Called with the name and the output of each stage; what it returns goes on to the next stage.
Watch = Callable[[str, Tensor], Tensor]
Maps = dict[str, Tensor | tuple[Tensor, ...]]


def unchanged(name: str, x: Tensor) -> Tensor:
    """The `Watch` that does nothing."""
    return x


def average(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The mean over some dimensions, summed in float32 at least."""
    return x.mean(dims, dtype=torch.promote_types(x.dtype, torch.float32)).to(x.dtype)


def check_num_classes(num_classes: object) -> int:
    """Refuses what is not a number of outputs; 0 is a network without classifier."""
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 0:
        raise KinemaError(f"num_classes is {num_classes!r}: give an integer of at least 0 (0 for the pooled embedding)")
    return num_classes


class VideoModel(nn.Module):
    """Base of all networks: clips N 3 T H W -> logits N K, or with `num_classes=0` the pooled embedding N F.

    `forward(x)` is `forward_head(forward_features(x))`.

    Attributes:
        num_features: F, the inputs of the classifier.
        classifier: the final linear layer; `nn.Identity` where `num_classes` is 0.
        dropout: before the classifier.
        clip_spec: how clips for it are made.
        feature_maps: names of the stages, in order; `get_submodule` finds each.
        architecture: name and resolved options (defaults included) from which `create_model` builds it again.
        resolved: the values of options that were left at None and that the family then chose, by their names.
        recurrence_rate: factor of the learning rate of its recurrent cells, unless the training gives another.
        per_frame: whether no frame sees another one before the head.
        takes_pixels: whether its input is pixels, uint8 RGB N T H W 3, which it normalises itself, as some exported
            files do.
        trunk_product: whether blocks multiply their whole output, the shortcut included, by recurrent states.
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
        """K, the outputs of the classifier; 0 where the network has none."""
        return self.classifier.out_features if isinstance(self.classifier, nn.Linear) else 0

    def add_classifier(self, num_features: int, num_classes: int) -> None:
        """Sets `num_features` and `classifier`; for constructors."""
        self.num_features = num_features
        made = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()
        self.classifier = made  # type: ignore[assignment]  # Identity only where there are no classes

    def initialise(self, *, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
        """He initialisation of the network's plain convolutions, N(0, 0.01) for the classifier.

        A family calls it last: it also lays all kernels out channels-last, those of 2-D and of 3-D convolutions.
        Operators own their initialisation: what they hold keeps its weights, see `plain_convolutions`.

        Args:
            mode: whether the variance of a convolution's weights follows from its inputs or its outputs.
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
        """One of `feature_maps`, and after it its Class Regularisation, if it has one."""
        return self.regularised(name, self.get_submodule(name)(x))

    def regularised(self, name: str, x: Tensor) -> Tensor:
        """The output of a stage, after its Class Regularisation, if it has one."""
        if name in self.class_regularisation:
            x = self.class_regularisation[name](x, self.classifier.weight)
        return x

    def run_stages(self, x: Tensor, watch: Watch = unchanged) -> Tensor:
        """Runs all stages; what a family overrides where its stages do not simply follow one another.

        Args:
            x: clips N 3 T H W.
            watch: called with the name and the output of each stage.

        Returns:
            What `forward_head` takes.
        """
        x = check_clips(x).contiguous(memory_format=torch.channels_last_3d)
        for name in self.feature_maps:
            x = watch(name, self.stage(name, x))
        return x

    def pathways(self, name: str, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The output of a stage as `forward_intermediates` gives it: one map, or one per pathway."""
        return x

    def pathway_names(self, name: str) -> tuple[str, ...]:
        """The names of the maps that `pathways` gives for a stage; empty where it gives one map."""
        return ()

    def forward_features(self, x: Tensor) -> Tensor:
        """N 3 T H W -> N C T' H' W', the features that the head pools."""
        return self.run_stages(x)

    def forward_intermediates(self, x: Tensor, stages: Iterable[str] | None = None) -> tuple[Tensor, Maps]:
        """The features, and what comes out of the stages on the way, Class Regularisation included.

        Args:
            x: clips N 3 T H W.
            stages: some of `feature_maps`; None is all.

        Returns:
            What `forward_head` takes, and stage -> map N C T' H' W' in the order of `feature_maps`. A network of two
            pathways gives a tuple of maps per stage.

        Raises:
            KinemaError: a stage that the network does not have.
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
            features: N C T H W, of `forward_features` or `forward_intermediates`.
            pre_logits: give the pooled embedding, before dropout.

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
            num_classes: outputs of the new layer, which starts with small random weights. 0 removes the layer, so that
                the output is the pooled embedding; a later call can bring one back.

        Raises:
            KinemaError: not a number of outputs, or 0 with Class Regularisation, which reads the classifier.
        """
        if not check_num_classes(num_classes) and self.class_regularisation:
            raise KinemaError(
                "num_classes is 0, but class_regularisation reads the classifier: give the number of classes, or build "
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
        """The state of streams of which no frame has been seen; see `FrameModel` and `CIDC`, which have one.

        Raises:
            KinemaError: this network cannot stream.
        """
        raise self._no_stream()

    def step(self, frames: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits of the next frames of streams; see `initial_state`.

        Raises:
            KinemaError: this network cannot stream.
        """
        raise self._no_stream()

    def _no_stream(self) -> KinemaError:
        return KinemaError(
            f"{self.architecture['name']} cannot stream, because its result for a frame depends on the whole clip: "
            "classify sliding windows, or take a network over frames, such as stm_r50 or tsm_efficientnet_lite0 with "
            "causal=True"
        )

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades time for memory in training: blocks keep only their inputs and run again in the backward pass.

        Outputs, gradients and the statistics of BatchNorm stay the same.

        Args:
            enable: False keeps all activations again.
        """
        for module in self.modules():
            if isinstance(module, Stack):
                module.grad_checkpointing = bool(enable)
