"""A network loaded from a file of `kinema export`: it only classifies clips or streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from kinema.backends.description import KEY, Description
from kinema.backends.formats import FORMATS, Format
from kinema.backends.onnx import Run
from kinema.errors import KinemaError
from kinema.files import look_up
from kinema.models import VideoModel
from kinema.weights.saved import check_labels

SUFFIXES = tuple(form.suffix for form in FORMATS.values())


def is_export(source: str | Path) -> bool:
    """Returns True if a path has the suffix of an exported file and is not a folder."""
    path = Path(source)
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def open_export(source: str | Path) -> ExportedNetwork:
    """Opens a file of `kinema export`.

    Args:
        source: a path that ends in `.onnx`, `.xml` (with its `.bin` beside it) or `.pt2`.

    Raises:
        KinemaError: there is no such file, it is damaged, Kinema did not export it, or the package to run it is
            missing.
    """
    path = Path(source)
    if look_up(path) is None:
        raise KinemaError(f"{path}: there is no such file; check the path")
    form = next(form for form in FORMATS.values() if form.suffix == path.suffix.lower())
    if reason := form.readable():
        raise KinemaError(f"{path}: {reason}")
    text = form.metadata(path).get(KEY)
    if text is None:
        raise KinemaError(f"{path}: contains no labels and no clip specification; give a file written by kinema export")
    description = Description.from_text(text, path)
    check_labels(description.labels, description.output.shape[-1] or 0)
    return ExportedNetwork(path, description, form)


class ExportedNetwork(VideoModel):
    """Runs a file on the CPU.

    Args:
        path: path of the file.
        description: its description.
        form: its format, which runs it.
    """

    def __init__(self, path: Path, description: Description, form: Format) -> None:
        super().__init__()
        self.path, self.description = path, description
        self.clip_spec, self.architecture = description.clip, description.architecture
        self.takes_pixels = description.preprocessing
        self.feature_maps = ()
        self._run: Run = form.open(path)
        self.training = False

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return len(self.description.labels)

    def forward(self, x: Tensor) -> Tensor:
        """Computes logits N K for clips N 3 T H W, or for pixels uint8 N T H W 3 if that is the input of the file.

        Raises:
            KinemaError: the file does not support the shape, or is for streams.
        """
        if self.description.initial_state:
            raise KinemaError(
                f"{self.path}: its input is the frames of a stream, so it cannot classify clips: use kinema stream, or "
                "export the recognizer without --streaming"
            )
        self._check(x)
        return self._run([x])[0]

    def initial_state(
        self, batch: int, *, size: int | tuple[int, int] | None = None, delayed: bool = False
    ) -> dict[str, Tensor]:
        """Returns zeros; see `VideoModel.initial_state`.

        Raises:
            KinemaError: the file is not for streams, or `delayed` is set.
        """
        ports = self.description.initial_state
        if not ports or delayed:
            what = "has no delayed mode" if ports else "its input is whole clips, not single frames of a stream"
            raise KinemaError(f"{self.path}: {what}; export a causal network with --streaming, or give --mode window")
        return {
            port.name: torch.zeros(batch, *(int(n or 1) for n in port.shape[1:]), dtype=getattr(torch, port.dtype))
            for port in ports
        }

    def step(self, frames: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes logits N t K and the next state for frames N 3 t H W, or pixels uint8 N t H W 3.

        Raises:
            KinemaError: the file does not support the shape, or is for clips.
        """
        ports = self.description.initial_state
        if not ports:
            self.initial_state(len(frames))  # raises with the reason
        self._check(frames)
        logits, *after = self._run([frames, *(state[port.name] for port in ports)])
        return logits, {port.name: value for port, value in zip(ports, after, strict=True)}

    def _check(self, x: Tensor) -> None:
        port, (low, high) = self.description.input, self.description.frames
        frames = x.shape[self.description.time_axis] if x.ndim == len(port.shape) else 0
        fits = x.ndim == len(port.shape) and all(b in (None, a) for a, b in zip(x.shape, port.shape, strict=True))
        if not fits or frames < low or (high is not None and frames > high) or str(x.dtype) != f"torch.{port.dtype}":
            length = f"{low} frames" if low == high else f"{low} to {high} frames" if high else f"{low} frames or more"
            shape = " ".join("any" if size is None else str(size) for size in port.shape)
            raise KinemaError(
                f"{self.path}: takes {port.dtype} of the shape {shape} with {length}, not "
                f"{str(x.dtype).removeprefix('torch.')} {' '.join(map(str, x.shape))}; export the recognizer for that "
                "size, or give clips of the expected size"
            )

    @property
    def classifier(self) -> Any:  # type: ignore[override]
        """Not available; explanations need it.

        Raises:
            KinemaError: always.
        """
        self._refuse("cannot be explained")

    def forward_features(self, x: Tensor) -> Tensor:
        """Not available; embeddings need it.

        Raises:
            KinemaError: always.
        """
        self._refuse("gives no embeddings")

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Accepts only evaluation mode.

        Raises:
            KinemaError: training is requested.
        """
        if mode:
            self._refuse("cannot be trained")
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Not available; saving needs it.

        Raises:
            KinemaError: always.
        """
        self._refuse("cannot be saved as a recognizer folder")

    def _refuse(self, what: str) -> NoReturn:
        raise KinemaError(
            f"{self.path}: an exported file contains only the computation of scores and {what}; give the recognizer "
            "folder from which it was exported"
        )
