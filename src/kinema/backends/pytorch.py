"""Backends of PyTorch itself: folded, in bfloat16, compiled, and CUDA graphs.

All of them fold BatchNorm into the convolutions and use the channels-last memory format for kernels.
"""

from __future__ import annotations

import copy
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from kinema.backends.base import Runner
from kinema.backends.exported import ExportedNetwork
from kinema.backends.folding import fold_batchnorm
from kinema.backends.recurrent import keep_cells_whole
from kinema.backends.tracing import check_size, quiet
from kinema.backends.winograd import use_winograd, winograd_operations
from kinema.errors import KinemaError
from kinema.ops.layout import channels_last, stored_pixels
from kinema.processes import cpu_flags
from kinema.text import first_line

_BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # CPU flags of x86 and ARM


class Folded:
    """Eager PyTorch with BatchNorm folded, in float32."""

    name = "folded"
    precision = "float32"
    devices: tuple[str, ...] = ("cpu", "cuda", "mps")

    def available(self) -> str | None:
        """Returns None, because PyTorch is always available."""
        return None

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Returns a copy of the network without the BatchNorms that can be folded; see `Backend.build`."""
        return self.prepared(network, example)

    def prepared(self, network: nn.Module, example: Tensor) -> nn.Module:
        """Returns the folded copy, with kernels in the channels-last memory format."""
        folded, _ = fold_batchnorm(network, example[:1])
        channels_last(folded)
        return folded


class InBfloat16(nn.Module):
    """A copy of a network in bfloat16 with float32 inputs and outputs, N 3 T H W -> N K.

    Recurrent layers stay in float32: on a CPU, their products with single vectors are slower in bfloat16.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).bfloat16()
        for name, module in network.named_modules():
            if isinstance(module, nn.RNNBase):
                self.network.set_submodule(name, copy.deepcopy(module))

    def forward(self, clips: Tensor) -> Tensor:
        """N 3 T H W -> N K."""
        logits: Tensor = self.network(clips.bfloat16())
        return logits.float()


class PooledPixels(nn.Module):
    """A max pooling whose output is stored in channels-last memory, N C H W.

    The compiler would store it in PyTorch's default layout, and copy it for each convolution that reads it through a
    view.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H' W'."""
        return stored_pixels(self.pool(x)).permute(0, 3, 1, 2)


class Bfloat16(Folded):
    """Eager PyTorch with weights and activations in bfloat16."""

    name = "bfloat16"
    precision = "bfloat16"
    devices = ("cpu", "cuda")

    def available(self) -> str | None:
        """Returns why bfloat16 would be slow here; None if the processor supports it."""
        return None if torch.cuda.is_available() else no_bfloat16_units()

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Returns a copy of the network in bfloat16; see `Backend.build`."""
        return InBfloat16(self.prepared(network, example))


class Compiled(Folded):
    """A program that PyTorch's compiler makes of the network.

    On a CPU it is a library (AOTInductor), whose calls take no time in Python. Its constants are the weights, in the
    layout that its convolutions need. It takes one clip at a time, so that it works for every batch size. On a GPU,
    `torch.compile` makes one program per batch size.

    Attributes:
        narrow: compute in bfloat16.
        library: file of the library: the next `build` loads it if it exists, otherwise writes it. None writes no file.
    """

    name = "compile"
    devices = ("cpu", "cuda")
    narrow = False
    library: Path | None = None

    def available(self) -> str | None:
        """Returns why nothing can be compiled here; None if there is a C++ compiler."""
        return no_compiler()

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Returns a program for clips of the example's shape; see `Backend.build`."""
        on_cpu = example.device.type == "cpu"
        if on_cpu and self.library is not None and self.library.is_file():
            return _one_by_one(load(self.library))
        with torch.inference_mode(False), torch.no_grad():  # tensors of that mode cannot be compiled
            folded = self.prepared(network, example.clone())
            keep_cells_whole(folded)
            if on_cpu:
                for name, part in list(folded.named_modules()):
                    if type(part) is nn.MaxPool2d and name:
                        folded.set_submodule(name, PooledPixels(part))
                use_winograd(folded, example[:1], torch.bfloat16 if self.narrow else torch.float32)
            whole = InBfloat16(folded) if self.narrow else folded
            if on_cpu:
                return _one_by_one(_program(whole, example[:1].clone(), self.library))
        programs: dict[int, Runner] = {}

        def run(clips: Tensor) -> Tensor:
            with torch.inference_mode(False), torch.no_grad():
                clips = clips.clone()
                if len(clips) not in programs:
                    programs[len(clips)] = _program(whole, clips)
                return programs[len(clips)](clips)

        run(example[:1])
        return run


class Bfloat16Compiled(Compiled):
    """A program that PyTorch's compiler makes of the network, in bfloat16."""

    name = "compile+bfloat16"
    precision = "bfloat16"
    narrow = True

    def available(self) -> str | None:
        """Returns why it cannot be used here or would be slow; else None."""
        return super().available() or Bfloat16().available()


class Graphs(Folded):
    """CUDA graphs: one call starts all kernels of a forward pass; one graph per number of clips."""

    name = "graphs"
    devices = ("cuda",)
    narrow = False

    def available(self) -> str | None:
        """Returns why there are no CUDA graphs here; None if there is a GPU."""
        return None if torch.cuda.is_available() else "no CUDA device was found"

    def build(self, network: nn.Module, example: Tensor, calibration: Sequence[Tensor] = ()) -> Runner:
        """Returns graphs of the folded network; see `Backend.build`."""
        folded = self.prepared(network, example)
        run = InBfloat16(folded) if self.narrow else folded
        graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

        def replay(clips: Tensor) -> Tensor:
            key = tuple(clips.shape)
            if key not in graphs:
                graphs[key] = _captured(run, clips)
            graph, source, result = graphs[key]
            source.copy_(clips)
            graph.replay()
            return result.clone()

        replay(example)
        return replay


class Bfloat16Graphs(Graphs):
    """CUDA graphs in bfloat16."""

    name = "graphs+bfloat16"
    precision = "bfloat16"
    narrow = True


def no_bfloat16_units() -> str | None:
    """Returns why bfloat16 would be slow on this processor; None if it has instructions for it or this is not known."""
    flags = cpu_flags()
    if flags and not flags & set(_BFLOAT16_UNITS):
        return f"this CPU ({platform.machine()}) has no bfloat16 instructions, such as avx512_bf16 or amx_bf16"
    return None


def no_compiler() -> str | None:
    """Returns why nothing can be compiled here; None if there is a C++ compiler."""
    if any(map(shutil.which, ("g++", "clang++", "c++"))):
        return None
    return "no C++ compiler was found: install g++, for example with apt install g++"


def compiled(exported: ExportedProgram, library: Path | None = None) -> Runner:
    """Compiles a program for the CPU and loads it; its weights become constants.

    Args:
        exported: the program.
        library: file to write; None removes it afterwards.
    """
    import torch._inductor as inductor

    # The layouts are those of channels-last memory already; changing them fails where the output of a convolution is
    # viewed in another shape.
    fixed = inductor.config.patch(freezing=True, layout_optimization=False)
    with TemporaryDirectory() as folder, fixed, torch.no_grad(), quiet():
        path = library or Path(folder) / "network.pt2"
        inductor.aoti_compile_and_package(exported, package_path=str(path))
        return load(path)


def load(library: Path) -> Runner:
    """Loads a file that `compiled` has written; the file is not needed afterwards."""
    import torch._inductor as inductor

    found: Runner = inductor.aoti_load_package(str(library))
    return found


def _one_by_one(program: Runner) -> Runner:
    """Returns a runner for any number of clips, of a program for one clip."""

    def run(clips: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return torch.cat([program(clip) for clip in clips.clone().split(1)])

    return run


def _program(network: nn.Module, clips: Tensor, library: Path | None = None) -> Runner:
    """Returns a program for clips of the same shape as these, their number included; see `compiled`.

    Raises:
        KinemaError: PyTorch cannot compile it, or it is too large.
    """
    try:
        with quiet():
            exported = torch.export.export(network, (clips,), strict=False)
    except Exception as error:  # the tracer passes on all errors of the network and of its own passes
        raise KinemaError(f"torch.export failed: {first_line(error)}") from error
    check_size(exported.graph, winograd_operations(network))
    try:
        # A library for a GPU would need the CUDA toolkit to build.
        on_cpu = clips.device.type == "cpu"
        program: Runner = compiled(exported, library) if on_cpu else torch.compile(exported.module(), dynamic=False)
        program(clips)
    except Exception as error:  # the compiler passes on all errors of its passes
        raise KinemaError(f"the compiler of PyTorch failed: {first_line(error)}") from error
    return program


def _captured(run: Runner, clips: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
    """Returns a graph with its input and output tensors."""
    source = clips.clone()
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):  # libraries choose their kernels in the first passes, which must not be recorded
        for _ in range(3):
            run(source)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run(source)
    return graph, source, result


def require_bfloat16(network: nn.Module, device: torch.device) -> None:
    """Rejects bfloat16 if it would be slow or have no effect.

    Raises:
        KinemaError: bfloat16 is not useful here; the message gives the reason.
    """
    why = no_bfloat16_units() if device.type == "cpu" else None
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        why = "this GPU does not support bfloat16"
    if isinstance(network, ExportedNetwork):
        why = f"{network.path} is an exported file, whose precision is fixed"
    if why is not None:
        raise KinemaError(f"precision is bf16, but {why}: use 32")
