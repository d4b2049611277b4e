"""The interface of backends, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from kinema.errors import unknown

Runner = Callable[[Tensor], Tensor]  # clips N 3 T H W float32 -> float32 logits N K

# Name -> module and class, imported on first use; in the order in which they are tried.
BACKENDS: dict[str, str] = {
    "folded": "kinema.backends.pytorch:Folded",
    "packed": "kinema.backends.packing:Packed",
    "bfloat16": "kinema.backends.pytorch:Bfloat16",
    "softpool+bfloat16": "kinema.backends.poolings:Bfloat16SoftPool",
    "softpool": "kinema.backends.poolings:SoftPool",
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
        name: its name in `BACKENDS`.
    """

    name: str

    def available(self) -> str | None:
        """Returns why it cannot be used here, as part of a sentence with the pip command; None if it can."""
        ...

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Prepares a network, which is left unchanged.

        Args:
            network: the network, in evaluation mode.
            example: clips N 3 T H W float32, of the shape that the runner will get.
            calibration: such clips, to calibrate the ranges of integers; for backends that need them.

        Returns:
            A function that runs the network.

        Raises:
            KinemaError: a package is missing, or the network cannot be converted.
        """
        ...


def precision_of(backend: Backend) -> str:
    """Returns the `precision` of a backend, one of `PRECISIONS`; `float32` by default."""
    found = getattr(backend, "precision", PRECISIONS[0])
    return found if found in PRECISIONS else PRECISIONS[0]


def devices_of(backend: Backend) -> tuple[str, ...]:
    """Returns the types of devices that a backend runs on: its `devices`, by default only the CPU."""
    return tuple(getattr(backend, "devices", ("cpu",)))


def convolutions_of(backend: Backend) -> Backend:
    """Returns the backend that computes 3-D convolutions as this one: its `convolutions`, by default itself."""
    found: Backend = getattr(backend, "convolutions", backend)
    return found


@contextmanager
def library_at(backend: Backend, path: Path | None) -> Iterator[None]:
    """Sets the `library` of a backend inside the `with` block: the file that it loads or writes. Others have none."""
    if not hasattr(backend, "library"):
        yield
        return
    before, backend.library = backend.library, path
    try:
        yield
    finally:
        backend.library = before


def find_backend(name: str) -> Backend:
    """Returns the backend with a name.

    Raises:
        KinemaError: there is no such backend.
    """
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    module, _, of = BACKENDS[name].partition(":")
    found: Backend = getattr(import_module(module), of)()
    return found
