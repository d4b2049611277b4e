"""The formats of exported files, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from kinema.backends.onnx import Onnx, Run
from kinema.backends.openvino import OpenVino
from kinema.backends.torch_program import TorchProgram
from kinema.backends.tracing import Traced


class Format(Protocol):
    """Writes and runs files of one format.

    Attributes:
        name: as `kinema export --to` takes it.
        suffix: of its files.
    """

    name: str
    suffix: str

    def available(self) -> str | None:
        """Why such files cannot be written here, with the command that installs what is missing."""

    def readable(self) -> str | None:
        """Why such files cannot be run here, with the command that installs what is missing."""

    def write(self, traced: Traced, path: Path, metadata: dict[str, str]) -> list[Path]:
        """Writes a program and its metadata; gives the files, the one that is named last."""

    def metadata(self, path: Path) -> dict[str, str]:
        """The texts that a file holds."""

    def open(self, path: Path) -> Run:
        """A function that runs a file."""


FORMATS: Mapping[str, Format] = {form.name: form for form in (Onnx(), OpenVino(), TorchProgram())}
