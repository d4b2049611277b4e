"""`export`: writes a recognizer to a file for other programs, and keeps it only if it agrees with the network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from kinema.backends.description import KEY, Description, Port, StatePort
from kinema.backends.exported import ExportedNetwork
from kinema.backends.formats import FORMATS, Format
from kinema.backends.tracing import Traced, trace
from kinema.card import versions
from kinema.errors import KinemaError, RunError, unknown
from kinema.export.networks import Clips, Step
from kinema.export.parity import Agreement, compare
from kinema.files import reason
from kinema.models.inception3d import SameConv3d, SamePool3d
from kinema.models.modes import in_evaluation
from kinema.ops.mtconv import MTConv
from kinema.recognizer import Recognizer

_KEPT = ("training", "metrics", "weights")  # entries of the card that are copied to the file


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        files: all written files; the last one is the file to give to a runtime.
        description: the description in the file.
        checked: comparisons with the network.
    """

    files: tuple[Path, ...]
    description: Description
    checked: tuple[Agreement, ...]

    @property
    def difference(self) -> float:
        """The largest difference of a logit."""
        return max(agreement.difference for agreement in self.checked)

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `FILE.json`."""
        return {
            **self.description.to_dict(), "files": [path.name for path in self.files],
            "checked": [asdict(agreement) for agreement in self.checked], "versions": versions(),
        }  # fmt: skip


def export(
    recognizer: Recognizer,
    to: str,
    out: str | Path,
    *,
    preprocessing: bool = False,
    streaming: bool = False,
    state_rank: int = 5,
    fixed_length: bool = False,
) -> Exported:
    """Writes a recognizer to a file, and `FILE.json` beside it.

    The numbers of clips and frames may vary if the network allows it. The file is compared with the network at two
    numbers of clips and two lengths that were not traced, and removed if a number differs by more than 1e-4 (relative
    to the largest logit if it is above 1).

    Args:
        recognizer: a recognizer on the CPU.
        to: `onnx`, `openvino` or `torch` (a program of `torch.export`).
        out: the file; ends in `.onnx`, `.xml` or `.pt2`.
        preprocessing: the input is pixels, uint8 RGB N T H W 3, cropped and scaled to `spec.tested`, which the file
            normalises itself; else the input is normalised clips N 3 T H W.
        streaming: export one step of streams, with the state as further inputs and outputs, instead of whole clips.
        state_rank: largest number of dimensions of a part of the state: 5, or 4 for runtimes that support no more.
        fixed_length: fix the length of the recognizer's clips (for a stream: one frame at a time) even if others are
            possible.

    Returns:
        The files and their agreement with the network.

    Raises:
        KinemaError: the format is unknown, `out` cannot be such a file, a package is missing, the network cannot stream
            or be converted, or the recognizer is an exported file itself.
        RunError: the file does not agree with the network, or cannot be written.
    """
    if to not in FORMATS:
        raise unknown("format", to, FORMATS)
    form, path = FORMATS[to], _place(Path(out), FORMATS[to])
    if state_rank not in (4, 5):
        raise KinemaError(f"state_rank is {state_rank}: give 4, or 5 for the shape that the network uses")
    if state_rank != 5 and not streaming:
        raise KinemaError(
            f"state_rank is {state_rank}, but an export for clips has no state: add streaming, or remove state_rank"
        )
    if isinstance(recognizer.model, ExportedNetwork):
        raise KinemaError(f"{recognizer.model.path}: is already an exported file; give the recognizer folder")
    if lacking := form.available():
        raise KinemaError(f"export to {to}: {lacking}")
    network = recognizer.to("cpu").model
    with in_evaluation(network):
        job = _Job(recognizer, form, preprocessing, streaming, state_rank, fixed_length)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".part") as folder:
                return _written(job, Path(folder) / path.name, path)
        except OSError as error:
            raise RunError(f"{path}: cannot be written ({reason(error)}); choose another folder") from error


def _place(out: Path, form: Format) -> Path:
    if out.is_dir():
        raise KinemaError(f"{out}: is a folder; give a file that ends in {form.suffix}")
    if out.suffix.lower() != form.suffix:
        raise KinemaError(f"{out}: a file of the format {form.name} ends in {form.suffix}; rename it")
    if (beside := Path(f"{out}.json")).is_dir():
        raise KinemaError(
            f"{beside}: is a folder, but the description of {out.name} is written to this name; rename one of them"
        )
    return out


class _Job:
    """An export in progress: the traced module, its sizes, and the inputs of the check."""

    def __init__(
        self, recognizer: Recognizer, form: Format, pixels: bool, streaming: bool, rank: int, fixed_length: bool
    ) -> None:
        self.recognizer, self.form, self.pixels, self.streaming = recognizer, form, pixels, streaming
        self.fixed_length = fixed_length
        self.spec, self.model = recognizer.spec, recognizer.model
        self.network: nn.Module = (
            Step(self.model, self.spec, pixels=pixels, rank=rank)
            if streaming
            else Clips(self.model, self.spec if pixels else None)
        )
        self.usual = 1 if streaming else self.spec.frames
        self.random = torch.Generator().manual_seed(0)

    def inputs(self, batch: int, frames: int) -> list[Tensor]:
        """Returns random clips, or frames and a state after earlier frames."""
        side, random = self.spec.tested, self.random
        if self.pixels:
            clips = torch.randint(0, 256, (batch, frames, side, side, 3), generator=random, dtype=torch.uint8)
        else:
            clips = torch.randn(batch, 3, frames, side, side, generator=random)
        return [clips, *(self.network.zeros(batch) if isinstance(self.network, Step) else [])]

    def compute(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Returns the outputs of the network."""
        clips, *state = inputs
        found = self.network(clips, state) if state else self.network(clips)
        return found if isinstance(found, list) else [found]

    def trace(self) -> Traced:
        """Traces the network with variable length if possible, else with its usual length."""
        ports = ["clips"] if not self.streaming else ["frames", *(f"state_{i}" for i in range(len(self.parts)))]
        results = ["logits", *(f"next_state_{i}" for i in range(len(self.parts)))]
        options = {"inputs": ports, "outputs": results, "time_axis": 1 if self.pixels else 2}

        def traced(frames: int, *, fixed: bool) -> Traced:
            clips, *state = self.inputs(2, frames)
            with self._cells():
                return trace(self.network, clips, state, fixed_length=fixed, **options)  # type: ignore[arg-type]

        if not (self.fixed_length or self._unrolled() or self._selects() or self._pads_by_length()):
            try:
                found = traced(3 if self.streaming else 2 * self.usual + 1, fixed=False)
            except (KinemaError, RuntimeError):
                pass  # the network supports only one length
            else:
                low, high = found.frames
                if self.form.name != "torch":  # the other formats do not store the tracer's lower limits
                    found = replace(found, frames=(min(low, self.usual), high))
                if found.batch and low != high and _allows(found, self.usual):
                    return found
        return traced(self.usual, fixed=True)

    @property
    def parts(self) -> Sequence[Any]:
        """Returns the ports of the state; none for clips."""
        return self.network.parts if isinstance(self.network, Step) else ()

    def _unrolled(self) -> bool:
        """Returns True if a recurrent layer is unrolled, which fixes the length."""
        with self._cells():
            return any(isinstance(module, nn.RNNBase) for module in self.model.modules())

    def _selects(self) -> bool:
        """Returns True if frames are selected: lengths are then nested expressions, whose conversion does not end."""
        return self.form.name != "torch" and any(isinstance(module, MTConv) for module in self.model.modules())

    def _pads_by_length(self) -> bool:
        """Returns True if the padding in time depends on the length: a program has that of the traced length."""
        return any(isinstance(part, SameConv3d | SamePool3d) and part.stride[0] > 1 for part in self.model.modules())

    def _cells(self) -> Any:
        if self.form.name == "torch":
            return nullcontext()
        from kinema.backends.recurrent import onnx_cells

        return onnx_cells(self.model)

    def description(self, traced: Traced) -> Description:
        """Returns the description of the file."""
        side, classes = self.spec.tested, len(self.recognizer.labels)
        batch = None if traced.batch else 2
        low, high = traced.frames
        length = low if low == high else None
        shape = (batch, length, side, side, 3) if self.pixels else (batch, 3, length, side, side)
        state = [
            StatePort(part.name, source, target, str(part.dtype).removeprefix("torch."), (batch, *part.outside))
            for part, source, target in zip(self.parts, traced.inputs[1:], traced.outputs[1:], strict=True)
        ]
        logits = (batch, length, classes) if self.streaming else (batch, classes)
        card = {key: value for key, value in self.recognizer.card.items() if key in _KEPT}
        return Description(
            self.form.name, self.model.architecture, self.recognizer.labels, self.spec, self.pixels,
            Port(traced.inputs[0], "uint8" if self.pixels else "float32", shape),
            Port(traced.outputs[0], "float32", logits), traced.frames, tuple(state), card,
        )  # fmt: skip


def _allows(traced: Traced, frames: int) -> bool:
    low, high = traced.frames
    return low <= frames and (high is None or frames <= high)


def _written(job: _Job, part: Path, path: Path) -> Exported:
    traced = job.trace()
    if not traced.batch:
        raise KinemaError(
            f"{path}: {job.model.architecture['name']} can be traced only for a fixed number of clips, so no file was "
            f"written; choose a format other than {job.form.name}"
        )
    description = job.description(traced)
    text = json.dumps(description.to_dict(), ensure_ascii=False)
    written = job.form.write(traced, part, {KEY: text})
    checked = _checked(job, traced, job.form.open(part), path)
    places = tuple(path.parent / file.name for file in written)
    exported = Exported(places, description, checked)
    beside = part.parent / f"{part.name}.json"
    beside.write_text(json.dumps(exported.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for file in (beside, *written):
        file.replace(path.parent / file.name)
    return exported


def _checked(job: _Job, traced: Traced, run: Any, path: Path) -> tuple[Agreement, ...]:
    """Returns comparisons at sizes that were not traced; for a stream they continue from the previous state."""
    agreements = []
    for batch, frames in zip((1, 3), _lengths(job, traced), strict=True):
        inputs = job.inputs(batch, frames)
        agreements.append(compare(job.compute, run, inputs, batch, frames, str(path)))
        if job.streaming:  # the state from the file must be valid as its input
            after = run(inputs)[1:]
            inputs = [job.inputs(batch, frames)[0], *after]
            agreements.append(compare(job.compute, run, inputs, batch, frames, str(path)))
    return tuple(agreements)


def _lengths(job: _Job, traced: Traced) -> tuple[int, int]:
    """Returns the usual length and another one that the network supports; neither was traced."""
    low, high = traced.frames
    if low == high:
        return low, low
    for other in (job.usual + 3, job.usual + 1, 2 * job.usual, 2 * job.usual + 8, job.usual - 1):
        if other >= low and (high is None or other <= high) and _takes(job, other):
            return job.usual, other
    return job.usual, job.usual


def _takes(job: _Job, frames: int) -> bool:
    try:
        with torch.no_grad():
            job.compute(job.inputs(1, frames))
    except (KinemaError, RuntimeError):
        return False
    return True
