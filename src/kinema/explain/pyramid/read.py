"""The inputs of the layers of a pyramid in one forward pass: the mean of every channel, and maps of channels."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kinema.errors import KinemaError
from kinema.explain.activations import undisturbed
from kinema.explain.pyramid.follow import operation
from kinema.explain.pyramid.kernels import WALKED, channel_dim
from kinema.explain.pyramid.plan import Plan
from kinema.explain.pyramid.provenance import first_tensor
from kinema.models.x3d_blocks import X3DHead
from kinema.ops.precision import wide_dtype


@dataclass
class Readings:
    """The records of one forward pass.

    Attributes:
        logits: 1 K.
        means: number of a layer -> mean of each of its input channels, over everything else.
        inputs: number of a layer -> its whole input.
        outputs: number of a carrier -> its map.
        head: the input of the head of X3D or MTNet, which pools inside; else None.
    """

    logits: Tensor
    means: dict[int, Tensor] = field(default_factory=dict)
    inputs: dict[int, Tensor] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)
    head: Tensor | None = None


class Reader:
    """Runs a network once and records the inputs and maps of a plan.

    Maps are not copied: if the network overwrites one later (an in-place ReLU, the sum of a residual block), the record
    contains the later state, like the origins from `provenance`.

    Args:
        model: left unchanged, without hooks, also after an error.
        plan: defines which inputs of layers are read and which maps are kept.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self.model, self.provenance = model, plan.columns.provenance
        self.layers = {(self.provenance.layers[n].module, self.provenance.layers[n].call): n for n in plan.readers}
        self.carriers = {(carrier.module, carrier.call): n for n, carrier in plan.kept.items()}
        self.inside: nn.Module | None = None  # the running layer
        self.found = Readings(torch.empty(0))
        self._calls: Counter[nn.Module] = Counter()

    def run(self, clip: Tensor) -> Readings:
        """Runs one forward pass.

        Raises:
            KinemaError: the computation differs from that for the small clip that was followed, or returns no logits.
        """
        functional = any(module is None for module, _ in self.layers)
        watched = {module for module, _ in (*self.layers, *self.carriers)}
        head = getattr(self.model, "head", None)
        handles = []
        try:
            for module in self.model.modules():
                if module in watched or (functional and isinstance(module, WALKED)):
                    handles.append(module.register_forward_pre_hook(self._before, with_kwargs=True))
                    handles.append(module.register_forward_hook(self._after))
            if isinstance(head, X3DHead):
                handles.append(head.register_forward_pre_hook(self._at_head))
            with undisturbed(self.model), torch.inference_mode(False), torch.no_grad():
                x = clip.clone() if clip.is_inference() else clip
                with _Weighted(self) if functional else nullcontext():
                    logits = self.model(x)
        finally:
            for handle in handles:
                handle.remove()
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            raise KinemaError(f"{type(self.model).__name__} returns no logits: its forward must return a tensor N K")
        for number in self.layers.values():
            layer, means = self.provenance.layers[number], self.found.means.get(number)
            if means is None or len(means) != len(layer.inputs):
                raise KinemaError(
                    f"layer {layer.name} has other inputs for this clip than for a smaller one: a pyramid cannot trace "
                    "a network whose computation depends on the size; use the method gradcam"
                )
        self.found.logits = logits
        return self.found

    def keep(self, number: int, x: Tensor, dim: int) -> None:
        """Records the input of a layer.

        Raises:
            KinemaError: values are not finite.
        """
        rest = [d for d in range(x.dim()) if d != dim]
        means = x.mean(rest, dtype=wide_dtype(x)) if rest else x.to(wide_dtype(x))
        if not means.isfinite().all():
            raise KinemaError(
                f"layer {self.provenance.layers[number].name} reads values that are not finite: check the weights and "
                "the clip, or use float32"
            )
        self.found.means[number], self.found.inputs[number] = means, x

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self.inside is not None:
            return
        if isinstance(module, WALKED):
            self.inside = module
        number = self.layers.get((module, self._calls[module]))
        x = first_tensor(args, kwargs)
        if number is not None and x is not None:
            self.keep(number, x, channel_dim(module, x))

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.inside is module:
            self.inside = None
        number = self.carriers.get((module, self._calls[module]))
        if number is not None and isinstance(output, Tensor):
            self.found.outputs[number] = output
        self._calls[module] += 1

    def _at_head(self, module: nn.Module, args: Any) -> None:
        self.found.head = args[0]


class _Weighted(TorchDispatchMode):
    """Records the inputs of layers that are operations with weights, by their index among all such operations."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader, self._count = reader, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._reader.inside is None and operation(func).weighted:
            number = self._reader.layers.get((None, self._count))
            self._count += 1
            if number is not None:
                layer = self._reader.provenance.layers[number]
                x = args[layer.argument]
                if x.dim() > layer.dim:
                    self._reader.keep(number, x, layer.dim)
        return func(*args, **(kwargs or {}))
