"""Weights from elsewhere, by the name maps of each family, or of another recognizer. Every name is accounted for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kinema.errors import KinemaError, RunError
from kinema.models import r3d_weights, resnet2d_weights, x3d_weights
from kinema.models.r3d import ResNet3D
from kinema.models.resnet2d import ResNet2D
from kinema.models.video_model import VideoModel
from kinema.models.x3d import X3D

_NEW_EVERYWHERE = re.compile(r"^class_regularisation\.")


@dataclass(frozen=True)
class Names:
    """What a family knows of the names of other releases.

    Attributes:
        candidates: the names here that may stand for a name there, likeliest first.
        new: parts that no release has; they keep the values with which they were built.
        remarks: sentences about a file, from the names here and there.
    """

    candidates: Callable[[str], list[str]]
    new: re.Pattern[str]
    remarks: Callable[[Iterable[str], Iterable[str]], list[str]]


_NONE = re.compile(r"(?!)")
_FAMILIES: dict[type[VideoModel], Names] = {
    ResNet2D: Names(resnet2d_weights.candidates, resnet2d_weights.NEW, lambda own, source: []),
    ResNet3D: Names(r3d_weights.candidates, r3d_weights.NEW, r3d_weights.remarks),
    X3D: Names(x3d_weights.candidates, _NONE, x3d_weights.remarks),
}
_OWN = Names(lambda name: [name], _NONE, lambda own, source: [])


@dataclass(frozen=True)
class ImportReport:
    """What became of every name.

    Attributes:
        loaded: source name -> name in the network.
        new: names of the network that the source cannot have (temporal parts), left as built.
        missing: names of the network for which the source has nothing.
        unused: names of the source for which the network has no place.
        shapes: names of the network whose shape the source does not have, with both shapes.
        classifier: whether the final layer was taken over; otherwise it is new.
        remarks: what a person should know beyond the names.
    """

    loaded: dict[str, str]
    new: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    shapes: tuple[str, ...]
    classifier: bool
    remarks: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every part of the network that can have a source has one."""
        return not (self.missing or self.unused or self.shapes)

    def lines(self) -> list[str]:
        """For a person: the counts, then every name that did not go the plain way."""
        head = "taken over" if self.classifier else "new, as the numbers of classes differ or the source has none"
        lines = [f"{len(self.loaded)} tensors loaded; classifier {head}"]
        for what, names in (("new, left as built", self.new), ("missing in the file", self.missing),
                            ("not used", self.unused), ("of another shape", self.shapes)):  # fmt: skip
            lines += [f"  {what}: {name}" for name in names]
        return [*lines, *self.remarks]


def read_tensors(source: str | Path) -> dict[str, Tensor]:
    """The tensors of a file: safetensors, or a PyTorch file of nothing but tensors and plain values.

    Args:
        source: a file, a recognizer or run folder, or `hf-hub:organisation/name` (its `model.safetensors`).

    Raises:
        KinemaError: no such file, not weights, or a file that would have to run code to be read.
    """
    path = _from_hub(str(source)) if str(source).startswith("hf-hub:") else Path(source)
    for inside in ("recognizer/model.safetensors", "model.safetensors"):
        if path.is_dir() and (path / inside).is_file():
            path = path / inside
    if not path.is_file():
        raise KinemaError(f"{path}: there is no such file of weights; check the path")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():  # about pickle protocols, of files that are then refused anyway
            warnings.simplefilter("ignore")
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise KinemaError(f"{path}: not a safetensors file ({error})") from error
    except Exception as error:  # the unpickler raises whatever the file leads it to
        raise KinemaError(
            f"{path}: holds more than tensors, or is damaged, and is not unpickled; save its state dict as safetensors"
        ) from error
    for key in ("state_dict", "model_state", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()) or not found:
        raise KinemaError(f"{path}: holds no state dict; give a file that maps names to tensors")
    return {str(k): v for k, v in found.items()}


def import_weights(model: VideoModel, tensors: Mapping[str, Tensor]) -> ImportReport:
    """Puts tensors under the names of another release, or of this library, into a network.

    Known are torchvision for the 2-D ResNets (TSN, TSM, STM), 3D-ResNets-PyTorch and the SRTG release for the 3-D ones,
    PyTorchVideo and SlowFast for X3D. What fits is loaded, the report names everything that does not.
    """
    names = next((n for family, n in _FAMILIES.items() if isinstance(model, family)), _OWN)
    own = model.state_dict()
    loaded: dict[str, str] = {}
    unused, shapes, values = [], [], {}
    for name, tensor in tensors.items():
        target = next((t for t in names.candidates(name) if t in own), None)
        if target is None:
            unused.append(name)
        elif own[target].shape != tensor.shape:
            if not target.startswith("classifier."):
                shapes.append(f"{target}, {tuple(own[target].shape)} for {tuple(tensor.shape)} of {name}")
        else:
            loaded[name], values[target] = target, tensor
    classifier = {"classifier.weight", "classifier.bias"} <= set(values)
    if not classifier:  # half a classifier is none
        loaded = {k: v for k, v in loaded.items() if not v.startswith("classifier.")}
        values = {k: v for k, v in values.items() if not k.startswith("classifier.")}
    model.load_state_dict({**own, **values})
    named = {s.split(",")[0] for s in shapes}
    left = [k for k in own if k not in values and k not in named and not k.startswith("classifier.")]
    new = tuple(k for k in left if names.new.search(k) or _NEW_EVERYWHERE.search(k))
    missing = tuple(k for k in left if k not in new and not k.endswith("num_batches_tracked"))
    remarks = tuple(names.remarks(own, tensors))
    return ImportReport(loaded, new, missing, tuple(unused), tuple(shapes), classifier, remarks)


def start_from(model: VideoModel, source: str | Path) -> ImportReport:
    """Loads weights to train on from; everything but the classifier and the temporal parts must fit."""
    report = import_weights(model, read_tensors(source))
    if not report.complete:
        worst = [*report.shapes, *report.missing, *report.unused]
        raise KinemaError(
            f"{source}: does not fit {model.architecture['name']}: {len(worst)} names, first {worst[0]}; "
            "`kinema weights import` lists them all"
        )
    return report


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download  # a second to import, and few need it

    repository = name.removeprefix("hf-hub:")
    try:
        return Path(hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        raise RunError(f"{name}: cannot be fetched ({type(error).__name__}); check the name and the network") from error
