"""ONNX files and ONNX Runtime, on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinema.backends.base import Runner
from kinema.backends.packages import missing
from kinema.backends.recurrent import onnx_cells, translations
from kinema.backends.tracing import LARGE, Traced, check_size, quiet, trace
from kinema.errors import KinemaError
from kinema.files import require_readable
from kinema.text import first_line

Run = Callable[[Sequence[Tensor]], list[Tensor]]
log = logging.getLogger(__name__)


class Onnx:
    """Converts networks to ONNX and runs such files with ONNX Runtime.

    Attributes:
        name: name of the backend, and of the format of `kinema export`.
        suffix: suffix of its files.
    """

    name = "onnx"
    suffix = ".onnx"

    def available(self) -> str | None:
        """Returns why networks cannot be converted, with the pip command; None if they can."""
        return missing("onnx", "onnxscript", "onnxruntime")

    def readable(self) -> str | None:
        """Returns why files cannot be run, with the pip command; None if they can."""
        return missing("onnxruntime")

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Converts a network to ONNX and prepares its runner; see `Backend.build`.

        Returns:
            A function from clips to logits, like the network, for any number of clips of this length and size.

        Raises:
            KinemaError: a package is missing, or the network cannot be converted.
        """
        if reason := self.available():
            raise KinemaError(f"the backend {self.name}: {reason}")
        clips = example if len(example) > 1 else example.repeat(2, 1, 1, 1, 1)  # a single clip would fix the batch size
        with onnx_cells(network):
            traced = trace(network, clips, fixed_length=True)
        check_size(traced.program.graph)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            write_onnx(traced, path)
            run = self.run_onnx(path, calibration)
        return lambda clips: run([clips])[0]

    def run_onnx(self, path: Path, calibration: Sequence[Tensor]) -> Run:
        """Returns a function that runs an ONNX file; the file is not needed afterwards.

        Args:
            path: path of the file.
            calibration: clips to calibrate ranges, for subclasses that need them.

        Raises:
            KinemaError: it is not an ONNX file, or cannot be converted further.
        """
        return self.open(path)

    def write(self, traced: Traced, path: Path, metadata: dict[str, str]) -> list[Path]:
        """Writes a program as a file.

        Args:
            traced: the program.
            path: a name that ends in `.onnx`; its folder exists.
            metadata: texts that are stored as `metadata_props`.

        Returns:
            The written files.

        Raises:
            KinemaError: PyTorch cannot convert one of its operations.
        """
        write_onnx(traced, path, metadata)
        return [path]

    def metadata(self, path: Path) -> dict[str, str]:
        """Returns the metadata of a file.

        Raises:
            KinemaError: it is not an ONNX file.
        """
        return dict(_session(path).get_modelmeta().custom_metadata_map)

    def open(self, path: Path) -> Run:
        """Returns a function that runs a file: the inputs in order -> the outputs in order.

        Raises:
            KinemaError: it is not an ONNX file.
        """
        session = _session(path)
        names = [port.name for port in session.get_inputs()]

        def run(values: Sequence[Tensor]) -> list[Tensor]:
            given = {name: _array(value) for name, value in zip(names, values, strict=True)}
            return [torch.from_numpy(value) for value in session.run(None, given)]

        return run


def write_onnx(traced: Traced, path: Path, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
    """Writes a program as an ONNX file.

    Args:
        traced: the program.
        path: a name that ends in `.onnx`; its folder exists.
        metadata: texts that are stored as `metadata_props`.

    Raises:
        KinemaError: PyTorch cannot convert one of its operations.
    """
    if (count := len(traced.program.graph.nodes)) > LARGE:
        log.warning("%s: the network has %d operations, whose conversion takes some minutes", path, count)
    try:
        with quiet(), torch.no_grad():
            converted = torch.onnx.export(
                traced.program, dynamo=True, input_names=list(traced.inputs), output_names=list(traced.outputs),
                custom_translation_table=_translations(), verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter wraps all errors of its passes
        raise KinemaError(f"{path}: the network cannot be converted to ONNX ({_cause(error)})") from error
    assert converted is not None
    converted.model.metadata_props.update(metadata)
    converted.save(path, external_data=False)


def _session(path: Path) -> Any:
    import onnxruntime

    require_readable(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised as well
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base class
        raise KinemaError(
            f"{path}: damaged or not an ONNX file ({first_line(error)}); export it again with kinema export"
        ) from error


def _array(value: Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = value.detach().cpu().contiguous().numpy()
    return array


def _cause(error: BaseException) -> str:
    """Returns the innermost error; the outer ones only say that the export failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Returns translations of operators that the converter does not know."""
    from onnxscript import opset18 as op

    def sort(x: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        shape: Any = op.Shape(x)
        axis: Any = op.Constant(value_ints=[dim])
        # Of equal values, the first one comes first.
        return op.TopK(x, op.Gather(shape, axis), axis=dim, largest=int(descending), sorted=1)

    return {torch.ops.aten.sort.stable: sort, **translations()}
