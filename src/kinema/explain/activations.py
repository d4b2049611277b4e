"""Outputs and gradients of inner layers for a clip, recorded with hooks that are removed afterwards.

The requirements on a network are described in `kinema.explain.layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.layers import Layer, find_layer, part_of
from kinema.models.checkpointing import Stack
from kinema.models.modes import in_evaluation

Maps = dict[str, Tensor]


def record(model: nn.Module, clip: Tensor, layers: Sequence[str], *, grad: bool = False) -> tuple[Tensor, Maps]:
    """Runs a network once in evaluation mode and records the outputs of some layers.

    The logits are those of `model.eval()(clip)`, bit for bit. The modes of all modules, the grad mode, the gradients
    and statistics of the network and the state of the random generators are restored, also after an error. For a module
    that runs several times, the last map is returned. A map is not copied, unless the network overwrites it later: the
    network then runs a second time.

    Args:
        model: the network, see the module.
        clip: float `N 3 T H W` or `3 T H W`, normalised; converted to the device and dtype of the network.
        layers: see `find_layer`.
        grad: keep the autograd graph, so that `torch.autograd.grad` finds the gradient at a map. If the network uses
            checkpoints, call it while all modules are in evaluation mode. The map of one pathway is a slice of the
            joined map and has no gradient itself. `score_gradients` handles both cases.

    Returns:
        Logits N K, and layer -> map N C T' H' W' in the order of `layers`.

    Raises:
        KinemaError: a layer does not exist, does not run or returns no map N C T H W; the network has no
            `feature_maps`; the clip has another shape.
    """
    found = _find(model, layers)
    clips = network_input(model, clip)
    with undisturbed(model), torch.inference_mode(False), torch.set_grad_enabled(grad):
        logits, outputs = _run(model, clips, found, grad)
    return logits, {layer.name: part_of(model, layer, outputs[layer.module]) for layer in found}


def record_inputs(model: nn.Module, clip: Tensor, modules: Mapping[str, nn.Module]) -> dict[str, tuple[Tensor, Tensor]]:
    """Runs a network once in evaluation mode and records the inputs and outputs of some modules.

    Args:
        model: the network, see the module; left unchanged, as by `record`.
        clip: as for `record`.
        modules: name -> module of the network.

    Returns:
        Name -> first input and output of its last call, in the order of `modules`. They are copied, because a later
        module may overwrite them. For a tuple of tensors the first is returned, for any other object an empty tensor.

    Raises:
        KinemaError: a module does not run.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    inputs: dict[str, Tensor] = {}
    handles, thread, x = [], get_ident(), network_input(model, clip)

    def before(name: str, module: nn.Module, given: tuple[Any, ...]) -> None:
        if get_ident() == thread:
            inputs[name] = _copied(given)

    def after(name: str, module: nn.Module, given: tuple[Any, ...], output: object) -> None:
        if get_ident() == thread:
            found[name] = (inputs[name], _copied(output))

    try:
        for name, module in modules.items():
            handles.append(module.register_forward_pre_hook(partial(before, name)))
            handles.append(module.register_forward_hook(partial(after, name)))
        with undisturbed(model), _hooks_run(model), torch.inference_mode(False), torch.no_grad():
            model(x.clone() if x.is_inference() else x)
    finally:
        for handle in handles:
            handle.remove()
    for name in modules:
        if name not in found:
            raise KinemaError(f"layer {name!r} does not run when the network classifies a clip: choose another layer")
    return {name: found[name] for name in modules}


def _copied(value: object) -> Tensor:
    if isinstance(value, tuple) and value:
        value = value[0]
    return value.detach().clone() if isinstance(value, Tensor) else torch.empty(0)


def score_gradients(
    model: nn.Module, clip: Tensor, layers: Sequence[str], choose: Callable[[Tensor], Sequence[int]]
) -> tuple[Tensor, Maps, dict[int, Maps]]:
    """Computes the gradients of logits with respect to the maps of some layers.

    Args:
        model: the network, see the module; left unchanged, as by `record`.
        clip: float `1 3 T H W` or `3 T H W`.
        layers: see `find_layer`.
        choose: called with the logits `1 K`; returns the classes.

    Returns:
        Logits `1 K`, layer -> map, and class -> layer -> gradient, of the shape of the map; all detached.

    Raises:
        KinemaError: as for `record`, or no gradient reaches a layer because the network detaches its output.
    """
    found = _find(model, layers)
    clips = network_input(model, clip)
    gradients: dict[int, Maps] = {}
    with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        logits, outputs = _run(model, clips, found, True)
        for target in choose(logits.detach()):
            if not logits.requires_grad:
                raise _no_gradient(found[0])
            try:
                at = torch.autograd.grad(
                    logits[:, target].sum(), [outputs[layer.module] for layer in found], retain_graph=True,
                    allow_unused=True,
                )  # fmt: skip
            except RuntimeError:
                _refuse_reentrant_checkpoints(model, logits)
                raise
            gradients[target] = {}
            for layer, gradient in zip(found, at, strict=True):
                if gradient is None:
                    _refuse_reentrant_checkpoints(model, logits)
                    raise _no_gradient(layer)
                gradients[target][layer.name] = part_of(model, layer, gradient)
    maps = {layer.name: part_of(model, layer, outputs[layer.module].detach()) for layer in found}
    return logits.detach(), maps, gradients


def network_input(model: nn.Module, clip: Tensor) -> Tensor:
    """Returns a clip as a batch, on the device and in the dtype of the network.

    Args:
        model: the network.
        clip: float `C T H W` or `N C T H W`.

    Raises:
        KinemaError: another number of dimensions, an empty clip, or integer values, which are not normalised.
    """
    if not isinstance(clip, Tensor) or clip.dim() not in (4, 5) or not clip.numel():
        what = f"shape {tuple(clip.shape)}" if isinstance(clip, Tensor) else f"type {type(clip).__name__}"
        raise KinemaError(f"clip has {what}: give a tensor 3 T H W or N 3 T H W")
    if not clip.is_floating_point():
        raise KinemaError(f"clip has dtype {clip.dtype}: give a normalised clip, as kinema.read_clip returns it")
    clips = clip if clip.dim() == 5 else clip[None]
    some = next((p for p in model.parameters() if p.is_floating_point()), None)
    return clips if some is None else clips.to(some.device, some.dtype)


def one_clip(model: nn.Module, clip: Tensor) -> Tensor:
    """Does the same as `network_input`, for exactly one clip.

    Raises:
        KinemaError: several clips, or as for `network_input`.
    """
    x = network_input(model, clip)
    if len(x) != 1:
        raise KinemaError(f"clip contains {len(x)} clips: give one clip at a time, 3 T H W")
    return x


def check_logits(model: nn.Module, logits: object, clips: int) -> None:
    """Checks that the output of a network has the shape N K.

    Args:
        model: the network, for the message.
        logits: its output.
        clips: N.

    Raises:
        KinemaError: it has another shape, or is not a tensor.
    """
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != clips:
        what = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"type {type(logits).__name__}"
        raise KinemaError(f"{type(model).__name__} returns {what}: its forward must return logits N K")


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Puts a network into evaluation mode; then restores its modes and the state of the random generators."""
    stacks = [module for module in model.modules() if isinstance(module, Stack) and module.grad_checkpointing]
    devices = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(sorted(devices)), in_evaluation(model):
        try:
            for stack in stacks:  # the forward pass would run again after the hooks are removed
                stack.grad_checkpointing = False
            yield
        finally:
            for stack in stacks:
                stack.grad_checkpointing = True


def _find(model: nn.Module, layers: Sequence[str]) -> list[Layer]:
    if isinstance(layers, str):
        raise KinemaError(f"layers is {layers!r}: give a list of layers, such as [{layers!r}]")
    return [find_layer(model, name) for name in dict.fromkeys(layers)]


def _run(model: nn.Module, clips: Tensor, layers: list[Layer], grad: bool) -> tuple[Tensor, dict[nn.Module, Tensor]]:
    """Returns the logits and the whole output of every requested module."""
    if grad and any(p.is_inference() for p in model.parameters()):
        raise KinemaError(f"{type(model).__name__} was created in torch.inference_mode, which disables gradients: "
                          "create or load it outside")  # fmt: skip
    if grad:  # a leaf, for networks without trainable weights; the copy of it may be overwritten
        x = clips.clone().requires_grad_().clone()
    else:
        x = clips.clone() if clips.is_inference() else clips
    state = _random_state(clips.device)
    logits, outputs, changed = _pass(model, x, layers, grad, frozenset())
    if changed:
        _set_random_state(clips.device, state)
        logits, outputs, _ = _pass(model, x, layers, grad, changed)
    check_logits(model, logits, len(clips))
    for layer in layers:
        _check_map(layer, outputs.get(layer.module), len(clips))
    return logits, outputs


def _pass(
    model: nn.Module, x: Tensor, layers: list[Layer], grad: bool, copied: frozenset[nn.Module]
) -> tuple[Any, dict[nn.Module, Any], frozenset[nn.Module]]:
    """Returns the outputs of the network and of some modules, and the modules whose output was overwritten later."""
    outputs: dict[nn.Module, Any] = {}
    versions: dict[nn.Module, int] = {}
    thread = get_ident()

    def hook(module: nn.Module, args: Any, output: Any) -> Tensor | None:
        if get_ident() != thread:  # another thread runs the same network on its own clip
            return None
        if not isinstance(output, Tensor):
            outputs[module] = output
        elif grad:
            with torch.enable_grad():
                outputs[module] = output if output.requires_grad else output.detach().requires_grad_()
                # A later module may overwrite its input; the gradient would then be that of the overwritten value.
                return outputs[module].clone()
        else:
            outputs[module] = output.clone() if module in copied or output.is_inference() else output
            versions[module] = -1 if outputs[module].is_inference() else outputs[module]._version
        return None

    handles = [module.register_forward_hook(hook) for module in dict.fromkeys(layer.module for layer in layers)]
    try:
        with _hooks_run(model):
            logits = model(x)
    finally:
        for handle in handles:
            handle.remove()
    changed = frozenset(m for m, version in versions.items() if version >= 0 and outputs[m]._version != version)
    return logits, outputs, changed


def _check_map(layer: Layer, output: Any, clips: int) -> None:
    if output is None:
        raise KinemaError(f"layer {layer.name} is never called as a module: choose another layer")
    if not isinstance(output, Tensor) or output.dim() != 5 or len(output) != clips:
        what = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise KinemaError(f"layer {layer.name} returns {what}, not a map N C T H W: choose another layer")


def _hooks_run(model: nn.Module) -> AbstractContextManager[Any]:
    """Runs compiled modules without their compiled code, which skips hooks that were added after compilation."""
    compiled = ("_compiled_call_impl", "_orig_mod")  # from Module.compile and from torch.compile
    if any(getattr(module, name, None) is not None for module in model.modules() for name in compiled):
        return torch.compiler.set_stance("force_eager")
    return nullcontext()


def _refuse_reentrant_checkpoints(model: nn.Module, logits: Tensor) -> None:
    """Raises an error about reentrant checkpoints: layers before or inside them have no gradient."""
    seen, waiting = set(), [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name() == "CheckpointFunctionBackward":
            raise KinemaError(
                f"{type(model).__name__} uses checkpoints with use_reentrant=True, and layers before or inside "
                "them have no gradients: set use_reentrant=False, or do not checkpoint in evaluation"
            )
        seen.add(node)
        waiting += [parent for parent, _ in node.next_functions]


def _no_gradient(layer: Layer) -> KinemaError:
    return KinemaError(f"no gradient reaches layer {layer.name}: the network detaches its output; choose another")


def _random_state(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_random_state(device: torch.device, state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
