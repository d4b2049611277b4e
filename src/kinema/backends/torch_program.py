"""Programs of `torch.export` as files (`.pt2`), which PyTorch runs without Kinema."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kinema.backends.onnx import Run
from kinema.backends.tracing import Traced, quiet
from kinema.errors import KinemaError
from kinema.files import require_readable
from kinema.text import first_line, parse_json

_KEY = "kinema.json"
# What `write` puts into an archive, below the folder that has the name of the file. `torch.export.load` takes more:
# compiled libraries, which it opens, and the pickles of PyTorch 2.7, which it unpickles. It finds some members whatever
# the case of their letters, and of two of one name another one than `zipfile`.
_MEMBER = re.compile(
    r"archive_format|archive_version|version|byteorder|\.data/[a-z_]+|\.format_version|\.storage_alignment"
    r"|models/model\.json|extra/[\w.]+|data/sample_inputs/model\.pt"
    r"|data/(?:weights|constants)/(?:(?:weight|tensor)_[0-9]+|model_(?:weights|constants)_config\.json)"
)


class TorchProgram:
    """Writes and runs `.pt2` files; weights lie in them as plain bytes.

    Attributes:
        name: of the format of `kinema export`.
        suffix: of its files.
    """

    name = "torch"
    suffix = ".pt2"

    def available(self) -> str | None:
        """None: PyTorch is always there."""
        return None

    def readable(self) -> str | None:
        """None: PyTorch is always there."""
        return None

    def write(self, traced: Traced, path: Path, metadata: dict[str, str]) -> list[Path]:
        """Writes a program as a file without anything pickled in it.

        Args:
            traced: the program.
            path: ends in `.pt2`; its folder exists.
            metadata: texts that the file holds.

        Returns:
            The files that were written.
        """
        traced.program.example_inputs = None  # PyTorch would pickle them
        with quiet():
            torch.export.save(traced.program, path, extra_files={_KEY: json.dumps(metadata)})
        return [path]

    def metadata(self, path: Path) -> dict[str, str]:
        """The texts that a file holds.

        Raises:
            KinemaError: it is no such file.
        """
        members = _members(path)
        name = next((name for name in members if name.endswith(f"/extra/{_KEY}")), None)
        if name is None:
            return {}
        try:
            with zipfile.ZipFile(path) as archive:
                return dict(parse_json(archive.read(name)))
        except (ValueError, TypeError) as error:
            raise _damaged(path, error) from error

    def open(self, path: Path) -> Run:
        """A function that runs a file: the inputs in their order -> the outputs in their order.

        Raises:
            KinemaError: it is no such file, or one with pickled objects, which could run any code.
        """
        _refuse_pickles(path, _members(path))
        try:
            with quiet():
                module = torch.export.load(path).module()
        except Exception as error:  # a damaged archive fails in many ways
            raise _damaged(path, error) from error

        def run(values: Sequence[Tensor]) -> list[Tensor]:
            clips, *state = values
            with torch.no_grad():
                found = module(clips, state) if state else module(clips)
            return list(found) if isinstance(found, tuple | list) else [found]

        return run


def _members(path: Path) -> list[str]:
    require_readable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    if broken is not None:
        raise _damaged(path, ValueError(f"its part {broken} was changed or damaged"))
    if not any(name.endswith("/archive_format") for name in names):
        raise _damaged(path, ValueError("it is not a torch.export archive"))
    return names


def _refuse_pickles(path: Path, names: Sequence[str]) -> None:
    """Raises where `torch.export.load` would unpickle something, or open a library."""
    folders = {name.partition("/")[0] for name in names}
    for name in names:
        if len(folders) > 1 or names.count(name) > 1 or not _MEMBER.fullmatch(name.partition("/")[2]):
            raise KinemaError(
                f"{path}: contains {name!r}, which Kinema does not write and PyTorch might run; export the recognizer "
                "again with kinema export"
            )
    with zipfile.ZipFile(path) as archive:
        for name in names:
            if "/sample_inputs/" in name and archive.getinfo(name).file_size:
                raise _pickled(path)
            if name.endswith("_config.json"):
                try:
                    entries = list(parse_json(archive.read(name))["config"].values())
                    pickled = any(entry["use_pickle"] is not False for entry in entries)
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    raise _damaged(path, error) from error
                if pickled:
                    raise _pickled(path)


def _pickled(path: Path) -> KinemaError:
    return KinemaError(
        f"{path}: contains pickled objects, which could run any code; export the recognizer again with kinema export"
    )


def _damaged(path: Path, error: BaseException) -> KinemaError:
    return KinemaError(
        f"{path}: damaged or not a torch.export file ({first_line(error)}); export it again with kinema export"
    )
