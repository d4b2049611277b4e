"""What goes into modules of a network and what comes out, while it looks at clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.models.modes import in_evaluation
from kinema.models.video_model import VideoModel


def passing(model: nn.Module, clips: Tensor, modules: Mapping[str, nn.Module]) -> dict[str, tuple[Tensor, Tensor]]:
    """Runs a network in evaluation and notes what passes through some of its modules.

    Args:
        model: it is left as it was, without hooks, also after an error.
        clips: N 3 T H W, as the network takes them.
        modules: name -> module of the network.

    Returns:
        Name -> first input and output of its last call, copied: a later module may work in place. What is no tensor is
        an empty one here, and of a tuple of tensors the first is taken. In the order of `modules`.

    Raises:
        KinemaError: a module that the network does not run.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    inputs: dict[str, Tensor] = {}
    handles = []

    def before(name: str) -> Any:
        def note(_: nn.Module, given: tuple[Any, ...]) -> None:
            inputs[name] = _copied(given[0])

        return note

    def after(name: str) -> Any:
        def note(_: nn.Module, __: tuple[Any, ...], output: object) -> None:
            found[name] = (inputs[name], _copied(output))

        return note

    try:
        for name, module in modules.items():
            handles.append(module.register_forward_pre_hook(before(name)))
            handles.append(module.register_forward_hook(after(name)))
        with in_evaluation(model), torch.no_grad():
            model(clips)
    finally:
        for handle in handles:
            handle.remove()
    for name in modules:
        if name not in found:
            raise KinemaError(f"layer {name!r} is not run when the network sees a clip: choose another layer")
    return {name: found[name] for name in modules}


def _copied(value: object) -> Tensor:
    if isinstance(value, tuple) and value:
        value = value[0]
    return value.detach().clone() if isinstance(value, Tensor) else torch.empty(0)


def of_kind(model: nn.Module, kind: type[nn.Module]) -> dict[str, nn.Module]:
    """The modules of a kind by their names, in the order of the network."""
    return {name: module for name, module in model.named_modules() if isinstance(module, kind)}


def one_clip(clip: Tensor) -> Tensor:
    """A clip as a batch of one.

    Args:
        clip: 3 T H W or 1 3 T H W.

    Returns:
        1 3 T H W.

    Raises:
        KinemaError: another shape.
    """
    batch = clip if clip.dim() == 5 else clip[None]
    if batch.dim() != 5 or batch.shape[:2] != (1, 3):
        raise KinemaError(f"clip has shape {tuple(clip.shape)}: give one clip, 3 T H W or 1 3 T H W")
    return batch


def stage_maps(model: nn.Module, stage: str, output: Tensor) -> dict[str, Tensor]:
    """The maps N C T H W in the output of a stage, by their names: `slow.STAGE` and `fast.STAGE` of two pathways.

    Raises:
        KinemaError: the output is no map.
    """
    if output.dim() != 5:
        raise KinemaError(f"layer {stage!r} gives no map N C T H W: choose a stage that does")
    if not isinstance(model, VideoModel):
        return {stage: output}
    parts = model.pathways(stage, output)
    if isinstance(parts, Tensor):
        return {stage: parts}
    return {f"{pathway}.{stage}": part for pathway, part in zip(model.pathway_names(stage), parts, strict=True)}
