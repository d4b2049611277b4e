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
# The members that `write` puts into an archive, below a folder named like the file. `torch.export.load` accepts more:
# compiled libraries, which it loads, and the pickles of PyTorch 2.7, which it unpickles. It ignores the case of some
# names, and of two members with the same name it reads another one than `zipfile`.
_MEMBER = re.compile(
    r"archive_format|archive_version|version|byteorder|\.data/[a-z_]+|\.format_version|\.storage_alignment"
    r"|models/model\.json|extra/[\w.]+|data/sample_inputs/model\.pt"
    r"|data/(?:weights|constants)/(?:(?:weight|tensor)_[0-9]+|model_(?:weights|constants)_config\.json)"
)


class TorchProgram:
    """Writes and runs `.pt2` files, which contain weights as plain bytes.

    Attributes:
        name: name of the format of `kinema export`.
        suffix: suffix of its files.
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
        """Writes a program as a file without pickled objects.

        Args:
            traced: the program.
            path: a name that ends in `.pt2`; its folder exists.
            metadata: texts that are stored in the file.

        Returns:
            The written files.
        """
        traced.program.example_inputs = None  # PyTorch would pickle them
        with quiet():
            torch.export.save(traced.program, path, extra_files={_KEY: json.dumps(metadata)})
        return [path]

    def metadata(self, path: Path) -> dict[str, str]:
        """Returns the metadata of a file.

        Raises:
            KinemaError: it is not such a file.
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
        """Returns a function that runs a file: the inputs in order -> the outputs in order.

        Raises:
            KinemaError: it is not such a file, or contains pickled objects, which could run any code.
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
    """Raises an error if `torch.export.load` would unpickle an object or load a library."""
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
