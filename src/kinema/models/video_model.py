"""What every network of the zoo is and offers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kinema.clip_spec import ClipSpec


class VideoModel(nn.Module):
    """Base of all networks: clips N 3 T H W -> logits N K.

    Attributes:
        classifier: the final linear layer.
        clip_spec: how clips for it are made.
        feature_maps: names of the stages one may look at, in order; each gives N C T H W.
        architecture: name and options from which `create_model` builds it again.
    """

    classifier: nn.Linear
    clip_spec: ClipSpec
    feature_maps: tuple[str, ...]
    architecture: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.class_regularisation = nn.ModuleDict()  # stage -> ClassRegularisation, see `create_model`

    def stage(self, name: str, x: Tensor) -> Tensor:
        """One of `feature_maps`, and after it its Class Regularisation, if it has one."""
        x = getattr(self, name)(x)
        if name in self.class_regularisation:
            x = self.class_regularisation[name](x, self.classifier.weight)
        return x

    def forward_features(self, x: Tensor) -> Tensor:
        """N 3 T H W -> N C T' H' W', what the head pools; every family has its own."""
        raise AttributeError(f"{type(self).__name__} lacks forward_features")

    def reset_classifier(self, num_classes: int) -> None:
        """A new final layer with `num_classes` outputs and small random weights."""
        old = self.classifier
        self.classifier = nn.Linear(old.in_features, num_classes).to(old.weight.device, old.weight.dtype)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)
        self.architecture["options"]["num_classes"] = num_classes
