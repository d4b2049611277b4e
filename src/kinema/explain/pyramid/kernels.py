"""The layers of a back-step, which are convolutions, linear and recurrent layers, and their kernels."""

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
    """The weights from the inputs to the outputs of a layer.

    Attributes:
        weights: float C_out [C_in / groups], the mean of each kernel over time, height and width.
        groups: number of groups of channels.
    """

    weights: Tensor
    groups: int = 1

    def group_of(self, channels: Tensor) -> Tensor:
        """Returns the group of each output channel."""
        return channels // (len(self.weights) // self.groups)

    def rows(self, channels: Tensor) -> Rows:
        """Returns the kernels of some outputs, zero-inflated to all inputs.

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
    """The kernel of a stage whose inner operations cannot be followed: the gradient of its output at this clip.

    The mean of an output channel is differentiated with respect to every input; a row is the sum of the gradient over
    time, height and width. For a convolution with stride 1 this is the sum of its kernel, except at the borders.

    Args:
        model: the network, which is put into evaluation mode meanwhile.
        stage: one of its modules.
        name: name of the stage.
        x: the input of the stage, `1 C T H W`.
    """

    groups = 1

    def __init__(self, model: nn.Module, stage: nn.Module, name: str, x: Tensor) -> None:
        self._model, self._stage, self._name, self._x = model, stage, name, x

    def group_of(self, channels: Tensor) -> Tensor:
        """Returns zeros: all outputs are in one group."""
        return torch.zeros_like(channels)

    def rows(self, channels: Tensor) -> Rows:
        """Does the same as `Kernel.rows`.

        Raises:
            KinemaError: the stage cannot run separately on its input, or no gradient passes through it.
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
    """Returns the kernel of a layer.

    For a recurrent layer, these are the weights from its input to the content of its states (the candidate of an LSTM
    or GRU); the weights of stacked layers are multiplied.
    """
    with torch.no_grad():
        if isinstance(module, nn.RNNBase):
            return Kernel(_recurrent(module))
        weight: Any = module.weight
        groups = module.groups if isinstance(module, _ConvNd) else 1
        return convolution_kernel(weight.detach(), groups, isinstance(module, _ConvTransposeNd))


def convolution_kernel(weight: Tensor, groups: int, transposed: bool = False) -> Kernel:
    """Returns the kernel of a convolution or a linear layer from its weights in PyTorch's shape."""
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
        name: name of its module; for a module that runs several times, later runs are `NAME#2`, …
        module: the module; None for an operation with weights that is not a module.
        call: index of the run of the module, or of such operations, from 0.
        kernel: its kernel; None for a stage that uses a `LocalKernel`.
        inputs: int64 C_in, the origin of each input channel.
        dim: dimension of its input that contains the channels.
        argument: index of the argument that is the input of an operation.
    """

    name: str
    module: nn.Module | None
    call: int
    kernel: Callable[[], Kernel] | None
    inputs: Tensor
    dim: int
    argument: int = 0


def channel_dim(module: nn.Module, x: Tensor) -> int:
    """Returns the dimension of the input or output of a layer that contains its channels."""
    if isinstance(module, nn.Linear | nn.RNNBase):
        return x.dim() - 1
    return 0 if isinstance(module, _ConvNd) and x.dim() == len(module.kernel_size) + 1 else 1
