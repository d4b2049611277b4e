"""The layers that a back-step walks through: convolutions, linear and recurrent layers, and what their kernels see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from kinema.errors import KinemaError
from kinema.explain.activations import undisturbed

WALKED = (_ConvNd, nn.Linear, nn.RNNBase)
Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Kernel:
    """What the outputs of a layer see of its inputs.

    Attributes:
        weights: float C_out [C_in / groups], the mean of each kernel over time, height and width.
        groups: of the channels.
    """

    weights: Tensor
    groups: int = 1

    def group_of(self, channels: Tensor) -> Tensor:
        """The group of each output channel."""
        return channels // (len(self.weights) // self.groups)

    def rows(self, channels: Tensor) -> Rows:
        """The kernels of some outputs, zero-inflated to all inputs.

        Args:
            channels: int64 P.

        Returns:
            P C_in, and bool P C_in: the inputs that belong to the group of each.
        """
        if self.groups == 1:
            rows = self.weights[channels]
            return rows, torch.ones_like(rows, dtype=torch.bool)
        own = self.weights.shape[1]
        at = self.group_of(channels)[:, None] * own + torch.arange(own, device=channels.device)
        rows = self.weights.new_zeros(len(channels), own * self.groups).scatter_(1, at, self.weights[channels])
        return rows, torch.zeros_like(rows, dtype=torch.bool).scatter_(1, at, True)


class LocalKernel:
    """The kernel of a stage whose inside cannot be followed: how its output changes with its input at this clip.

    The mean of an output channel is differentiated by every input; a row is the sum of the gradient over time, height
    and width. For a convolution with stride 1 that is the sum of its kernel, borders apart.

    Args:
        model: the network, which is put into evaluation meanwhile.
        stage: one of its modules.
        name: of the stage.
        x: the input of the stage, `1 C T H W`.
    """

    groups = 1

    def __init__(self, model: nn.Module, stage: nn.Module, name: str, x: Tensor) -> None:
        self._model, self._stage, self._name, self._x = model, stage, name, x

    def group_of(self, channels: Tensor) -> Tensor:
        """All outputs are of one group."""
        return torch.zeros_like(channels)

    def rows(self, channels: Tensor) -> Rows:
        """See `Kernel.rows`.

        Raises:
            KinemaError: the stage does not run on one input by itself, or lets no gradient through.
        """
        try:
            with undisturbed(self._model), torch.inference_mode(False), torch.enable_grad():
                x = self._x.detach().clone().requires_grad_()
                means = self._stage(x.clone()).transpose(0, 1).flatten(1).mean(1)
                found = [torch.autograd.grad(means[c], x, retain_graph=True)[0] for c in channels.tolist()]
        except (TypeError, RuntimeError) as error:
            raise KinemaError(
                f"stage {self._name} cannot be traced back by its gradient ({type(error).__name__}): choose a smaller "
                "depth"
            ) from error
        rows = torch.stack([one.transpose(0, 1).flatten(1).sum(1) for one in found])
        return rows, torch.ones_like(rows, dtype=torch.bool)


def kernel_of(module: nn.Module) -> Kernel:
    """The kernel of a layer.

    A recurrent layer is walked through the weights by which its input becomes the content of its states (the candidate
    of an LSTM or GRU); stacked layers are multiplied.
    """
    with torch.no_grad():
        if isinstance(module, nn.RNNBase):
            return Kernel(_recurrent(module))
        weight: Any = module.weight
        groups = module.groups if isinstance(module, _ConvNd) else 1
        return convolution_kernel(weight.detach(), groups, isinstance(module, _ConvTransposeNd))


def convolution_kernel(weight: Tensor, groups: int, transposed: bool = False) -> Kernel:
    """The kernel of a convolution or a linear layer from its weights, as PyTorch shapes them."""
    means = weight if weight.dim() == 2 else weight.flatten(2).mean(2, dtype=_wide(weight))
    if transposed:  # C_in C_out/groups
        means = means.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return Kernel(means.to(_wide(weight)), groups)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _recurrent(module: nn.RNNBase) -> Tensor:
    hidden = module.hidden_size
    place = {"LSTM": 2, "GRU": 2}.get(module.mode, 0)  # of the candidate: LSTM i f g o, GRU r z n, RNN alone
    ends = ("", "_reverse") if module.bidirectional else ("",)
    through: Tensor | None = None
    for layer in range(module.num_layers):
        kernels = []
        for end in ends:
            kernel = getattr(module, f"weight_ih_l{layer}{end}").detach()[place * hidden : (place + 1) * hidden]
            if module.proj_size:
                kernel = getattr(module, f"weight_hr_l{layer}{end}").detach() @ kernel
            kernels.append(kernel.to(_wide(kernel)))
        seen = torch.cat(kernels)
        through = seen if through is None else seen @ through
    assert through is not None
    return through


@dataclass
class Layer:
    """One run of a layer in the forward pass.

    Attributes:
        name: of its module; of a module that runs several times the later ones are `NAME#2`, …
        module: None for an operation with weights that is no module.
        call: which run of the module, or of those operations, from 0.
        kernel: gives what its outputs see; None for a stage that is walked by a `LocalKernel`.
        inputs: int64 C_in, the origin of each input channel.
        dim: of its input that holds the channels.
        argument: which argument of the operation is its input, where it is no module.
    """

    name: str
    module: nn.Module | None
    call: int
    kernel: Callable[[], Kernel] | None
    inputs: Tensor
    dim: int
    argument: int = 0


def channel_dim(module: nn.Module, x: Tensor) -> int:
    """The dimension of the input or output of a layer that holds its channels."""
    if isinstance(module, nn.Linear | nn.RNNBase):
        return x.dim() - 1
    return 0 if isinstance(module, _ConvNd) and x.dim() == len(module.kernel_size) + 1 else 1
