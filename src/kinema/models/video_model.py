"""What every network of the zoo is and offers."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.models.initialisation import plain_convolutions
from kinema.ops.layout import channels_last, check_clips


class VideoModel(nn.Module):
    """Base of all networks: clips N 3 T H W -> logits N K.

    Attributes:
        classifier: the final linear layer.
        clip_spec: how clips for it are made.
        feature_maps: names of the stages one may look at, in order; each gives N C T H W.
        architecture: name and resolved options (defaults included) from which `create_model` builds it again.
        resolved: the values of options that were left at None and that the family then chose, by their names.
        recurrence_rate: factor of the learning rate of its recurrent cells, unless the training gives another.
        trunk_product: whether blocks multiply their whole output, the shortcut included, by recurrent states.
    """

    classifier: nn.Linear
    clip_spec: ClipSpec
    feature_maps: tuple[str, ...]
    architecture: dict[str, Any]
    recurrence_rate = 1.0
    trunk_product = False

    def __init__(self) -> None:
        super().__init__()
        self.resolved: dict[str, Any] = {}
        self.class_regularisation = nn.ModuleDict()  # stage -> ClassRegularisation, see `create_model`

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
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def stage(self, name: str, x: Tensor) -> Tensor:
        """One of `feature_maps`, and after it its Class Regularisation, if it has one."""
        x = getattr(self, name)(x)
        if name in self.class_regularisation:
            x = self.class_regularisation[name](x, self.classifier.weight)
        return x

    def forward_features(self, x: Tensor) -> Tensor:
        """N 3 T H W -> N C T' H' W', what comes out of the last stage."""
        x = check_clips(x).contiguous(memory_format=torch.channels_last_3d)
        for name in self.feature_maps:
            x = self.stage(name, x)
        return x

    def reset_classifier(self, num_classes: int) -> None:
        """A new final layer with `num_classes` outputs and small random weights."""
        old = self.classifier
        self.classifier = nn.Linear(old.in_features, num_classes).to(old.weight.device, old.weight.dtype)
        self._start_classifier()
        self.architecture["options"]["num_classes"] = num_classes
