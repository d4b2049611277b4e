"""Turns weights of other projects into recognizers: fetch or read them, check them, build their network, save it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from kinema.clip_spec import ClipSpec
from kinema.data.label_order import numbers_as_text
from kinema.data.labels import read_label_file, read_labels
from kinema.errors import KinemaError, KinemaWarning, RunError
from kinema.models.registry import create_model
from kinema.models.video_model import VideoModel
from kinema.weights.fetch import check_hash, fetch
from kinema.weights.implied import Implied, implied
from kinema.weights.importing import ImportReport, import_weights, read_tensors
from kinema.weights.releases import Release, cache_folder, find_release
from kinema.weights.saved import check_labels, save_network

Labels = str | Path | Sequence[str] | None


@dataclass(frozen=True)
class Imported:
    """A network with weights of another project.

    Attributes:
        model: the network, in evaluation mode.
        spec: specification of its clips.
        labels: names of its outputs; empty if they were neither needed nor given.
        report: how every name in the file was used.
        implied: options and clip fields that follow from the format of the file.
        card: the entry `weights` of the recognizer's card: the origin of the weights.
        file: the file that was read: a path or the address of a hub.
        sha256: hash of the file; "" if it was not computed.
        complete: True if every part of the network that can have a source has one.
        saved: the recognizer's folder, or None.
    """

    model: VideoModel
    spec: ClipSpec
    labels: tuple[str, ...]
    report: ImportReport
    implied: Implied
    card: Mapping[str, Any]
    file: str
    sha256: str
    complete: bool
    saved: Path | None = None


class IncompleteWeights(RunError):
    """A file that does not fit its network completely, so that nothing is saved.

    Attributes:
        imported: the partial result; its `report` lists what is missing.
    """

    def __init__(self, message: str, imported: Imported) -> None:
        super().__init__(message)
        self.imported = imported


def get_release(
    release: str | Release,
    out: str | Path | None = None,
    *,
    file: str | Path | None = None,
    labels: Labels = None,
    classes: int | None = None,
    timeout: float = 30.0,
    progress: Callable[[int, int], object] | None = None,
) -> Imported:
    """Fetches a public release unless it exists here, checks it, and builds its network; can save a recognizer.

    Args:
        release: its name (`kinema.weights.list_releases`), or the release itself.
        out: folder for the recognizer; None saves nothing.
        file: the release's file, if it was downloaded by hand; None fetches it.
        labels: names of the outputs, or a text file with one per line; required with `out` if the order of the
            release's own outputs is unknown, or if `classes` is given.
        classes: number of outputs of a new classifier with random weights; None keeps the release's own classifier.
        timeout: seconds to wait for an answer from the network.
        progress: called with (bytes so far, bytes in total).

    Returns:
        The network, and the report on how every name in the file was used.

    Raises:
        KinemaError: the release or file does not exist, a hash differs, or labels are missing or do not fit.
        RunError: the file cannot be fetched or read, or differs from what is known about the release.
        IncompleteWeights: its weights do not fit the network completely.
    """
    release = find_release(release) if isinstance(release, str) else release
    for name, value in (("classes", classes), ("timeout", timeout)):
        if value is not None and not value > 0:
            raise KinemaError(f"{name} is {value}: give a number above 0")
    # Labels are checked before anything is fetched.
    outputs = _release_labels(release, labels, classes) if out is not None else ()
    if file is not None:
        path = Path(file)
        if not path.exists():
            raise KinemaError(f"{file}: there is no such file of weights; check the path")
        sha256 = check_hash(release, path)
    else:
        path, sha256 = fetch(release, timeout=timeout, progress=progress)
    tensors = _read(path)
    try:
        found = implied(release.model, release.options, tensors)
        model, spec = release.build(classes, found)
    except KinemaError as error:
        raise RunError(f"{release.name}: its file does not match the catalogue ({error}); nothing was saved") from error
    # The remarks say how to build the network, but the release already states that.
    report = replace(import_weights(model, tensors), remarks=())
    card = {
        "release": release.name,
        "source": release.address or release.page,
        "sha256": sha256,
        "licence": release.licence,
        "data": release.data,
        "published": {"top1": release.top1, "top5": release.top5, "views": release.views},
        **_origin(report, found),
    }
    complete = report.complete and (report.classifier or classes is not None)
    imported = Imported(model.eval(), spec, outputs, report, found, card, str(path), sha256, complete)
    return _save(imported, out, f"{release.name}: its file does not fit {release.model} completely")


def import_file(
    source: str | Path,
    model: str,
    out: str | Path | None = None,
    *,
    labels: Labels = None,
    classes: int | None = None,
    options: Mapping[str, Any] | None = None,
    clip: Mapping[str, Any] | None = None,
) -> Imported:
    """Builds a network with the weights in a file of another project; can save a recognizer.

    Options and clip fields that follow from the format of the file are used.

    Args:
        source: a safetensors or PyTorch file, or `hf-hub:organisation/name`.
        model: name of a model (see `kinema.list_models`).
        out: folder for the recognizer, which requires `labels`; None saves nothing.
        labels: names of the outputs, or a text file with one per line.
        classes: number of outputs, if no labels are given; None is 400.
        options: options of the network that do not follow from the file.
        clip: fields of the `ClipSpec` to set.

    Returns:
        The network, and the report on how every name in the file was used.

    Raises:
        KinemaError: a file, network or option does not exist, or labels are missing.
        IncompleteWeights: the weights do not fit the network completely.

    Warns:
        KinemaWarning: the labels look like numbers that were sorted as text.
    """
    options = dict(options or {})
    names = _given(labels)
    if names is not None and (odd := numbers_as_text(names)) is not None:
        where = labels if isinstance(labels, str | Path) else "labels"
        message = f"{where} orders numbers as text: output {names.index(odd)} is called {odd!r}"
        warnings.warn(message, KinemaWarning, stacklevel=2)
    if out is not None and names is None:
        raise KinemaError("labels are missing: saving a recognizer needs the names of its outputs (--labels FILE)")
    if "num_classes" in options:
        raise KinemaError("options.num_classes cannot be given: give labels or classes")
    if classes is not None and classes < 1:
        raise KinemaError(f"classes is {classes}: give a number above 0")
    if classes is not None and names is not None and classes != len(names):
        raise KinemaError(f"classes is {classes}, but there are {len(names)} labels: give only one of the two")
    tensors = read_tensors(source)
    found = implied(model, options, tensors, source)
    try:
        completed = found.complete(options)
    except KinemaError as error:
        raise KinemaError(f"{source}: {error}") from error
    network = create_model(model, **{**completed, "num_classes": len(names) if names else classes or 400})
    spec = found.spec(network, dict(clip or {}))
    report = import_weights(network, tensors)
    card = {"source": str(source), **_origin(report, found)}
    imported = Imported(
        network.eval(), spec, names or (), report, found, card, str(source), "", report.complete
    )  # fmt: skip
    return _save(imported, out, f"{source}: does not fit {model} completely")


def _origin(report: ImportReport, found: Implied) -> dict[str, Any]:
    return {
        "classifier": "imported" if report.classifier else "random",
        "format": found.format,
        "implied": found.to_dict(),
    }


def _save(imported: Imported, out: str | Path | None, misfit: str) -> Imported:
    """Saves a complete result.

    Args:
        imported: the network that was built.
        out: the folder; None saves nothing.
        misfit: start of the error message about incomplete weights.
    """
    if not imported.complete:
        raise IncompleteWeights(f"{misfit}; nothing was saved", imported)
    if out is None:
        return imported
    more = {"weights": dict(imported.card)}
    saved = save_network(Path(out), imported.model, imported.labels, imported.spec, more)
    return replace(imported, saved=saved)


def _given(labels: Labels) -> tuple[str, ...] | None:
    """Returns names that were given directly or as a file."""
    if labels is None:
        return None
    if not isinstance(labels, str | Path):
        check_labels(labels, len(labels))
        return tuple(labels)
    if not Path(labels).exists():
        raise KinemaError(f"{labels}: there is no such file of labels; check the path")
    return read_label_file(Path(labels))


def _release_labels(release: Release, labels: Labels, classes: int | None) -> tuple[str, ...]:
    """Returns the names of the outputs of a release."""
    wanted = classes or release.classes
    names = _given(labels)
    if names is not None:
        if len(names) != wanted:
            where = labels if isinstance(labels, str | Path) else "labels"
            raise KinemaError(f"{where} has {len(names)} labels for {wanted} outputs; give one label per output")
        return names
    if classes is not None:
        raise KinemaError(
            f"labels are missing: a recognizer with a new classifier of {classes} classes needs the names of its "
            "outputs (--labels FILE)"
        )
    if not release.labels:
        raise KinemaError(
            f"{release.name}: the order of its {release.classes} outputs is not known here; give labels (--labels "
            f"FILE), or save no recognizer and train from it with --weights {release.name}"
        )
    return read_labels(release.labels)


def _read(path: Path) -> dict[str, Tensor]:
    """Returns the tensors; a fetched file that cannot be read is deleted, so that the next call fetches it again."""
    try:
        return read_tensors(path)
    except KinemaError as error:
        if cache_folder() in path.parents:
            path.unlink(missing_ok=True)
            raise RunError(f"{error}; the fetched file was deleted") from error
        raise
