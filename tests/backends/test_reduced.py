"""OpenVINO and ONNX Runtime as backends of `choose`, on a tiny network."""

import pytest
import torch
from torch import Tensor, nn

from kinema.backends.agreement import agreement
from kinema.backends.base import find_backend, precision_of
from kinema.backends.convolutions import convolution_faults
from kinema.errors import KinemaError

pytest.importorskip("openvino")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


class Small(nn.Module):
    """Clips N 3 T H W -> logits N 5."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.classifier = nn.Conv3d(3, 16, 3, 1, 1), nn.BatchNorm3d(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return 10 * self.classifier(self.norm(self.conv(x)).relu().mean((2, 3, 4)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["openvino", "openvino+bfloat16", "onnx", "int8"])
def test_the_runner_agrees_with_the_network_at_any_batch_and_with_the_reference(name: str) -> None:
    network = Small().eval()
    clips = torch.randn(3, 3, 4, 16, 16)
    backend = find_backend(name)
    with torch.no_grad():
        expected = network(clips)
        run = backend.build(network, clips[:1], list(clips.split(1)))
        for batch in (1, 2, 3):
            assert agreement(expected[:batch], run(clips[:batch])).objection(precision_of(backend)) is None
    assert convolution_faults(backend) == []


def test_int8_without_clips_to_set_the_ranges_is_refused() -> None:
    with pytest.raises(KinemaError, match="calibration"):
        find_backend("int8").build(Small().eval(), torch.zeros(1, 3, 4, 16, 16))


@pytest.mark.parametrize("name", ["openvino", "onnx", "int8", "openvino+bfloat16"])
def test_a_missing_package_is_named_with_the_pip_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinema.backends.packages.import_module", _absent)
    reason = find_backend(name).available()
    assert reason is not None and "pip install 'kinema[export]'" in reason


def _absent(name: str) -> None:
    raise ImportError(name)
