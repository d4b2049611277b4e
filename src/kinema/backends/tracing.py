"""A network as a `torch.export` program whose batch and time may vary, the form from which all files are made."""

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

_NO_LIMIT = 2**31  # what a program allows beyond this is as good as unlimited


@dataclass(frozen=True)
class Traced:
    """A program and the names of its inputs and outputs.

    Attributes:
        program: in inference, on the CPU.
        inputs: names, the clips or frames first.
        outputs: names, the logits first.
        batch: whether any number of clips may be given at once.
        frames: fewest and most frames that may be given, the latter None if there is no limit; both are the traced
            length where it is fixed.
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
    """Traces a network; a dimension that it can only compute at the traced size stays at that size.

    Args:
        network: takes the clips, and after them the list of state tensors where there are any; gives the logits, and
            after them as many state tensors.
        clips: at least 2 of them, of at least 2 frames: a dimension of size 1 would be fixed.
        state: tensors whose first dimension is the batch.
        inputs: a name for the clips and for each state tensor.
        outputs: a name for the logits and for each state tensor.
        time_axis: dimension of `clips` that is time.
        fixed_length: keep the traced length even where others could be computed.

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
    except Exception as error:  # the tracer raises what the network or its own passes raise
        raise KinemaError(
            f"{name_of(network)} cannot be exported: torch.export failed with {first_line(error)}"
        ) from error
    shape = clips_of(program).shape
    return Traced(program, tuple(inputs), tuple(outputs), _size(shape[0]) is None, _limits(program, shape[time_axis]))


def clips_of(program: ExportedProgram) -> Tensor:
    """The first input of a program, as it was traced."""
    first = program.graph_signature.user_inputs[0]
    node = next(node for node in program.graph.nodes if node.op == "placeholder" and node.name == first)
    value: Tensor = node.meta["val"]
    return value


def _size(size: int | torch.SymInt) -> int | None:
    """A size that is fixed; None for one that may vary."""
    return size if isinstance(size, int) else size.node.maybe_as_int()


def _limits(program: ExportedProgram, frames: int | torch.SymInt) -> tuple[int, int | None]:
    if (fixed := _size(frames)) is not None:
        return fixed, fixed
    assert not isinstance(frames, int)
    allowed = next((r for s, r in program.range_constraints.items() if s == frames.node.expr), None)
    if allowed is None:
        return 1, None
    lower, upper = int(allowed.lower), allowed.upper
    # 2 is what the tracer takes for granted of every size that may vary; it does not hold one against a file.
    return 1 if lower <= 2 else lower, int(upper) if upper < _NO_LIMIT else None


def name_of(network: nn.Module) -> str:
    """The registered name of a network, else that of its class."""
    architecture = getattr(network, "architecture", None)
    return str(architecture["name"]) if isinstance(architecture, dict) else type(network).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and log lines of exporters, which speak to those who write exporters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
