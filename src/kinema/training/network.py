"""Builds the network of a run. A resumed run keeps the options that it began with, even if defaults have changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError
from kinema.files import replace_file
from kinema.models import VideoModel, create_model, find_model
from kinema.text import parse_json
from kinema.training.checkpoint import begun
from kinema.training.config import TrainConfig

FILE = "network.json"
_DECIDED = ("num_classes", "frames")  # they follow from the labels and from clip.frames


@dataclass(frozen=True)
class Begun:
    """The options that the network of a run was built with.

    Attributes:
        options: every option with its value.
        clip: every field of the `ClipSpec`.
    """

    options: dict[str, Any]
    clip: dict[str, Any]


def build(config: TrainConfig, out: Path, num_classes: int) -> tuple[VideoModel, ClipSpec, list[str]]:
    """Builds the network of a run and the specification of its clips.

    Args:
        config: configuration of the run.
        out: the run folder. If it contains checkpoints, options and clip fields that `config` does not give are those
            that the run began with; else they are the defaults of this version.
        num_classes: number of outputs.

    Returns:
        The network, its clip specification, and lines to print about defaults that have changed since.

    Raises:
        KinemaError: an option or a field of the clip is wrong, or the file with the run's first options cannot be read.
    """
    torch.manual_seed(config.seed)
    first = _read(out, config)
    options = dict(config.options)
    for key, value in first.options.items() if first else ():
        given = options.get(key)
        if isinstance(value, dict) and isinstance(given, dict):  # the options of a backbone
            options[key] = value | given
        elif key not in options and key not in _DECIDED:
            options[key] = value
    clip = (first.clip if first else {}) | config.clip
    frames = {"frames": clip["frames"]} if "frames" in clip else {}
    model = create_model(config.model, num_classes=num_classes, **frames, **options)
    spec = ClipSpec.from_dict({**model.clip_spec.to_dict(), **clip})
    return model, spec, _remarks(first, config, out)


def keep(out: Path, model: VideoModel, spec: ClipSpec) -> None:
    """Writes `network.json`, the options that the network of a run was built with, unless the run has already begun.

    Raises:
        RunError: the file cannot be written.
    """
    if begun(out / "checkpoints"):
        return
    text = json.dumps({"architecture": model.architecture, "clip": spec.to_dict()}, indent=2) + "\n"
    replace_file(out / FILE, lambda part: part.write_text(text, encoding="utf-8"))


def _read(out: Path, config: TrainConfig) -> Begun | None:
    """Reads `network.json`; None if the run has not begun, has no such file, or trains another network."""
    file = out / FILE
    if not begun(out / "checkpoints") or not file.is_file():
        return None
    try:
        values = parse_json(file.read_text(encoding="utf-8"))
        architecture, clip = values["architecture"], dict(values["clip"])
        name, options = architecture["name"], dict(architecture["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KinemaError(
            f"{file}: does not contain the options that the run began with ({' '.join(str(error).split())}); "
            "restore it, or give another --out"
        ) from error
    return Begun(options, clip) if name == config.model else None


def _remarks(first: Begun | None, config: TrainConfig, out: Path) -> list[str]:
    if first is None:
        if begun(out / "checkpoints") and not (out / FILE).is_file():
            return [
                f"note: {out / FILE} is missing, because an earlier version began this run: options that are not given "
                "have the defaults of this version"
            ]
        return []
    known = find_model(config.model).options()
    found = [
        f"{key}={value!r} (the default is now {known[key].default!r})"
        for key, value in first.options.items()
        if key in known and key not in (*_DECIDED, *config.options)
        and known[key].default is not None and json.loads(json.dumps(known[key].default)) != value
    ]  # fmt: skip
    return [f"note: this run keeps the options that it began with: {', '.join(found)}"] if found else []
