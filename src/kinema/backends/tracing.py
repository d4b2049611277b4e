"""Tracing of a network to a `torch.export` program with variable batch and time, from which all files are made."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from kinema.errors import KinemaError
from kinema.models.modes import in_evaluation
from kinema.text import first_line

_NO_LIMIT = 2**31  # a larger limit of a program counts as unlimited
# `torch.compile` on one core of an AMD EPYC took 33 s for `stm_r18` (614 operations) and 64 s for `x3d_m` (1,116).
# `mtnet_m` has 14,444; neither its compilation nor its conversion to ONNX ended within 8 minutes.
_SECONDS_PER_OPERATION = 0.055
LARGE = 5000


@dataclass(frozen=True)
class Traced:
    """A program and the names of its inputs and outputs.

    Attributes:
        program: the program for inference, on the CPU.
        inputs: names of the inputs, the clips or frames first.
        outputs: names of the outputs, the logits first.
        batch: whether the number of clips may vary.
        frames: smallest and largest number of frames, the latter None if there is no limit; for a fixed length, both
            are the traced length.
    """

    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: bool
    frames: tuple[int, int | None]


def trace(
    network: nn.Module,
    clips: Tensor,
    state: Sequence[Tensor] = (),
    *,
    inputs: Sequence[str] = ("clips",),
    outputs: Sequence[str] = ("logits",),
    time_axis: int = 2,
    fixed_length: bool = False,
) -> Traced:
    """Traces a network; a dimension that works only with the traced size is fixed.

    Args:
        network: takes the clips, and a list of state tensors if there are any; returns the logits, and as many state
            tensors.
        clips: at least 2 clips of at least 2 frames, because a dimension of size 1 would be fixed.
        state: tensors whose first dimension is the batch.
        inputs: a name for the clips and for each state tensor.
        outputs: a name for the logits and for each state tensor.
        time_axis: time dimension of `clips`.
        fixed_length: fix the traced length even if others are possible.

    Raises:
        KinemaError: PyTorch cannot trace the network.
    """
    sizes = {0: Dim.AUTO} if fixed_length else {0: Dim.AUTO, time_axis: Dim.AUTO}
    arguments: tuple[object, ...] = (clips, list(state)) if state else (clips,)
    shapes: tuple[object, ...] = (sizes, [{0: Dim.AUTO} for _ in state]) if state else (sizes,)
    try:
        with in_evaluation(network), torch.no_grad(), quiet():
            program = torch.export.export(network, arguments, dynamic_shapes=shapes, strict=False)
    except KinemaError:
        raise
    except Exception as error:  # the tracer passes on all errors of the network and of its own passes
        raise KinemaError(
            f"{name_of(network)} cannot be exported: torch.export failed with {first_line(error)}"
        ) from error
    shape = clips_of(program).shape
    return Traced(program, tuple(inputs), tuple(outputs), _size(shape[0]) is None, _limits(program, shape[time_axis]))


def clips_of(program: ExportedProgram) -> Tensor:
    """Returns the first input of a program, as traced."""
    first = program.graph_signature.user_inputs[0]
    node = next(node for node in program.graph.nodes if node.op == "placeholder" and node.name == first)
    value: Tensor = node.meta["val"]
    return value


def _size(size: int | torch.SymInt) -> int | None:
    """Returns a fixed size; None for a variable one."""
    return size if isinstance(size, int) else size.node.maybe_as_int()


def _limits(program: ExportedProgram, frames: int | torch.SymInt) -> tuple[int, int | None]:
    if (fixed := _size(frames)) is not None:
        return fixed, fixed
    assert not isinstance(frames, int)
    allowed = next((r for s, r in program.range_constraints.items() if s == frames.node.expr), None)
    if allowed is None:
        return 1, None
    lower, upper = int(allowed.lower), allowed.upper
    # The tracer assumes at least 2 for every variable size, but the written file also works with 1.
    return 1 if lower <= 2 else lower, int(upper) if upper < _NO_LIMIT else None


def name_of(network: nn.Module) -> str:
    """Returns the registered name of a network, else the name of its class."""
    architecture = getattr(network, "architecture", None)
    return str(architecture["name"]) if isinstance(architecture, dict) else type(network).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses the warnings and log lines of exporters, which address developers of exporters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def check_size(graph: torch.fx.Graph, besides: int = 0) -> None:
    """Rejects a network whose compilation or conversion would take too long for a trial.

    Args:
        graph: the traced network.
        besides: number of operations that do not count.

    Raises:
        KinemaError: it has more than 5,000 operations.
    """
    if (count := len(graph.nodes)) - besides > LARGE:
        minutes = count * _SECONDS_PER_OPERATION / 60
        raise KinemaError(f"it has {count} operations, which would take about {minutes:.0f} minutes or more to compile")
