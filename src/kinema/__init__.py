"""Kinema recognises human actions in video and shows why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kinema.clip_spec import ClipSpec
    from kinema.data.views import read_clip
    from kinema.errors import KinemaError
    from kinema.models import create_model, list_models
    from kinema.recognizer import FailedWindow, Prediction, Recognizer

__all__ = [
    "ClipSpec",
    "FailedWindow",
    "KinemaError",
    "Prediction",
    "Recognizer",
    "create_model",
    "list_models",
    "read_clip",
]

_HOMES = {
    "ClipSpec": "kinema.clip_spec",
    "FailedWindow": "kinema.recognizer",
    "KinemaError": "kinema.errors",
    "Prediction": "kinema.recognizer",
    "Recognizer": "kinema.recognizer",
    "create_model": "kinema.models",
    "list_models": "kinema.models",
    "read_clip": "kinema.data.views",
}

# Imported when `pretrained=` is first used; registers a resolver with `kinema.models.registry`, which knows no release.
RESOLVER = "kinema.weights.pretrained"
# Imported when a `ClipSpec` is created, to check the name of its sampler.
SAMPLERS = "kinema.data.samplers"


__getattr__ = lazy_names(__name__, _HOMES)
