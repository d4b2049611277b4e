"""OpenVINO with lower precision than float32: bfloat16 and int8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kinema.backends.base import Runner
from kinema.backends.onnx import Run
from kinema.backends.openvino import OpenVino
from kinema.backends.pytorch import no_bfloat16_units
from kinema.backends.tracing import quiet
from kinema.errors import KinemaError
from kinema.text import first_line


class OpenVinoBfloat16(OpenVino):
    """OpenVINO in bfloat16."""

    name = "openvino+bfloat16"
    precision = "bfloat16"
    hint = "bf16"

    def available(self) -> str | None:
        """Returns why it cannot be used or would be slow; else None."""
        return super().available() or no_bfloat16_units()


class Int8(OpenVino):
    """Weights and activations of convolutions and matrix products in int8, computed by OpenVINO.

    ONNX Runtime calibrates the ranges: of weights per output channel, of activations by their minimum and maximum on
    the calibration clips.
    """

    name = "int8"
    precision = "int8"

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Returns the quantised network; see `Backend.build`.

        Raises:
            KinemaError: no calibration clips, a package is missing, or the network cannot be converted.
        """
        if self.available() is None and len(calibration) == 0:
            raise KinemaError(f"the backend {self.name}: calibration is empty; give clips to calibrate the ranges")
        return super().build(network, example, calibration)

    def run_onnx(self, path: Path, calibration: Sequence[Tensor]) -> Run:
        """Does the same as `Onnx.run_onnx`, after calibrating the ranges."""
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        narrow = path.with_name("int8.onnx")
        (clips,) = onnx.load(path).graph.input
        try:
            with quiet():
                quantize_static(
                    path, narrow, _Clips(clips.name, calibration), quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=["Conv", "MatMul", "Gemm"], per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod.MinMax,
                )  # fmt: skip
        except Exception as error:  # its passes raise errors of any type
            raise KinemaError(f"the network cannot be quantised ({first_line(error)})") from error
        return super().run_onnx(narrow, calibration)


class _Clips:
    """Provides calibration clips to ONNX Runtime, one at a time."""

    def __init__(self, name: str, clips: Sequence[Tensor]) -> None:
        batches = [clip[None] if clip.ndim == 4 else clip for clip in clips]
        self._left = [{name: part.float().cpu().contiguous().numpy()} for whole in batches for part in whole.split(1)]

    def get_next(self) -> dict[str, Any] | None:
        """Returns the next clip as an input of the network; None at the end."""
        return self._left.pop(0) if self._left else None
