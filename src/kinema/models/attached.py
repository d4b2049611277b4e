"""Networks on top of the stages of another network: the shared parts of CIDC and of the heads it is compared with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.models.registry import EVERYWHERE, create_model
from kinema.models.video_model import VideoModel, Watch, unchanged

# Options that belong to the network on top of a backbone.
_OF_THE_WHOLE = ("num_classes", "frames", "width", "dropout", *EVERYWHERE)


@dataclass(frozen=True)
class StageShape:
    """Shape of a stage's output: its channels, and its time steps for a clip of the intended length."""

    channels: int
    steps: int


@dataclass(frozen=True)
class Backbone:
    """The backbone of a network, and its options.

    Attributes:
        name: name of a model.
        frames: T of the clips; None is the default of that model.
        width: factor of its channels.
        options: further options of the backbone.
        frozen: do not train it, and do not update its BatchNorm statistics.
    """

    name: str
    frames: int | None
    width: float
    options: Mapping[str, Any] | None
    frozen: bool

    def build(self) -> VideoModel:
        """Builds the network with its own head, on the default device."""
        if not isinstance(self.name, str):
            raise KinemaError(f"backbone is {self.name!r}: give the name of a model, `kinema models` lists them")
        if not isinstance(self.options, Mapping | None):
            raise KinemaError(f"backbone_options is {self.options!r}: give a mapping of option names to values")
        given = dict(self.options or {})
        for key in _OF_THE_WHOLE:
            if key in given:
                raise KinemaError(f"backbone_options contains {key}: give it as an option of the network itself")
        frames: dict[str, Any] = {} if self.frames is None else {"frames": self.frames}
        return create_model(self.name, num_classes=1, width=self.width, **frames, **given)


class Attached(VideoModel):
    """A network without its own head, as the backbone of another network.

    The stages of the backbone are stages of this network too, with the same names and before any further ones. If
    Class Regularisation follows them, it reads the classifier of the whole network. The backbone keeps only the parts
    that its features need.

    Attributes:
        shapes: output shapes of the backbone's stages.
        left_out: the parts of the backbone that are not needed, such as its classifier.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        with torch.device("meta"):
            twin = backbone.build()
        if isinstance(twin, Attached):
            raise KinemaError(f"the backbone {backbone.name} itself has a backbone: give a plain network")
        self.shapes, self.left_out = _shapes(twin), _outside_stages(twin)
        self.backbone, self.frozen = backbone.build(), backbone.frozen
        self.backbone.reset_classifier(0)
        for name in self.left_out:
            if name != "classifier":
                delattr(self.backbone, name)
        if self.frozen:
            self.backbone.requires_grad_(False).eval()
        options = self.backbone.architecture["options"].items()
        self.resolved = {"backbone_options": {k: v for k, v in options if k not in _OF_THE_WHOLE}}
        self.clip_spec = self.backbone.clip_spec
        self.feature_maps = self.backbone.feature_maps

    def get_submodule(self, target: str) -> nn.Module:
        """Finds a sub-module; stages of the backbone are also found by their own names."""
        own = target.partition(".")[0] in self.backbone.feature_maps
        return self.backbone.get_submodule(target) if own else super().get_submodule(target)

    def train(self, mode: bool = True) -> Attached:
        """Sets the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def maps(self, x: Tensor, stages: Collection[str], watch: Watch = unchanged) -> dict[str, Tensor]:
        """Runs the backbone.

        Args:
            x: clips N 3 T H W.
            stages: names of some stages of the backbone.
            watch: called with the name and the output of each of its stages.

        Returns:
            Stage -> N C T' H' W', after its Class Regularisation.
        """
        kept: dict[str, Tensor] = {}

        def keep(name: str, y: Tensor) -> Tensor:
            y = watch(name, self.regularised(name, y))
            if name in stages:
                kept[name] = y
            return y

        self.backbone.run_stages(x, keep)
        return kept

    def pathways(self, name: str, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Returns the pathways of a stage of the backbone; other stages have a single map."""
        return self.backbone.pathways(name, x) if name in self.backbone.feature_maps else x

    def pathway_names(self, name: str) -> tuple[str, ...]:
        """Returns the names of the pathways of a stage of the backbone; empty for other stages."""
        return self.backbone.pathway_names(name) if name in self.backbone.feature_maps else ()

    def start(self) -> None:
        """Initialises the parts on top of the backbone; the backbone keeps its own initialisation."""
        self.initialise()


def _outside_stages(network: VideoModel) -> tuple[str, ...]:
    """Returns the parts with weights that are in no stage, such as the classifier."""
    return tuple(
        name
        for name, child in network.named_children()
        if name not in network.feature_maps and next(child.parameters(), None) is not None
    )


def _shapes(twin: VideoModel) -> dict[str, StageShape]:
    """Computes the output shapes of a network's stages for a clip, on the meta device."""
    found: dict[str, StageShape] = {}

    def note(name: str, x: Tensor) -> Tensor:
        found[name] = StageShape(x.shape[1], x.shape[2])
        return x

    spec = twin.eval().clip_spec
    with torch.no_grad():
        twin.run_stages(torch.empty(1, 3, spec.frames, spec.crop, spec.crop, device="meta"), note)
    return found


def resample(x: Tensor, steps: int) -> Tensor:
    """Interpolates linearly over time to a number of steps; N C T H W -> N C T' H W."""
    if x.shape[2] == steps:
        return x
    return F.interpolate(x, (steps, *x.shape[3:]), mode="trilinear", align_corners=False)
