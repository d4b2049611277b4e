"""PyTorchVideo's own networks beside ours: their files, through `kinema weights import`, without any option.

Runs where `pytorchvideo` is installed (`pip install --no-deps pytorchvideo fvcore iopath parameterized yacs portalocker
tabulate termcolor`); torchvision, which only its detection heads use, is replaced by a stub. Weights and the statistics
of every BatchNorm are random, so that an eps, an order or a choice of frames that differs shows.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kinema.cli import main
from kinema.recognizer import Recognizer

if find_spec("pytorchvideo") is None:
    pytest.skip("pytorchvideo is not installed", allow_module_level=True)

CLASSES = 7


@pytest.fixture(scope="module", autouse=True)
def without_torchvision() -> Iterator[None]:
    """Its heads for detection import one thing of torchvision, which a CPU build of torch may not have."""
    names = ("torchvision", "torchvision.ops")
    before = {name: sys.modules.get(name) for name in names}
    whole, ops = (types.ModuleType(name) for name in names)
    ops.RoIAlign = nn.Identity  # type: ignore[attr-defined]
    whole.ops = ops  # type: ignore[attr-defined]
    sys.modules |= {"torchvision": whole, "torchvision.ops": ops}
    yield
    for name, module in before.items():
        if module is None:
            del sys.modules[name]
        else:
            sys.modules[name] = module


def hub(module: str, name: str, pack: Callable[[Tensor], Any], **options: Any) -> nn.Module:
    """A network of their hub, in evaluation, with random weights and statistics, and logits for an output.

    The statistics are near those of random clips, or nothing of a clip would come through.
    """
    from importlib import import_module

    torch.manual_seed(3)
    model = getattr(import_module(f"pytorchvideo.models.{module}"), name)(model_num_class=CLASSES, **options)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm3d)]
    for part in norms:
        part.momentum = 1.0
        nn.init.uniform_(part.weight, 0.5, 1.2)
        nn.init.normal_(part.bias, std=0.1)
    for part in model.modules():
        if isinstance(part, nn.Softmax):
            part.forward = lambda x: x  # type: ignore[method-assign]
    with whole_maps(model), torch.no_grad():
        model.train()(pack(torch.randn(2, 3, 16, 64, 64)))
    for part in norms:
        part.running_var *= torch.empty_like(part.running_var).uniform_(0.5, 1.5)
        part.running_mean += torch.randn_like(part.running_mean) * 0.1
    nn.init.normal_(model.blocks[-1].proj.weight, std=0.5)
    nn.init.normal_(model.blocks[-1].proj.bias, std=0.5)
    return model.eval()


@contextmanager
def whole_maps(model: nn.Module) -> Iterator[None]:
    """Their heads pool windows as large as the map of a clip of the training: here the whole map, whatever its size."""
    pools = [part for part in model.modules() if isinstance(part, nn.AvgPool3d)]
    for part in pools:
        part.forward = lambda x: x.mean((2, 3, 4), keepdim=True)  # type: ignore[method-assign]
    yield
    for part in pools:
        del part.forward


def one(x: Tensor) -> Any:
    return x


def pathways(alpha: int) -> Callable[[Tensor], list[Tensor]]:
    """As the PackPathway of their tutorial makes the two inputs."""

    def pack(x: Tensor) -> list[Tensor]:
        chosen = torch.linspace(0, x.shape[2] - 1, x.shape[2] // alpha).long()
        return [x[:, :, chosen], x]

    return pack


FEW = {
    "slowfast_fusion_conv_kernel_size": (5, 1, 1), "slowfast_fusion_conv_stride": (8, 1, 1),
    "head_pool_kernel_sizes": ((4, 7, 7), (32, 7, 7)),
}  # fmt: skip
# Network here, module and function there, their options, frames and side of a clip, what their network is given.
NETWORKS: list[tuple[str, str, str, dict[str, Any], int, int, Callable[[Tensor], Any]]] = [
    ("x3d_s", "hub.x3d", "x3d_s", {}, 13, 160, one),
    ("x3d_s", "hub.x3d", "x3d_xs", {}, 4, 160, one),
    ("slowonly_50", "hub.resnet", "slow_r50", {}, 8, 224, one),
    ("r2d_50", "hub.resnet", "c2d_r50", {}, 8, 224, one),
    ("i3d_50", "hub.resnet", "i3d_r50", {}, 8, 224, one),
    ("ir_csn_101", "hub.csn", "csn_r101", {}, 32, 224, one),
    ("r2plus1d_50", "hub.r2plus1d", "r2plus1d_r50", {}, 16, 224, one),
    ("slowfast_50", "hub.slowfast", "slowfast_r50", {}, 32, 224, pathways(4)),
    ("slowfast_50", "slowfast", "create_slowfast", FEW, 32, 224, pathways(8)),
    ("slowfast_101", "hub.slowfast", "slowfast_r101", {}, 32, 224, pathways(4)),
    ("slowfast_101", "hub.slowfast", "slowfast_16x8_r101_50_50", {}, 64, 224, pathways(4)),
]  # fmt: skip
IDS = [f"{n}-{there}" for n, _, there, *_ in NETWORKS]
SLOW = [network[4] * network[5] ** 2 > 8 * 224**2 for network in NETWORKS]
CASES = [
    pytest.param(*network, id=name, marks=pytest.mark.slow if slow else ())
    for network, name, slow in zip(NETWORKS, IDS, SLOW, strict=True)
]


def imported(there: nn.Module, name: str, folder: Path, *words: str) -> Recognizer:
    save_file({key: value.contiguous() for key, value in there.state_dict().items()}, folder / "theirs.safetensors")
    (folder / "labels.txt").write_text("\n".join(f"class {i}" for i in range(CLASSES)), encoding="utf-8")
    assert main(["weights", "import", str(folder / "theirs.safetensors"), "--model", name,
                 "--labels", str(folder / "labels.txt"), "--out", str(folder / "r"), *words]) == 0  # fmt: skip
    return Recognizer.load(folder / "r")


def check(there: nn.Module, here: Recognizer, x: Tensor, packed: Any) -> None:
    packed = [part.double() for part in packed] if isinstance(packed, list) else packed.double()
    with torch.no_grad():  # in double precision, so that nothing but rounding is forgiven
        expected, found = there.double()(packed), here.model.double()(x.double())
    assert torch.isfinite(expected).all()
    assert len(x) == 1 or (expected[0] - expected[1]).abs().max() > 0.01 * expected.abs().max()
    difference = (found - expected).abs().max() / expected.abs().max()
    assert difference < 1e-9, float(difference)


@pytest.mark.parametrize(("name", "module", "hub_name", "options", "frames", "side", "pack"), CASES)
def test_it_computes_what_theirs_does_at_their_own_size(
    name: str, module: str, hub_name: str, options: dict[str, Any], frames: int, side: int,
    pack: Callable[[Tensor], Any], tmp_path: Path,
) -> None:  # fmt: skip
    there = hub(module, hub_name, pack, **options)
    here = imported(there, name, tmp_path)
    x = torch.randn(1, 3, frames, side, side, generator=torch.Generator().manual_seed(1))
    check(there, here, x, pack(x))


@pytest.mark.parametrize(("name", "module", "hub_name", "options", "frames", "side", "pack"), NETWORKS, ids=IDS)
def test_it_computes_what_theirs_does(
    name: str, module: str, hub_name: str, options: dict[str, Any], frames: int, side: int,
    pack: Callable[[Tensor], Any], tmp_path: Path,
) -> None:  # fmt: skip
    """On smaller clips, whose sides are odd from stage to stage."""
    there = hub(module, hub_name, pack, **options)
    here = imported(there, name, tmp_path)
    x = torch.randn(2, 3, min(frames, 16), 65, 65, generator=torch.Generator().manual_seed(1))
    x = x * torch.tensor([0.3, 1.5]).view(2, 1, 1, 1, 1)
    with whole_maps(there):
        check(there, here, x, pack(x))
    card = json.loads((tmp_path / "r" / "card.json").read_text(encoding="utf-8"))
    assert card["weights"]["format"] == card["weights"]["implied"]["format"] == "PyTorchVideo"
    assert here.spec.mean == (0.45, 0.45, 0.45)
    assert here.spec.std == (0.225, 0.225, 0.225)
