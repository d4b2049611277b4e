"""A saved recognizer on disk or on the hub: finds it, reads its weights, and writes its two files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from kinema import __version__
from kinema.card import CARD, HOW_TO_FIX, WEIGHTS, completed, read_card, write_card
from kinema.clip_spec import ClipSpec
from kinema.config_file import CONFIG
from kinema.errors import KinemaError, KinemaWarning
from kinema.files import replace_file, require_readable
from kinema.models.registry import create_model, former_defaults
from kinema.models.video_model import VideoModel
from kinema.weights.hub import HUB, from_hub


def find_folder(source: str | Path) -> Path:
    """Returns the folder of a recognizer.

    Args:
        source: that folder, a run folder that contains it as `recognizer/`, one of its two files, or
            `hf-hub:organisation/name`.

    Raises:
        KinemaError: there is none.
        RunError: the hub cannot be reached, or has no such repository.
    """
    text = str(source)
    if text.startswith(HUB):
        return from_hub(text.removeprefix(HUB), (WEIGHTS, CARD))
    path = Path(source)
    if path.name in (WEIGHTS, CARD):
        path = path.parent
    if (path / "recognizer" / CARD).is_file():
        return path / "recognizer"
    if not path.exists():
        raise KinemaError(f"{path}: there is no such recognizer; give a folder with {WEIGHTS} and {CARD}")
    if not path.is_dir():
        raise KinemaError(f"{path}: not a recognizer; give the folder that contains {WEIGHTS} and {CARD}")
    if (path / CONFIG).is_file() and not (path / CARD).is_file():
        raise KinemaError(f"{path}: this training has not finished; run its `kinema train` command again")
    for name in (CARD, WEIGHTS):
        if not (path / name).is_file():
            raise KinemaError(f"{path}: not a recognizer, because {name} is missing")
    return path


def check_labels(labels: Sequence[str], outputs: int) -> None:
    """Raises `KinemaError` unless there is one label per output and all labels differ."""
    if len(labels) != outputs:
        raise KinemaError(f"{len(labels)} labels for a network with {outputs} outputs: give one label per output")
    if len(set(labels)) != len(labels):
        raise KinemaError("a label occurs twice: give every output a different label")


def save_network(
    folder: Path, model: VideoModel, labels: Sequence[str], spec: ClipSpec, more: Mapping[str, Any]
) -> Path:
    """Writes the folder of a recognizer; each of its two files is replaced in one step.

    Args:
        folder: the folder; it is created if it is missing.
        model: network whose weights are saved.
        labels: one label per output.
        spec: specification of clips.
        more: further entries of the card, plain values.

    Returns:
        The folder.

    Raises:
        KinemaError: there is not one label per output, or a label occurs twice.
        RunError: the folder cannot be written.
    """
    check_labels(labels, model.num_classes)
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    data = save(tensors)
    replace_file(folder / WEIGHTS, lambda path: path.write_bytes(data))
    write_card(folder / CARD, architecture=model.architecture, labels=labels, spec=spec, more=more)
    return folder


def load_network(folder: Path) -> tuple[VideoModel, tuple[str, ...], ClipSpec, dict[str, Any]]:
    """Reads the folder that `save_network` writes.

    Returns:
        The network in evaluation mode, its labels, its clip specification, and the further entries of its card.

    Raises:
        KinemaError: one of the files is damaged, or the two do not fit together.

    Warns:
        KinemaWarning: the card does not state every option of the network (as in format 1), so that the defaults of
            this version are used.
    """
    card = read_card(folder / CARD)
    try:
        options = {**former_defaults(card.name), **card.options} if card.format == 1 else card.options
        model = create_model(card.name, **options).eval()
        spec = ClipSpec.from_dict(card.clip)
        check_labels(card.labels, model.num_classes)
    except KinemaError as error:
        raise KinemaError(f"{folder / CARD}: {error}; {HOW_TO_FIX}") from error
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, RuntimeError) as error:
        # a value of the wrong type, which any part of the network or of the clip specification may reject
        why = " ".join(str(error).split())
        raise KinemaError(f"{folder / CARD}: does not describe a network ({why}); {HOW_TO_FIX}") from error
    load_weights(model, folder / WEIGHTS)
    added = completed(card.architecture, model.architecture) | completed({"clip": card.clip}, {"clip": spec.to_dict()})
    if added:
        named = ", ".join(f"{key.removeprefix('options.')}={value!r}" for key, value in added.items())
        warnings.warn(
            f"{folder / CARD}: has format {card.format} and does not state {named}; these are the values that "
            f"Kinema {__version__} uses, and Recognizer.load({str(folder)!r}).save({str(folder)!r}) "
            "stores them",
            KinemaWarning,
            stacklevel=3,
        )
    return model, card.labels, spec, card.more


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads a safetensors file that must contain exactly the weights of a network.

    Raises:
        KinemaError: the file is damaged, or its names or shapes differ.
    """
    require_readable(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise KinemaError(
            f"{path}: cut off, damaged or not a safetensors file ({error}); copy it again (weights are never unpickled)"
        ) from error
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    surplus = sorted(set(tensors) - set(wanted))
    shapes = sorted(k for k in set(wanted) & set(tensors) if wanted[k].shape != tensors[k].shape)
    if missing or surplus or shapes:
        parts = [
            f"{len(names)} {what} (first: {_describe(names[0], wanted, tensors)})"
            for what, names in (("missing", missing), ("not known", surplus), ("of another shape", shapes))
            if names
        ]
        raise KinemaError(f"{path}: the weights do not fit the card: {'; '.join(parts)}; {HOW_TO_FIX}")
    model.load_state_dict(tensors)


def _describe(name: str, wanted: dict[str, Tensor], tensors: dict[str, Tensor]) -> str:
    if name in wanted and name in tensors:
        return f"{name}, {tuple(tensors[name].shape)} for {tuple(wanted[name].shape)}"
    return name
