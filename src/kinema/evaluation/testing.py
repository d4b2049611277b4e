"""`run_test`: the function behind `kinema test`; it chooses split and output folder, and makes the remarks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kinema.card import LAST
from kinema.data.datasets import label_indices
from kinema.data.label_remarks import UNTRAINED, label_remarks
from kinema.data.loading.limits import ReadLimits
from kinema.data.manifest import Manifest, data_place, read_manifest
from kinema.data.splits import is_training, split_to_test, training_split
from kinema.data.views import Protocol, parse_views
from kinema.errors import KinemaError
from kinema.evaluation.result import TestResult
from kinema.evaluation.results import Test, document, require_free, write_results
from kinema.evaluation.runner import Progress, evaluate
from kinema.evaluation.selection import described, require_other_split, sentence
from kinema.processes import connected_rank
from kinema.recognizer import Recognizer


@dataclass(frozen=True)
class TestPlan:
    """A test before it is run.

    Attributes:
        test: the identity of the test.
        recognizer: the loaded recognizer.
        data: the whole data set.
        part: the videos of the split.
        views: clips and crops of each video.
        random_clips: the seed of random clips; None for clips at fixed positions.
    """

    __test__ = False  # pytest would collect a class of this name

    test: Test
    recognizer: Recognizer
    data: Manifest
    part: Manifest
    views: tuple[int, int]
    random_clips: int | None = None

    @property
    def selection(self) -> dict[str, Any] | None:
        """The tested epoch, and whether the split of the test selected it (see `selection.described`)."""
        return described(self.recognizer.card, self.test.data, self.test.split)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks about the reliability of the figures: sentences that begin with `note: ` or `warning: `."""
        split = self.test.split
        notes = [*self.data.remarks, *_trained_on(self.recognizer, self.test.data, split)]
        labels = _label_remarks(self.recognizer, self.data, self.part, self.test.data, split)
        chosen = sentence(self.selection)
        return (*(f"note: {remark}" for remark in notes), *([f"note: tested is {chosen}"] if chosen else []), *labels)

    @property
    def train_labels(self) -> list[str] | None:
        """Label of every training video; None if there is none, or if training videos are tested as well."""
        split = self.test.split
        if split == "all":
            return None
        return [s.label for s in self.data.samples if is_training(s.split) and s.split != split] or None


@dataclass(frozen=True)
class TestRun:
    """A test that has been run.

    Attributes:
        plan: the plan of the test.
        result: the result, with its figures.
        remarks: remarks about the reliability of the figures (see `TestPlan.remarks`).
        out: the folder of `metrics.json`, `scores.parquet` and `ledger.csv`; None if nothing was written.
    """

    __test__ = False  # pytest would collect a class of this name

    plan: TestPlan
    result: TestResult
    remarks: tuple[str, ...]
    out: Path | None

    def to_dict(self) -> dict[str, Any]:
        """The content of `metrics.json`."""
        return document(self.result, self.plan.recognizer, self.plan.test)


def plan_test(
    recognizer: str | Path | Recognizer,
    data: str | Path,
    *,
    split: str | None = None,
    views: Protocol = "1x1",
    random_clips: int | None = None,
    device: str | torch.device | None = None,
) -> TestPlan:
    """Loads the recognizer and reads the list of videos; no video is opened.

    Args:
        recognizer: as in `run_test`.
        data: as in `run_test`.
        split: as in `run_test`.
        views: as in `run_test`.
        random_clips: as in `run_test`.
        device: as in `run_test`.

    Raises:
        KinemaError: as in `run_test`, except for errors about the files of the test.
    """
    clips, crops = parse_views(views)
    protocol = protocol_name((clips, crops), random_clips)
    if isinstance(recognizer, Recognizer):
        loaded = recognizer if device is None else recognizer.to(device)
        place = ""
    else:
        loaded = Recognizer.load(recognizer, device or "cpu")
        place = str(recognizer)
    manifest = read_manifest(data, check=False)  # a missing file belongs in the ledger
    chosen = split_to_test(manifest, split)
    test = Test(place, str(data), chosen, protocol)
    return TestPlan(test, loaded, manifest, manifest.part(chosen), (clips, crops), random_clips)


def protocol_name(views: tuple[int, int], random_clips: int | None = None) -> str:
    """Returns `10x3`, or `10x3, clips drawn with seed 7`; tests with different names use different frames.

    Raises:
        KinemaError: the seed is negative.
    """
    if random_clips is not None and random_clips < 0:
        raise KinemaError(f"random_clips is {random_clips}: give a seed of 0 or more")
    seed = "" if random_clips is None else f", clips drawn with seed {random_clips}"
    return f"{views[0]}x{views[1]}{seed}"


def run_test(
    recognizer: str | Path | Recognizer,
    data: str | Path,
    *,
    split: str | None = None,
    views: Protocol = "1x1",
    random_clips: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    workers: int = -1,
    batch: int = 8,
    limits: ReadLimits | None = None,
    device: str | torch.device | None = None,
    precision: str | None = None,
    force: bool = False,
    prepare: Callable[[TestPlan], object] | None = None,
    say: Callable[[str], object] | None = None,
    progress: Callable[[str], AbstractContextManager[Progress | None]] | None = None,
) -> TestRun:
    """Tests a recognizer on data and writes the files of the test, as `kinema test` does.

    Connected processes (`kinema.processes.connected`) share the videos; each gets the whole result, and only the first
    one writes files and calls `say`.

    Args:
        recognizer: a run folder, a recognizer folder or `hf-hub:org/name`; or a `Recognizer` in memory, for which no
            files are written.
        data: a folder with one sub-folder per class, a CSV, or `CATALOGUE:FOLDER`.
        split: name of a split, or `all`; None is `test`, else `val` (see `kinema.data.splits.split_to_test`).
        views: `CLIPSxCROPS`, such as `10x3`, or the two numbers.
        random_clips: a seed: the clips of each video are random, as in training (STM, section 4.2), instead of at fixed
            positions; the same seed gives the same clips.
        out: folder for `metrics.json`, `scores.parquet` and `ledger.csv`; None is `default_out`.
        overwrite: replace the files of another test in `out`.
        workers: processes that read videos; 0 reads in this one, -1 is one per core, at most 16.
        batch: views per forward pass.
        limits: limits for reading one video before it is given up as unreadable.
        device: device of the network; None is the CPU, or the current device of a `Recognizer`.
        precision: `32` or `bf16` (see `Recognizer.in_precision`); None leaves it unchanged.
        force: test even on the split that selected the recognizer's epoch; the result is then marked.
        prepare: called with the plan before the first video is read; may change how its recognizer computes.
        say: called with every remark before the first video is read.
        progress: called with a title; returns a context to which finished and expected videos are reported.

    Returns:
        The result with its figures, the remarks, and the output folder.

    Raises:
        KinemaError: the recognizer, data or split does not exist; the recognizer lacks a label; the views are invalid;
            the split selected the recognizer and `force` is not given; `out` contains something else, or is given for a
            recognizer in memory.
        RunError: no video could be read, the scores of the network are not finite, or the disk is full.
    """
    plan = plan_test(recognizer, data, split=split, views=views, random_clips=random_clips, device=device)
    require_other_split(plan.selection, str(data), plan.test.split, force=force)
    if precision is not None:
        plan.recognizer.in_precision(precision)
    label_indices(plan.part, plan.recognizer.labels, plan.recognizer.multi_label)
    folder = _folder(plan.test, out)
    first, remarks = connected_rank().first, plan.remarks
    if first:
        if folder is not None:
            require_free(folder, plan.test, overwrite=overwrite)
        if say is not None:
            for remark in remarks:
                say(remark)
    if prepare is not None:
        prepare(plan)
    with progress("testing videos") if progress is not None and first else nullcontext() as step:
        result = evaluate(
            plan.recognizer, plan.part, views=plan.views, random_clips=random_clips, workers=workers, batch=batch,
            limits=limits, train_labels=plan.train_labels, progress=step,
        )  # fmt: skip
    if first and folder is not None:
        write_results(folder, result, plan.recognizer, plan.test)
    return TestRun(plan, result, remarks, folder)


def default_out(recognizer: str | Path, split: str) -> Path:
    """Returns the default output folder of `kinema test`.

    It is `test-SPLIT` in a run folder (`test-SPLIT-last` for its `recognizer-last`), else `test-RECOGNIZER-SPLIT` in
    the current folder.
    """
    place, named = str(recognizer), split.replace("/", "-")
    if (Path(place) / "recognizer").is_dir():
        return Path(place) / f"test-{named}"
    if Path(place).name == LAST and (Path(place).parent / "recognizer").is_dir():
        return Path(place).parent / f"test-{named}-last"
    return Path(f"test-{Path(place.removeprefix('hf-hub:')).resolve().name}-{named}")


def _folder(test: Test, out: str | Path | None) -> Path | None:
    if test.recognizer:
        return default_out(test.recognizer, test.split) if out is None else Path(out)
    if out is not None:
        raise KinemaError(
            f"{out}: metrics.json must name the recognizer's folder; save the recognizer and give its folder"
        )
    return None


def _trained_on(recognizer: Recognizer, data: str, split: str) -> list[str]:
    """Returns a warning if the tested videos were used for training according to the card."""
    if _is_of(recognizer, data) and split in ("all", _config(recognizer).get("train_split")):
        return [f"split {split} contains training videos of this recognizer: the figures say little about other videos"]
    return []


def _config(recognizer: Recognizer) -> dict[str, Any]:
    training = recognizer.card.get("training")
    return training.get("config", {}) if isinstance(training, dict) else {}


def _is_of(recognizer: Recognizer, data: str) -> bool:
    """Returns True if a recognizer was trained on these data."""
    config = _config(recognizer)
    return "data" in config and data_place(config["data"]) == data_place(data)


def _label_remarks(recognizer: Recognizer, manifest: Manifest, tested: Manifest, data: str, split: str) -> list[str]:
    """Returns the labels without a training video, as far as known from the recognizer's card or its training data."""
    training = recognizer.card.get("training")
    untrained = training.get(UNTRAINED) if isinstance(training, dict) else None
    own = training_split(manifest)
    if isinstance(untrained, list):
        trained = set(recognizer.labels).difference(untrained)
    elif own is not None and own != split and _is_of(recognizer, data):
        trained = manifest.split(own).shown
    else:
        return []
    return label_remarks(trained, {split: _sets_of(tested, recognizer)})


def _sets_of(tested: Manifest, recognizer: Recognizer) -> set[str]:
    """Returns the labels of the tested videos."""
    return replace(tested, multi_label=recognizer.multi_label).shown
