"""Folding of BatchNorm into the preceding convolutions, which are found by running the network once."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode, resolve_name

from kinema.models.modes import in_evaluation

_Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
_READS = ("__get__", "size", "dim", "stride", "is_contiguous", "numel", "element_size", "__len__")  # no values


class _Uses(TorchFunctionMode):
    """Counts the operations that read each watched tensor; hooks report the calls of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, Tensor] = {}  # kept alive, so that ids stay unique
        self.uses: Counter[int] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = resolve_name(func) or ""
        if not name.endswith(_READS):
            for value in _tensors([args, kwargs or {}]):
                if id(value) in self.watched:
                    self.uses[id(value)] += 1
        return func(*args, **(kwargs or {}))


def fold_batchnorm(network: nn.Module, example: Tensor) -> tuple[nn.Module, int]:
    """Returns a copy of a network in which every BatchNorm that directly follows a convolution is merged into it.

    The network runs once on `example`. A BatchNorm is folded if its input is always the output of one convolution and
    nothing else reads this output. Others, such as those before a convolution, are kept.

    Args:
        network: in any mode; the copy is for evaluation only. Layers such as dropout are kept, without effect.
        example: clips N 3 T H W.

    Returns:
        The copy, in evaluation mode, and the number of folded BatchNorms.
    """
    folded = copy.deepcopy(network).eval()
    pairs = _pairs(folded, example)
    for name, (conv, norm) in pairs.items():
        _fold(conv, norm)
        parent, _, child = name.rpartition(".")
        setattr(folded.get_submodule(parent), child, nn.Identity())
    return folded, len(pairs)


def _pairs(network: nn.Module, example: Tensor) -> dict[str, tuple[_Convolution, _BatchNorm]]:
    """Returns name of each BatchNorm that can be folded -> its convolution and itself."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    uses = _Uses()
    made: dict[int, nn.Module] = {}  # id of an output -> the convolution
    sources: dict[nn.Module, int] = {}  # BatchNorm -> id of its input, if a convolution computed it
    calls: Counter[nn.Module] = Counter()

    def convolved(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        calls[module] += 1
        made[id(output)] = module
        uses.watched[id(output)] = output

    def normalises(module: nn.Module, args: tuple[Any, ...]) -> None:
        calls[module] += 1
        if id(args[0]) in made:
            sources[module] = id(args[0])

    hooks = []
    for module in names:
        if isinstance(module, _Convolution):
            hooks.append(module.register_forward_hook(convolved))
        elif isinstance(module, _BatchNorm):
            hooks.append(module.register_forward_pre_hook(normalises))
    try:
        with in_evaluation(network), torch.no_grad(), uses:
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        names[norm][0]: (made[source], norm)  # type: ignore[misc]
        for norm, source in sources.items()
        if calls[norm] == calls[made[source]] == uses.uses[source] == 1
        and norm.running_mean is not None
        and len(names[norm]) == len(names[made[source]]) == 1
    }


def _fold(conv: _Convolution, norm: _BatchNorm) -> None:
    """Merges scale and shift into the convolution, computed in float64."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    weight = conv.weight.detach().double() * scale.view(-1, *[1] * (conv.weight.ndim - 1))
    if conv.bias is not None:
        shift = shift + conv.bias.detach().double() * scale
    conv.weight = nn.Parameter(weight.to(conv.weight), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(conv.weight), requires_grad=False)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for one in value for tensor in _tensors(one)]
    return []
