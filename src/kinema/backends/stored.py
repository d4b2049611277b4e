"""Choices of earlier runs, one small file per network, shape, machine and versions, and compiled networks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinema.backends.report import Report
from kinema.errors import KinemaWarning, RunError
from kinema.files import cache_folder, replace_file
from kinema.models.digest import weights_digest
from kinema.processes import cpu_flags, cpu_name
from kinema.text import parse_json

_FORMAT = 1
_LIBRARIES = 8  # compiled networks that are kept, each about as large as its weights
_UNITS = {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}
_PACKAGES = ("kinema", "torch", "onnx", "onnxruntime", "onnxscript", "openvino")


def place_of(network: nn.Module, example: Tensor) -> dict[str, Any]:
    """Returns the conditions of a choice; if any of them changes, a new choice is needed.

    Args:
        network: its `architecture` is used, else its class and the shapes of its weights.
        example: clips of the shape that will be used.
    """
    architecture = getattr(network, "architecture", None)
    made = {"name": type(network).__name__, "weights": [list(p.shape) for p in network.parameters()]}
    options = json.dumps(architecture or made, sort_keys=True, default=str)
    name = architecture["name"] if architecture else made["name"]
    return {
        "network": name,
        "options": hashlib.sha256(options.encode()).hexdigest()[:16],
        "shape": list(example.shape),
        "device": example.device.type,
        "processor": _processor(example.device),
        "threads": torch.get_num_threads(),
        "versions": {package: version_of(package) for package in _PACKAGES},
    }


def read_choice(place: dict[str, Any], asked: dict[str, Any]) -> Report | None:
    """Reads the choice of an earlier run, or None.

    Args:
        place: its conditions.
        asked: further options of the request.

    Warns:
        KinemaWarning: there is a file that cannot be read; it is ignored.
    """
    path = _path(place, asked)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        _ignored(path, str(error))
        return None
    try:
        values = parse_json(text)
        if values["format"] != _FORMAT or values["asked"] != asked:
            return None
        report = Report.from_dict(values["report"])
        return report if report.place == place else None
    except (ValueError, TypeError, LookupError, AttributeError, StopIteration):
        _ignored(path, "it is damaged")
        return None


def store_choice(report: Report, asked: dict[str, Any]) -> None:
    """Stores a choice for later runs; warns if the folder cannot be written."""
    path = _path(report.place, asked)
    text = json.dumps({"format": _FORMAT, "asked": asked, "report": report.to_dict()}, indent=1)
    try:
        replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
    except RunError as error:
        warnings.warn(f"{error}; the choice is not stored for later runs", KinemaWarning, stacklevel=2)


def library_of(network: nn.Module, place: dict[str, Any], backend: str) -> Path:
    """Returns the file in which a compiled network is kept; networks with other weights have other files."""
    digest = weights_digest(network)
    digest.update(json.dumps([place, backend], sort_keys=True, default=str).encode())
    return _folder() / f"{place['network']}-{digest.hexdigest()[:16]}.pt2"


def store_library(made: Path, library: Path) -> None:
    """Copies a compiled network to the file of `library_of`, and removes the oldest; warns if it cannot be written."""
    try:
        replace_file(library, lambda part: shutil.copyfile(made, part))
        kept = sorted(library.parent.glob("*.pt2"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-_LIBRARIES]:
            path.unlink(missing_ok=True)
    except (OSError, RunError) as error:
        warnings.warn(f"{error}; the compiled network is not stored for later runs", KinemaWarning, stacklevel=2)


def library_ignored(library: Path, why: str) -> None:
    """Warns that a compiled network cannot be used, and removes its file."""
    warnings.warn(f"{library}: the stored file is ignored ({why}); it is compiled again", KinemaWarning, stacklevel=3)
    with suppress(OSError):
        library.unlink()


def _ignored(path: Path, why: str) -> None:
    warnings.warn(
        f"{path}: the stored choice is ignored ({why}); backends are timed again", KinemaWarning, stacklevel=4
    )


def _path(place: dict[str, Any], asked: dict[str, Any]) -> Path:
    text = json.dumps([place, asked], sort_keys=True, default=str)
    return _folder() / f"{place['network']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _folder() -> Path:
    return cache_folder() / "optimize"


def version_of(package: str) -> str | None:
    """Returns the version of an installed package, or None."""
    with suppress(PackageNotFoundError):
        return version(package)
    return None


def _processor(device: torch.device) -> str:
    """Returns the name of the GPU, or of the CPU with the flags that affect speed."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    flags = cpu_flags() & _UNITS
    units = f" ({', '.join(sorted(flags))})" if flags else ""
    return f"{cpu_name()}{units}, {os.cpu_count()} cores"
