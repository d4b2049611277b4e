"""Names of the layers of a network, and their modules.

A network is any `nn.Module` with `feature_maps` (names of its stages in order, each returning N C T H W), `classifier`
(the final `nn.Linear`) and `forward` (clips to logits N K). All networks of Kinema have these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from kinema.errors import KinemaError, unknown
from kinema.models.video_model import VideoModel


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: the given name.
        module: the module whose output is recorded.
        stage: the stage of which it is a pathway, else None.
        pathway: index of the pathway, in the order of `VideoModel.pathway_names`; 0 if there is only one.
    """

    name: str
    module: nn.Module
    stage: str | None = None
    pathway: int = 0


def stage_names(model: nn.Module) -> tuple[str, ...]:
    """Returns the names of the stages of a network, in order.

    Raises:
        KinemaError: there is no `feature_maps`, or a name in it is not a sub-module.
    """
    _refuse_wrappers(model)
    names = getattr(model, "feature_maps", None)
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise KinemaError(
            f"{type(model).__name__} has no feature_maps: set it to the names of its stages in order; each must be a "
            "sub-module that returns N C T H W"
        )
    for name in names:
        if _submodule(model, str(name)) is None:
            raise KinemaError(f"feature_maps names {name!r}, which is not a sub-module of {type(model).__name__}")
    return tuple(names)


def classifier_of(model: nn.Module) -> nn.Linear:
    """Returns the final linear layer.

    Raises:
        KinemaError: there is no attribute `classifier` that is an `nn.Linear`.
    """
    _refuse_wrappers(model)
    found = getattr(model, "classifier", None)
    if not isinstance(found, nn.Linear):
        what = "no classifier" if found is None else f"a classifier of type {type(found).__name__}"
        raise KinemaError(
            f"{type(model).__name__} has {what}: give a network whose attribute `classifier` is its final nn.Linear"
        )
    return found


def exposed_layers(model: nn.Module) -> tuple[str, ...]:
    """Returns the layers whose maps can be requested by name.

    Returns:
        `feature_maps`; in a network with two pathways `slow.STAGE` and `fast.STAGE` for each stage that has both. The
        name of any other sub-module that returns one map N C T H W is valid too, including the joined stage of two
        pathways.

    Raises:
        KinemaError: there is no `feature_maps`, or a name in it is not a sub-module.
    """
    return tuple(
        name
        for stage in stage_names(model)
        for name in ([f"{pathway}.{stage}" for pathway in _pathways(model, stage)] or [stage])
    )


def find_layer(model: nn.Module, name: str) -> Layer:
    """Finds a layer by name: a stage (after its Class Regularisation), a pathway of a stage, or any sub-module.

    Raises:
        KinemaError: there is no such layer; the message suggests similar names.
    """
    stages = stage_names(model)
    if not isinstance(name, str):
        raise KinemaError(f"layer is {name!r}: give a name, such as {stages[-1]!r}")
    first, _, rest = name.partition(".")
    if rest in stages and first in _pathways(model, rest):
        return Layer(name, _after(model, rest), rest, _pathways(model, rest).index(first))
    if name in stages:
        return Layer(name, _after(model, name))
    module = _submodule(model, name)
    if module is None:
        inside = [other for other, _ in model.named_modules() if other.startswith(f"{first}.")]
        raise unknown("layer", name, [*exposed_layers(model), *inside])
    return Layer(name, module)


def part_of(model: nn.Module, layer: Layer, output: Tensor) -> Tensor:
    """Returns the map of a layer from the output of its module; for a pathway, its part of the joined map."""
    if layer.stage is None:
        return output
    assert isinstance(model, VideoModel)
    return model.pathways(layer.stage, output)[layer.pathway]


def of_kind(model: nn.Module, kind: type[nn.Module]) -> dict[str, nn.Module]:
    """Returns the modules of a type by name, in the order of the network."""
    return {name: module for name, module in model.named_modules() if isinstance(module, kind)}


def _refuse_wrappers(model: nn.Module) -> None:
    inner = getattr(model, "module", None)
    if isinstance(inner, nn.Module) and not hasattr(model, "feature_maps"):  # DataParallel, AveragedModel and others
        raise KinemaError(f"the network is wrapped in {type(model).__name__}: give its .module")
    if hasattr(model, "_orig_mod"):
        raise KinemaError("the network is compiled, so hooks do not run in it: give its ._orig_mod")


def _pathways(model: nn.Module, stage: str) -> tuple[str, ...]:
    return model.pathway_names(stage) if isinstance(model, VideoModel) else ()


def _after(model: nn.Module, stage: str) -> nn.Module:
    """Returns the module whose output is the input of the next stage."""
    if isinstance(model, VideoModel) and stage in model.class_regularisation:
        return model.class_regularisation[stage]
    return model.get_submodule(stage)


def _submodule(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name) if name else None
    except AttributeError:
        return None
