"""Loads the weights that a training starts from, and decides whether their classifier fits the labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from kinema.data.label_order import Order, outputs
from kinema.data.labels import read_labels
from kinema.errors import KinemaError
from kinema.models import VideoModel
from kinema.models.attached import Attached
from kinema.recognizer import CARD, WEIGHTS, Recognizer
from kinema.text import plural
from kinema.training.config import TrainConfig
from kinema.weights.importing import start_from
from kinema.weights.releases import named


def start(model: VideoModel, config: TrainConfig, labels: Sequence[str], order: Order = "text") -> list[str]:
    """Loads `config.weights`.

    The classifier of a recognizer, or of a release whose outputs have known names, is loaded if its labels are those of
    the data, in any order. It is not loaded if its labels differ, even if their number is the same, or if a release
    does not state the order of its outputs. A file has no labels: there the number of outputs decides, and a warning
    says which label each output is assumed to have, unless `labels.txt` states the order.

    Args:
        model: network that receives the weights.
        config: names the weights and the trainable part.
        labels: K names, the meanings of the outputs of `model`.
        order: how the labels were ordered.

    Returns:
        Lines to print: whether the classifier was loaded, which weights are new, and warnings.

    Raises:
        KinemaError: the weights do not fit the network, or the classifier would be new and never trained.
    """
    assert config.weights is not None
    classifier = model.classifier
    built = {name: value.clone() for name, value in classifier.state_dict().items()}
    report = start_from(model, config.weights)
    there = _labels(config.weights, model) if report.classifier else None
    if not report.classifier:
        taken, why = False, "the numbers of classes differ, or these weights have none"
    elif there is None:
        taken, why = True, "as many classes as labels, but a file does not state their order"
    elif sorted(there) == sorted(labels):
        taken, why = True, "the same labels"
        places = [there.index(label) for label in labels]
        with torch.no_grad():
            for value in classifier.state_dict().values():
                value.copy_(value[places].clone())
    else:
        taken, why = False, "other labels" if there else "the order of its outputs is not known"
        classifier.load_state_dict(built)
    if not taken and config.trainable == "class_regularisation":
        raise KinemaError(
            f"{config.weights}: its classifier is not for the labels of {config.data}, and is not trained when "
            "trainable is class_regularisation: give weights that were trained on these labels, or set trainable to all"
        )
    lines = [f"starts from {config.weights}; its classifier is {'taken over' if taken else 'new'} ({why})"]
    if report.new:
        whole = plural(len(report.new), "tensor")
        lines.append(f"not in these weights, so with initial values: {whole}, the first is {report.new[0]}")
    for done, count in Counter(report.converted.values()).items():
        lines.append(f"{plural(count, 'tensor')} {done}")
    if taken and there is None and order != "file":
        how = {"catalogue": "in the usual order of the data set", "number": "by number", "text": "by name"}[order]
        lines.append(
            f"warning: {config.weights} does not say what its outputs mean; output {outputs(labels)} (labels ordered "
            f"{how}, a guess): if that is wrong, write labels.txt beside the data, one label per line in their order"
        )
    return [*lines, *report.remarks]


def _labels(source: str, model: VideoModel) -> tuple[str, ...] | None:
    """Returns the labels of the recognizer or release: () if it states none; None if `source` is another file."""
    network = model.backbone if isinstance(model, Attached) else model
    release = named(source, str(network.architecture["name"]))
    if release is not None:
        return read_labels(release.labels) if release.labels else ()
    path = Path(source)
    folder = path.parent if path.name in (WEIGHTS, CARD) else path
    recognizer = source.startswith("hf-hub:") or any((f / CARD).is_file() for f in (folder, folder / "recognizer"))
    return Recognizer.load(source).labels if recognizer else None
