"""The formats of exported files, by name."""

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
        name: its name for `kinema export --to`.
        suffix: suffix of its files.
    """

    name: str
    suffix: str

    def available(self) -> str | None:
        """Returns why such files cannot be written, with the command that installs missing packages; else None."""

    def readable(self) -> str | None:
        """Returns why such files cannot be run, with the command that installs missing packages; else None."""

    def write(self, traced: Traced, path: Path, metadata: dict[str, str]) -> list[Path]:
        """Writes a program and its metadata; returns the files, with `path` last."""

    def metadata(self, path: Path) -> dict[str, str]:
        """Returns the metadata of a file."""

    def open(self, path: Path) -> Run:
        """Returns a function that runs a file."""


FORMATS: Mapping[str, Format] = {form.name: form for form in (Onnx(), OpenVino(), TorchProgram())}
