"""`create_model(pretrained=…)`: builds a network with the weights of a public release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, RunError
from kinema.models.registry import create_model, set_resolver
from kinema.models.video_model import VideoModel
from kinema.weights.fetch import fetch
from kinema.weights.implied import implied
from kinema.weights.importing import import_weights, read_tensors
from kinema.weights.releases import PACKAGE, Release, find_release, named, releases


class Releases:
    """The public releases, as a `kinema.models.registry.Resolver`."""

    def names(self) -> frozenset[str]:
        """Returns the networks that a release was made for, or that can start from one."""
        return frozenset(name for release in releases() for name in (release.model, *release.fits))

    def load(self, name: str, release: str | None, options: Mapping[str, Any]) -> VideoModel:
        """Builds a network with the weights of a release.

        Args:
            name: name of the network.
            release: name of the release, or `imagenet`; None prefers releases for this network, and of them local ones.
            options: options of the network; those that the release fixes may be omitted.

        Raises:
            KinemaError: there is no such release for this network, or an option contradicts it.
            RunError: its file cannot be fetched, or does not fit.
        """
        chosen = best(name) if release is None else _named(name, release)
        own = chosen.model == name
        fixed = chosen.options if own else {}
        clip = chosen.clip if own else {}
        for key, value in fixed.items():
            if key in options and options[key] != value:
                raise KinemaError(
                    f"{key} is {options[key]!r}, but the release {chosen.name} has {key}={value!r}: omit it"
                )
        frames = {"frames": clip["frames"]} if "frames" in clip else {}
        given = {**frames, **fixed, **options, "num_classes": chosen.classes}
        wanted = options.get("num_classes", chosen.classes)
        with torch.device("meta"):  # rejects wrong options before anything is fetched
            create_model(name, **given).reset_classifier(wanted)
        tensors = read_tensors(fetch(chosen)[0])
        model = create_model(name, **implied(name, given, tensors).complete(given))
        report = import_weights(model, tensors)
        if not report.complete or not report.classifier:
            odd = next(iter((*report.missing, *report.unused, *report.shapes)), "classifier")
            raise RunError(f"{chosen.name}: its file does not fit {name} with these options, for example {odd}")
        if wanted != chosen.classes:
            model.reset_classifier(wanted)
        model.clip_spec = ClipSpec.from_dict({**model.clip_spec.to_dict(), **clip, "frames": model.clip_spec.frames})
        return model


def best(name: str) -> Release:
    """Returns the release that `pretrained=True` selects.

    Releases for the network come before releases that it can only start from. Of each kind, local ones come before
    those that must be fetched, and earlier ones in the table before later ones.

    Raises:
        KinemaError: no release is known.
    """
    found = [r for r in releases() if r.model == name] or [r for r in releases() if name in r.fits]
    if not found:
        raise KinemaError(
            f"no release of weights is known for {name}: leave pretrained out, or choose from "
            "list_models(pretrained=True)"
        )
    here = [r for r in found if r.local() is not None]
    fetchable = [r for r in found if r.address and not r.address.startswith(PACKAGE)]
    return (here or fetchable or found)[0]


def _named(name: str, release: str) -> Release:
    found = named(release, name) or find_release(release)
    if name not in (found.model, *found.fits):
        fits = ", ".join((found.model, *found.fits))
        raise KinemaError(f"the release {found.name} is for {fits}, not for {name}: choose one of those networks")
    return found


set_resolver(Releases())
