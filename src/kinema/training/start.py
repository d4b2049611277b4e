"""The weights that a training starts from, and whether their classifier means the labels that are learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from kinema.errors import KinemaError
from kinema.models import VideoModel
from kinema.recognizer import CARD, WEIGHTS, Recognizer
from kinema.training.config import TrainConfig
from kinema.weights.importing import start_from


def start(model: VideoModel, config: TrainConfig, labels: Sequence[str]) -> None:
    """Loads `config.weights`.

    The classifier of a recognizer is taken over where its labels are those of the data, in whatever order; where they
    are others, though as many, it stays as it was built. A file of tensors tells no labels: there the number decides.

    Args:
        model: takes the weights.
        config: names them, and what learns.
        labels: K names, what the outputs of `model` are going to mean.

    Raises:
        KinemaError: they do not fit the network, or the classifier would be new and never learn.
    """
    assert config.weights is not None
    classifier = model.classifier
    built = {name: value.clone() for name, value in classifier.state_dict().items()}
    taken = start_from(model, config.weights).classifier
    there = _labels(config.weights)
    if taken and there is not None and tuple(there) != tuple(labels):
        taken = sorted(there) == sorted(labels)
        if taken:
            places = [there.index(label) for label in labels]
            with torch.no_grad():
                for value in classifier.state_dict().values():
                    value.copy_(value[places].clone())
        else:
            classifier.load_state_dict(built)
    if not taken and config.learn == "class_regularisation":
        raise KinemaError(
            f"{config.weights}: its classifier is not one of the labels of {config.data}, and does not learn where "
            "learn is class_regularisation: give weights that were trained on these labels, or learn all"
        )


def _labels(source: str) -> tuple[str, ...] | None:
    """Of the recognizer that the weights are of; None where they are of none."""
    path = Path(source)
    folder = path.parent if path.name in (WEIGHTS, CARD) else path
    recognizer = source.startswith("hf-hub:") or any((f / CARD).is_file() for f in (folder, folder / "recognizer"))
    return Recognizer.load(source).labels if recognizer else None
