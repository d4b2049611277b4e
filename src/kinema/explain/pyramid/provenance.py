"""The channels that each layer of a network reads, found by following one small clip through the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.activations import undisturbed
from kinema.explain.layers import classifier_of, stage_names
from kinema.explain.pyramid.follow import Follower
from kinema.explain.pyramid.kernels import WALKED, Kernel, Layer, channel_dim, kernel_of
from kinema.explain.pyramid.origins import Origins

# Sides of the followed clip. If a network does not accept one, the next is tried, and finally the clip itself. With
# 33 pixels, a reduction by 32 leaves two pixels, so that the map is not mistaken for a mean.
SIDES = (33, 64, 112)
FRAMES = 8  # frames of the small clip, or of the clip if it has fewer


class Carrier:
    """A map that a module returned.

    Args:
        module: the module.
        call: index of the run of the module, from 0.
        channels: returns the origin of each of its channels, int64 C.
    """

    def __init__(self, module: nn.Module, call: int, channels: Callable[[], Tensor]) -> None:
        self.module, self.call = module, call
        self._channels: Callable[[], Tensor] | None = channels

    @cached_property
    def channels(self) -> Tensor:
        """The origin of each of its channels, int64 C, after the forward pass: the map may have been overwritten."""
        assert self._channels is not None
        return self._channels().cpu()

    def settle(self) -> None:
        """Computes the origins now and releases the map."""
        self._channels = None if self.origins else self._channels

    @cached_property
    def origins(self) -> frozenset[int]:
        """Returns the origins of its channels."""
        return frozenset(self.channels.tolist())


@dataclass
class Provenance:
    """The layers of a network in the order in which they run, and the origins of their inputs.

    Attributes:
        layers: the layers that ran, including the classifier.
        origins: the meaning of the numbers in `Layer.inputs`.
        classifier: index of the classifier among the layers; -1 if it did not run.
        carriers: maps that other modules returned, in order; several may contain the same channel.
        lost: names of operations that could not be followed.
    """

    layers: list[Layer]
    origins: Origins
    classifier: int
    carriers: list[Carrier]
    lost: tuple[str, ...] = ()


def trace(model: nn.Module, clip: Tensor) -> Provenance:
    """Follows the channels of a network.

    A small crop of the clip is used, because the path of a channel does not depend on the size of the frames.

    Args:
        model: the network, see `kinema.explain.layers`; left unchanged.
        clip: `1 3 T H W`, on the device and in the dtype of the network.

    Raises:
        KinemaError: the network has no `feature_maps` or `classifier`, its classifier does not run, or the inputs of
            the classifier cannot be followed.
    """
    classifier_of(model)
    stages = stage_names(model)
    for side in [*(side for side in SIDES if side < min(clip.shape[3:])), None]:
        x = clip if side is None else clip[:, :, :FRAMES, :side, :side]
        try:
            with undisturbed(model), torch.inference_mode(False), torch.no_grad():
                found = _Tracer(model, stages).run(x.clone())
        except Exception:
            if side is None:
                raise
            continue
        break
    if found.classifier < 0:
        raise KinemaError(
            f"the classifier of {type(model).__name__} is not called as a module: its forward must call self.classifier"
        )
    if not found.layers[found.classifier].inputs.any():
        reason = f", because {', '.join(found.lost)} mixes channels" if found.lost else ""
        raise KinemaError(
            f"the inputs of the classifier of {type(model).__name__} cannot be traced back to a layer{reason}: use "
            "the method gradcam"
        )
    return found


class _Tracer:
    """Hooks on all modules of a network, which report the start and end of layers to a `Follower`."""

    def __init__(self, model: nn.Module, stages: tuple[str, ...]) -> None:
        self.model = model
        self.layers: list[Layer] = []
        self.carriers: list[Carrier] = []
        self.follower = Follower([*model.parameters(), *model.buffers()], self.weighted)
        self._stages = {model.get_submodule(name): name for name in stages}
        self._read: dict[nn.Module, Tensor] = {}  # inputs of stages
        self._running: list[str] = []
        self._layer: nn.Module | None = None  # the running layer; its inner operations are not followed
        self._calls: Counter[nn.Module] = Counter()
        self._used: Counter[str] = Counter()

    def run(self, x: Tensor) -> Provenance:
        """Follows one clip."""
        handles = []
        try:
            for name, module in self.model.named_modules():
                handles.append(module.register_forward_pre_hook(partial(self._before, name), with_kwargs=True))
                handles.append(module.register_forward_hook(self._after))
            with self.follower:
                self.model(x)
        finally:
            for handle in handles:
                handle.remove()
        classifier = [i for i, layer in enumerate(self.layers) if layer.module is self.model.classifier]
        return Provenance(
            self.layers, self.follower.origins, classifier[-1] if classifier else -1, self.carriers,
            tuple(self.follower.lost),
        )  # fmt: skip

    def weighted(self, x: Tensor, argument: int, kernel: Kernel, dim: int) -> Tensor:
        """Adds an operation with weights that is not a module as a layer; returns the origins of its outputs."""
        name = f"{self._running[-1]}.weights".lstrip(".")
        self._add(name, None, self.follower.weighted - 1, lambda: kernel, self.follower.channels(x, dim), dim)
        self.layers[-1].argument = argument
        return self.follower.origins.add_layer(len(self.layers) - 1, len(kernel.weights)).to(x.device)

    def _add(
        self, name: str, module: nn.Module | None, call: int, kernel: Callable[[], Kernel] | None, inputs: Tensor,
        dim: int,
    ) -> None:  # fmt: skip
        self._used[name] += 1
        name = name if self._used[name] == 1 else f"{name}#{self._used[name]}"
        self.layers.append(Layer(name, module, call, kernel, inputs.cpu(), dim))

    def _before(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._running.append(name)
        x = first_tensor(args, kwargs)
        if self._layer is not None or x is None:
            return
        if module in self._stages:
            self._read[module] = self.follower.channels(x, 1) if x.dim() == 5 else x.new_zeros(0)
        if isinstance(module, WALKED):
            dim = channel_dim(module, x)
            inputs = self.follower.channels(x, dim)
            self._add(name, module, self._calls[module], partial(kernel_of, module), inputs, dim)
            self._layer = module
            self.follower.paused += 1

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        self._running.pop()
        if self._layer is module:
            self._layer = None
            self.follower.paused -= 1
            self._tell(module, output)
        elif self._layer is None and isinstance(output, Tensor) and output.dim() >= 4:
            if module in self._stages and output.dim() == 5 and not self.follower.channels(output, 1).any():
                self._opaque(module, output)
            self.carriers.append(Carrier(module, self._calls[module], partial(self.follower.channels, output, 1)))
        self._calls[module] += 1

    def _opaque(self, stage: nn.Module, output: Tensor) -> None:
        """Adds a stage whose inner operations could not be followed as a layer."""
        self._add(self._stages[stage], stage, self._calls[stage], None, self._read[stage].long(), 1)
        ids = self.follower.origins.add_layer(len(self.layers) - 1, output.shape[1])
        self.follower.put(output, ids.to(output.device), 1)

    def _tell(self, module: nn.Module, output: Any) -> None:
        """Gives the outputs of a layer their origins."""
        number = len(self.layers) - 1
        if isinstance(module, nn.RNNBase):
            states, last = output[0], output[1]
            if not isinstance(states, Tensor):  # a packed sequence
                self.follower.lost["packed sequence"] = None
                return
            ids = self.follower.origins.add_layer(number, states.shape[-1]).to(states.device)
            self.follower.put(states, ids, -1)
            ends = 2 if module.bidirectional else 1
            for state in last if isinstance(last, tuple) else (last,):
                if state.shape[-1] * ends == len(ids):  # layers and ends are the first dimension
                    own = ids.view(ends, -1).repeat(len(state) // ends, 1)
                    self.follower.put(state, own if state.dim() == 2 else own[:, None])
                    self.follower.gate(state)
            self.follower.gate(states)  # if it multiplies a map; otherwise it is followed
        elif isinstance(output, Tensor):
            dim = channel_dim(module, output)
            ids = self.follower.origins.add_layer(number, output.shape[dim]).to(output.device)
            self.follower.put(output, ids, dim)


def first_tensor(args: Any, kwargs: Any) -> Tensor | None:
    """Returns the input of a layer, given as positional or keyword argument."""
    return next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None)
