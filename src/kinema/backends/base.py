"""What every backend offers, and where to find each by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol

from torch import Tensor, nn

from kinema.errors import unknown

Runner = Callable[[Tensor], Tensor]  # clips N 3 T H W float32 -> float32 logits N K

# Name -> module and class, imported when it is first asked for; the order in which they are tried.
BACKENDS: dict[str, str] = {
    "folded": "kinema.backends.pytorch:Folded",
    "packed": "kinema.backends.packing:Packed",
    "bfloat16": "kinema.backends.pytorch:Bfloat16",
    "graphs": "kinema.backends.pytorch:Graphs",
    "graphs+bfloat16": "kinema.backends.pytorch:Bfloat16Graphs",
    "openvino+bfloat16": "kinema.backends.reduced:OpenVinoBfloat16",
    "compile+bfloat16": "kinema.backends.pytorch:Bfloat16Compiled",
    "openvino": "kinema.backends.openvino:OpenVino",
    "compile": "kinema.backends.pytorch:Compiled",
    "onnx": "kinema.backends.onnx:Onnx",
    "int8": "kinema.backends.reduced:Int8",
}
PRECISIONS = ("float32", "bfloat16", "int8")


class Backend(Protocol):
    """A way to run a network.

    Attributes:
        name: as in `BACKENDS`.
    """

    name: str

    def available(self) -> str | None:
        """Why it cannot be used here, as part of a sentence that names the pip command; None where it can."""
        ...

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Prepares a network, which stays as it is.

        Args:
            network: in evaluation mode.
            example: clips N 3 T H W float32, as the runner will be given them.
            calibration: such clips, from which the ranges of whole numbers are taken; for backends that need them.

        Returns:
            What runs the network.

        Raises:
            KinemaError: a package is missing, or the network cannot be converted.
        """
        ...


def precision_of(backend: Backend) -> str:
    """One of `PRECISIONS`: the `precision` of a backend, `float32` where it states none."""
    found = getattr(backend, "precision", PRECISIONS[0])
    return found if found in PRECISIONS else PRECISIONS[0]


def devices_of(backend: Backend) -> tuple[str, ...]:
    """Types of the devices that a backend runs on: its `devices`, the CPU alone where it states none."""
    return tuple(getattr(backend, "devices", ("cpu",)))


def find_backend(name: str) -> Backend:
    """The backend of a name.

    Raises:
        KinemaError: there is no such backend.
    """
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    module, _, of = BACKENDS[name].partition(":")
    found: Backend = getattr(import_module(module), of)()
    return found
