"""OpenVINO's files (XML and BIN) and its runtime, on the CPU and in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from kinema.backends.onnx import Onnx, Run, write_onnx
from kinema.backends.packages import missing
from kinema.backends.tracing import Traced, quiet
from kinema.errors import KinemaError
from kinema.files import require_readable
from kinema.text import first_line

_SECTION = "kinema"  # key of the runtime information in the XML file


class OpenVino(Onnx):
    """Converts networks to OpenVINO through ONNX, and runs such files.

    On CPUs with bfloat16 instructions OpenVINO uses bfloat16 by default; here it is set to float32.

    Attributes:
        name: name of the backend, and of the format of `kinema export`.
        suffix: suffix of its files; the weights are in a file with the suffix `.bin` beside it.
        hint: the precision that is set in OpenVINO.
    """

    name = "openvino"
    suffix = ".xml"
    hint = "f32"

    def available(self) -> str | None:
        """Returns why networks cannot be converted, with the pip command; None if they can."""
        return missing("onnx", "onnxscript", "onnxruntime", "openvino")

    def readable(self) -> str | None:
        """Returns why files cannot be run, with the pip command; None if they can."""
        return missing("openvino")

    def run_onnx(self, path: Path, calibration: Sequence[Tensor]) -> Run:
        """Does the same as `Onnx.run_onnx`, with OpenVINO in the precision `hint`."""
        return compiled(read_onnx(path), self.hint)

    def write(self, traced: Traced, path: Path, metadata: dict[str, str]) -> list[Path]:
        """Writes a program as two files.

        Args:
            traced: the program.
            path: a name that ends in `.xml`; its folder exists.
            metadata: texts that are stored in the XML file.

        Returns:
            The written files, the XML file last.

        Raises:
            KinemaError: PyTorch or OpenVINO cannot convert one of its operations.
        """
        import openvino

        with TemporaryDirectory() as folder:
            whole = Path(folder) / "network.onnx"
            write_onnx(traced, whole)
            model = read_onnx(whole)
        for key, text in metadata.items():
            model.set_rt_info(text, [_SECTION, key])
        openvino.save_model(model, path, compress_to_fp16=False)
        return [path.with_suffix(".bin"), path]

    def metadata(self, path: Path) -> dict[str, str]:
        """Returns the metadata of a file.

        Raises:
            KinemaError: it is not an OpenVINO file, or the file with the weights is missing.
        """
        model = _read(path)
        if not model.has_rt_info([_SECTION]):
            return {}
        found = model.get_rt_info([_SECTION]).value
        return {key: str(value) for key, value in found.items()}

    def open(self, path: Path) -> Run:
        """Returns a function that runs a file: the inputs in order -> the outputs in order.

        Raises:
            KinemaError: it is not an OpenVINO file, or the file with the weights is missing.
        """
        return compiled(_read(path))


def read_onnx(path: Path) -> Any:
    """Reads an ONNX file as an OpenVINO model.

    Raises:
        KinemaError: OpenVINO cannot convert it.
    """
    import openvino

    try:
        with quiet():
            model = openvino.convert_model(path)
    except Exception as error:  # the errors of its front end have no common base class
        raise KinemaError(f"the network cannot be converted to OpenVINO ({first_line(error)})") from error
    return model


def _read(path: Path) -> Any:
    import openvino

    require_readable(path)
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise KinemaError(
            f"{path}: {weights.name}, the file of its weights, is missing in the same folder; copy both files"
        )
    try:
        return openvino.Core().read_model(path, weights)
    except Exception as error:
        raise KinemaError(
            f"{path}: damaged or not an OpenVINO file ({first_line(error)}); export it again with kinema export"
        ) from error


def compiled(model: Any, hint: str = "f32") -> Run:
    """Returns a function that runs a model in the precision `hint`, `f32` or `bf16`."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()

    def run(values: Sequence[Tensor]) -> list[Tensor]:
        arrays = [value.detach().cpu().contiguous().numpy() for value in values]
        found = request.infer(dict(enumerate(arrays)))
        return [torch.from_numpy(value.copy()) for value in found.to_tuple()]

    return run
