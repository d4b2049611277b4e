"""OpenVINO's files (XML and BIN) and its runtime, on the CPU and in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from kinema.backends.base import Runner
from kinema.backends.onnx import Onnx, Run
from kinema.backends.packages import missing
from kinema.backends.recurrent import onnx_cells
from kinema.backends.tracing import Traced, first_line, quiet, trace
from kinema.errors import KinemaError
from kinema.files import require_readable

_SECTION = "kinema"  # of the runtime information in the XML file


class OpenVino:
    """Converts networks to OpenVINO, by way of ONNX, and runs such files.

    Some CPUs have bfloat16 units, which OpenVINO then uses by itself; here it is told to compute in float32.

    Attributes:
        name: of the backend, and of the format of `kinema export`.
        suffix: of its files; the weights lie beside it in a file that ends in `.bin`.
        hint: the precision that OpenVINO is told to compute in.
    """

    name = "openvino"
    suffix = ".xml"
    hint = "f32"

    def available(self) -> str | None:
        """Why networks cannot be converted here, with the pip command; None where they can."""
        return missing("onnx", "onnxscript", "onnxruntime", "openvino")

    def readable(self) -> str | None:
        """Why files cannot be run here, with the pip command; None where they can."""
        return missing("openvino")

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """The network as OpenVINO computes it.

        Args:
            network: on the CPU.
            example: clips N 3 T H W.
            calibration: not used, the computation stays in float32.

        Returns:
            From clips to logits, as the network, for any number of clips of this length and size.

        Raises:
            KinemaError: a package is missing, or the network cannot be converted.
        """
        if reason := self.available():
            raise KinemaError(f"the backend {self.name}: {reason}")
        clips = example if len(example) > 1 else example.repeat(2, 1, 1, 1, 1)  # one would fix the batch
        with onnx_cells(network):
            traced = trace(network, clips, fixed_length=True)
        with TemporaryDirectory() as folder:
            run = _compiled(_converted(traced, Path(folder) / "network.onnx"), self.hint)
        return lambda clips: run([clips])[0]

    def write(self, traced: Traced, path: Path, metadata: dict[str, str]) -> list[Path]:
        """Writes a program as two files.

        Args:
            traced: the program.
            path: ends in `.xml`; its folder exists.
            metadata: texts that the XML file holds.

        Returns:
            The files that were written, the XML file last.

        Raises:
            KinemaError: PyTorch or OpenVINO cannot convert one of its operations.
        """
        import openvino

        with TemporaryDirectory() as folder:
            model = _converted(traced, Path(folder) / "network.onnx")
        for key, text in metadata.items():
            model.set_rt_info(text, [_SECTION, key])
        openvino.save_model(model, path, compress_to_fp16=False)
        return [path.with_suffix(".bin"), path]

    def metadata(self, path: Path) -> dict[str, str]:
        """The texts that a file holds.

        Raises:
            KinemaError: it is no OpenVINO file, or the one with the weights is missing.
        """
        model = _read(path)
        if not model.has_rt_info([_SECTION]):
            return {}
        found = model.get_rt_info([_SECTION]).value
        return {key: str(value) for key, value in found.items()}

    def open(self, path: Path) -> Run:
        """A function that runs a file: the inputs in their order -> the outputs in their order.

        Raises:
            KinemaError: it is no OpenVINO file, or the one with the weights is missing.
        """
        return _compiled(_read(path))


def run_onnx(path: Path, hint: str) -> Run:
    """A function that runs an ONNX file with OpenVINO.

    Args:
        path: of the file, which is not needed afterwards.
        hint: the precision to compute in, `f32` or `bf16`.

    Raises:
        KinemaError: OpenVINO cannot convert it.
    """
    return _compiled(_read_onnx(path), hint)


def _converted(traced: Traced, path: Path) -> Any:
    Onnx().write(traced, path, {})
    return _read_onnx(path)


def _read_onnx(path: Path) -> Any:
    import openvino

    try:
        with quiet():
            model = openvino.convert_model(path)
    except Exception as error:  # its front end has no common base class for errors
        raise KinemaError(f"the network cannot be converted to OpenVINO ({first_line(error)})") from error
    return model


def _read(path: Path) -> Any:
    import openvino

    require_readable(path)
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise KinemaError(f"{path}: {weights.name}, which holds the weights, is missing beside it; copy both files")
    try:
        return openvino.Core().read_model(path, weights)
    except Exception as error:
        raise KinemaError(
            f"{path}: damaged or not an OpenVINO file ({first_line(error)}); export it again with kinema export"
        ) from error


def _compiled(model: Any, hint: str = "f32") -> Run:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()

    def run(values: Sequence[Tensor]) -> list[Tensor]:
        arrays = [value.detach().cpu().contiguous().numpy() for value in values]
        found = request.infer(dict(enumerate(arrays)))
        return [torch.from_numpy(value.copy()) for value in found.to_tuple()]

    return run
