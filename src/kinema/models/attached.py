"""Networks that stand on the stages of another one: what CIDC and the heads it is compared with share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.models.registry import EVERYWHERE, create_model
from kinema.models.video_model import VideoModel

# Options that the network which stands on a backbone has itself.
_OF_THE_WHOLE = ("num_classes", "frames", "width", "dropout", *EVERYWHERE)


@dataclass(frozen=True)
class Shape:
    """Of what comes out of a stage: its channels, and its steps for a clip of the length the network is meant for."""

    channels: int
    steps: int


@dataclass(frozen=True)
class Backbone:
    """What a network is to stand on.

    Attributes:
        name: of the zoo.
        frames: T of the clips; None is what the network of that name is meant for.
        width: multiplies its channels.
        options: its further options.
        frozen: it does not learn, nor do its BatchNorms gather statistics.
    """

    name: str
    frames: int | None
    width: float
    options: Mapping[str, Any] | None
    frozen: bool

    def build(self) -> VideoModel:
        """The network with its own head, in the default device."""
        if not isinstance(self.name, str):
            raise KinemaError(f"backbone is {self.name!r}: give the name of a network, `kinema models` lists them")
        if not isinstance(self.options, Mapping | None):
            raise KinemaError(f"backbone_options is {self.options!r}: give names of options with their values")
        given = dict(self.options or {})
        for key in _OF_THE_WHOLE:
            if key in given:
                raise KinemaError(f"backbone_options holds {key}: give it as an option of the network itself")
        frames = {} if self.frames is None else {"frames": self.frames}
        return create_model(self.name, num_classes=1, width=self.width, **frames, **given)


class Attached(VideoModel):
    """A network of the zoo, without its own head, as the backbone of another one.

    The stages of the backbone are stages here, under their own names and before any that are added; Class
    Regularisation after them reads the classifier of the whole network. The backbone keeps only what its features need.

    Attributes:
        shapes: what comes out of the backbone's stages.
        left_out: the parts of the backbone that nothing here needs, such as its classifier.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        with torch.device("meta"):
            twin = backbone.build()
        if isinstance(twin, Attached):
            raise KinemaError(f"the backbone {backbone.name} stands on another one itself: give a plain network")
        self.shapes, self.left_out = _follow(twin)
        self.backbone, self.frozen = backbone.build(), backbone.frozen
        for name in self.left_out:
            delattr(self.backbone, name)
        if self.frozen:
            self.backbone.requires_grad_(False).eval()
        options = self.backbone.architecture["options"].items()
        self.resolved = {"backbone_options": {k: v for k, v in options if k not in _OF_THE_WHOLE}}
        self.clip_spec = self.backbone.clip_spec
        self.feature_maps = self.backbone.feature_maps

    def __getattr__(self, name: str) -> Any:
        """The stages of the backbone are found here too, by `get_submodule` for instance."""
        backbone = self.__dict__.get("_modules", {}).get("backbone")
        if backbone is not None and name in backbone.feature_maps:
            return getattr(backbone, name)
        return super().__getattr__(name)

    def train(self, mode: bool = True) -> Attached:
        """As everywhere, but a frozen backbone stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def regularised(self, name: str, x: Tensor) -> Tensor:
        """What comes out of a stage, after its Class Regularisation, if it has one."""
        if name in self.class_regularisation:
            x = self.class_regularisation[name](x, self.classifier.weight)
        return x

    def maps(self, x: Tensor, stages: Collection[str]) -> dict[str, Tensor]:
        """N 3 T H W -> what comes out of some stages of the backbone, N C T' H' W'."""
        watched = _Watched(self.backbone, stages, self.regularised)
        type(self.backbone).forward_features(watched, x)  # type: ignore[arg-type]
        return watched.maps

    def start(self) -> None:
        """Starts what stands on the backbone, which is left as its own family starts it."""
        self.initialise()


class _Watched:
    """A network in the eyes of its own `forward_features`: what its stages give is kept where it is wanted.

    Hooks on the network would be shared by all threads that run it.
    """

    def __init__(
        self, model: VideoModel, wanted: Collection[str], after: Callable[[str, Tensor], Tensor] = lambda name, x: x
    ) -> None:
        self._model, self._wanted, self._after = model, wanted, after
        self.maps: dict[str, Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def stage(self, name: str, x: Tensor) -> Tensor:
        """The stage, and what stands after it."""
        x = self._after(name, self._model.stage(name, x))
        if name in self._wanted:
            self.maps[name] = x
        return x


def _follow(twin: VideoModel) -> tuple[dict[str, Shape], tuple[str, ...]]:
    """Follows a clip through a network on the meta device: the shapes of its stages, and what they do not need."""
    used: set[str] = set()
    for name, child in twin.named_children():
        for module in child.modules():
            module.register_forward_pre_hook(lambda m, args, name=name: used.add(name))
    spec = twin.eval().clip_spec
    watched = _Watched(twin, twin.feature_maps)
    with torch.no_grad():
        clip = torch.empty(1, 3, spec.frames, spec.crop, spec.crop, device="meta")
        type(twin).forward_features(watched, clip)  # type: ignore[arg-type]
    spare = [
        name for name, child in twin.named_children() if name not in used and any(True for _ in child.parameters())
    ]
    return {name: Shape(x.shape[1], x.shape[2]) for name, x in watched.maps.items()}, tuple(spare)


def resample(x: Tensor, steps: int) -> Tensor:
    """Linear interpolation over time to a number of steps; N C T H W -> N C T' H W."""
    if x.shape[2] == steps:
        return x
    return F.interpolate(x, (steps, *x.shape[3:]), mode="trilinear", align_corners=False)


def average(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The mean over some dimensions, summed in float32 at least."""
    return x.mean(dims, dtype=torch.promote_types(x.dtype, torch.float32)).to(x.dtype)
