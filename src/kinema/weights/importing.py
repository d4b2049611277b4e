"""Loads weights of other projects or recognizers, by the name maps of each family. The report covers every name."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kinema.errors import KinemaError, near_names
from kinema.files import require_readable
from kinema.models.attached import Attached
from kinema.models.video_model import VideoModel
from kinema.weights.families import names_of, under_backbone
from kinema.weights.hub import HUB, from_hub
from kinema.weights.implied import implied_for
from kinema.weights.releases import IMAGENET, locate, releases

_NEW_EVERYWHERE = re.compile(r"^class_regularisation\.")


@dataclass(frozen=True)
class ImportReport:
    """Report on how each name was used.

    Attributes:
        loaded: source name -> name in the network.
        new: names of the network that the source cannot have (temporal parts); they keep their initial values.
        missing: names of the network that are missing in the source.
        unused: names of the source that the network does not have.
        shapes: names of the network whose shape differs in the source, with both shapes.
        classifier: True if the final layer was loaded; otherwise it is new.
        remarks: further information for the user.
        converted: name in the network -> how the source's tensor was converted.
    """

    loaded: dict[str, str]
    new: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    shapes: tuple[str, ...]
    classifier: bool
    remarks: tuple[str, ...]
    converted: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """True if every part of the network that can have a source has one."""
        return not (self.missing or self.unused or self.shapes)

    def lines(self) -> list[str]:
        """Returns lines to print: the counts, then every name that was not mapped one to one."""
        head = "taken over" if self.classifier else "new, because the numbers of classes differ or the source has none"
        lines = [f"{len(self.loaded)} tensors loaded; classifier {head}"]
        lines += [f"  {count} of them {done}" for done, count in Counter(self.converted.values()).items()]
        for what, names in (("new, with initial values", self.new), ("missing in the file", self.missing),
                            ("not used", self.unused), ("of another shape", self.shapes)):  # fmt: skip
            lines += [f"  {what}: {name}" for name in names]
        return [*lines, *self.remarks]


def read_tensors(source: str | Path) -> dict[str, Tensor]:
    """Reads the tensors of a file: safetensors, or a PyTorch file that contains only tensors and plain values.

    Args:
        source: a file, a recognizer or run folder, or `hf-hub:organisation/name` (its `model.safetensors`).

    Returns:
        Name -> tensor on the CPU, as in the file.

    Raises:
        KinemaError: the file does not exist, has no weights, or would have to run code to be read.
    """
    path = Path(source)
    if str(source).startswith(HUB):
        path = from_hub(str(source).removeprefix(HUB), ["model.safetensors"])
    for inside in ("recognizer/model.safetensors", "model.safetensors"):
        if path.is_dir() and (path / inside).is_file():
            path = path / inside
    if path.is_dir():
        raise KinemaError(
            f"{path}: contains no model.safetensors; if it is a run, finish its training, or give another folder "
            "or file"
        )
    if not path.is_file():
        near = _near_release(source)
        offer = f", did you mean {near[0]!r}" if near else ""
        raise KinemaError(
            f"{path}: there is no such file of weights and no such run{offer}; check the path, train the run first, or "
            "give a name of `kinema weights list`"
        )
    require_readable(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():  # about pickle protocols of files that are rejected anyway
            warnings.simplefilter("ignore")
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise KinemaError(f"{path}: not a safetensors file, or truncated ({error}); fetch or save it again") from error
    except Exception as error:  # depending on the file, the unpickler raises any kind of error
        raise KinemaError(
            f"{path}: is damaged or contains more than tensors and is not unpickled; save its state dict as safetensors"
        ) from error
    if isinstance(found, Mapping) and "pytorch-lightning_version" in found and "tally" in found:
        raise KinemaError(f"{path}: is a training checkpoint; give the folder of its run once it has finished")
    for key in ("state_dict", "model_state", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()) or not found:
        raise KinemaError(f"{path}: contains no state dict; give a file that maps names to tensors")
    return {str(k): v for k, v in found.items()}


def _near_release(source: str | Path) -> list[str]:
    """Returns names of releases that the user may have meant; none for a path, which may contain a name by chance."""
    if Path(source).name != str(source):
        return []
    return near_names(str(source), [IMAGENET, *(release.name for release in releases())])


def import_weights(model: VideoModel, tensors: Mapping[str, Tensor]) -> ImportReport:
    """Loads tensors with the names of another release, or of this library, into a network.

    The known releases of a family are listed in its module in `kinema.weights.names`. Tensors that fit are loaded; the
    report lists all others. If two different tensors have the same target, the second one does not fit.

    Args:
        model: network that receives the weights.
        tensors: name -> tensor, from `read_tensors`.

    Returns:
        How every name of both sides was used.
    """
    own = model.state_dict()
    names = names_of(model)
    if isinstance(model, Attached) and not any(name in own for name in tensors if name.startswith("backbone.")):
        names = under_backbone(names_of(model.backbone), model.left_out)
    loaded: dict[str, str] = {}
    converted: dict[str, str] = {}
    values: dict[str, Tensor] = {}
    unused, shapes = [], []
    candidates = names.reader(tensors) if names.reader else names.candidates
    for name, given in tensors.items():
        target = next((t for t in candidates(name) if t in own), None)
        made = names.convert(name, given, own[target].shape) if target else None
        tensor = made[0] if made else given
        if target is None or (target in values and not torch.equal(values[target], tensor)):
            if not any(t.startswith(names.left_out) for t in candidates(name)):
                unused.append(name)
        elif own[target].shape != tensor.shape:
            if not target.startswith("classifier."):
                shapes.append(f"{target}, {tuple(own[target].shape)} here and {tuple(tensor.shape)} in the file")
        else:
            loaded[name], values[target] = target, tensor
            converted |= {target: made[1]} if made else {}
    classifier = {"classifier.weight", "classifier.bias"} <= set(values)
    if not classifier:  # half a classifier is not used
        loaded = {k: v for k, v in loaded.items() if not v.startswith("classifier.")}
        values = {k: v for k, v in values.items() if not k.startswith("classifier.")}
        converted = {k: v for k, v in converted.items() if k in values}
    model.load_state_dict({**own, **values})
    named = {s.split(",")[0] for s in shapes}
    left = [k for k in own if k not in values and k not in named and not k.startswith("classifier.")]
    new = tuple(k for k in left if names.new.search(k) or _NEW_EVERYWHERE.search(k))
    missing = tuple(k for k in left if k not in new and not k.endswith("num_batches_tracked"))
    options = model.architecture["options"]
    remarks = (*names.remarks(own, tensors), *implied_for(model, options, tensors).differences(options))
    return ImportReport(loaded, new, missing, tuple(unused), tuple(shapes), classifier, remarks, converted)


def start_from(model: VideoModel, source: str | Path) -> ImportReport:
    """Loads weights to start a training from; everything except the classifier and temporal parts must fit.

    Args:
        model: network that receives the weights.
        source: same as for `read_tensors`, or the name of a local release, or `imagenet` (see `releases.locate`).

    Returns:
        The report: what was loaded, what was left out and why.

    Raises:
        KinemaError: the source does not exist or does not fit; weights loaded before the error stay in the network.
    """
    name = str(model.architecture["name"])
    network = model.backbone if isinstance(model, Attached) else model  # the network that a release may be for
    report = import_weights(model, read_tensors(locate(source, str(network.architecture["name"]))))
    if not report.complete:
        other = f"give weights of {name} with the same options"
        kinds = [
            (report.missing, "it lacks", other),
            (report.unused, f"{name} does not have", other),
            (report.shapes, "the shape differs for", "build the network with the same width and options"),
        ]
        found, what, fix = next(kind for kind in kinds if kind[0])
        names = "1 name" if len(found) == 1 else f"{len(found)} names"
        raise KinemaError(
            f"{source}: does not fit {name}: {what} {found[0]}, {names} in total; {fix}; "
            "`kinema weights import` lists all of them"
        )
    return report
