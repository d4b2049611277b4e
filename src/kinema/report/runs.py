"""The available parts of a run: configuration, curves, recognizer and test, and the missing ones."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.card import CARD, read_card
from kinema.config_file import CONFIG, read_run_config
from kinema.data.manifest import ABSENT
from kinema.errors import KinemaError
from kinema.evaluation.results import SCORES
from kinema.evaluation.tested import Tested, distinct_names, find_scores, how_to_test, open_test
from kinema.training.run_log import read_metrics


@dataclass(frozen=True)
class Run:
    """One run, finished or not.

    Attributes:
        name: short name, unique in the report.
        folder: folder of the training, None if only a test is known.
        config: its `config.yaml`; {} if there is none.
        history: the rows of its `metrics.csv`.
        card: card of its recognizer; {} if there is none.
        test: its test; None if it has not been tested.
        unread: path and reason of every unreadable training video.
        missing: a sentence for each missing part of the report, with the command that creates it.
    """

    name: str
    folder: Path | None
    config: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    card: Mapping[str, Any]
    test: Tested | None
    unread: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]

    @property
    def architecture(self) -> Mapping[str, Any] | None:
        """Name and options of the network; None without a recognizer and a test."""
        found = self.card.get("architecture") or (self.test.document.get("architecture") if self.test else None)
        return found if isinstance(found, Mapping) else None

    @property
    def clip(self) -> Mapping[str, Any]:
        """The fields of the ClipSpec; {} without a recognizer and a test."""
        if self.test is not None and "protocol" in self.test.document:
            found: Mapping[str, Any] = self.test.document["protocol"]["clip"]
            return found
        return self.card.get("clip", {})


def open_runs(places: Sequence[str | Path]) -> list[Run]:
    """Opens the given runs.

    Args:
        places: run folders (unfinished ones included), test folders or `scores.parquet` files.

    Raises:
        KinemaError: a place is none of these, is given twice, or has damaged files.
    """
    resolved = [Path(place).resolve() for place in places]
    for place, path in zip(places, resolved, strict=True):
        if resolved.count(path) > 1:
            raise KinemaError(f"{place}: is given twice; give every run once")
    return [_open(Path(place), name) for place, name in zip(places, distinct_names(places), strict=True)]


def _open(place: Path, name: str) -> Run:
    if not place.exists():
        raise KinemaError(f"{place}: there is no such run or test; check the path")
    if place.is_file() or (place / SCORES).is_file():
        test: Tested | None = open_test(place, name)
        folder = _trained_in(place, test)
    else:
        folder = place
        test = None
        if not any((place / mark).exists() for mark in (CONFIG, "recognizer")) and not _tests(place):
            raise KinemaError(
                f"{place}: neither a run nor a test; give a folder written by kinema train or kinema test"
            )
        if _tests(place):
            find_scores(place)  # several tests: raises an error that lists them
            test = open_test(place, name)
    config = (read_run_config(folder) or {}) if folder is not None else {}
    card = _card(folder / "recognizer" / CARD) if folder is not None else {}
    history = _history(folder / "metrics.csv") if folder is not None else []
    unread = _ledger(folder / "training-ledger.csv") if folder is not None else ()
    return Run(name, folder, config, history, card, test, unread, _missing(name, place, folder, history, card, test))


def _tests(folder: Path) -> list[Path]:
    return list(folder.glob(f"*/{SCORES}"))


def _trained_in(place: Path, test: Tested | None) -> Path | None:
    """Returns the run folder of a test: its parent folder, or the one in its `metrics.json`, if it still exists."""
    folder = place.parent if place.is_file() else place
    candidates = [folder.parent]
    if test is not None and isinstance(test.document.get("test"), dict):
        candidates.append(Path(str(test.document["test"].get("recognizer", ""))))
    return next((path for path in candidates if (path / CONFIG).is_file()), None)


def _missing(
    name: str, place: Path, folder: Path | None, history: Sequence[Any], card: Mapping[str, Any], test: Tested | None
) -> tuple[str, ...]:
    found = []
    if folder is None:
        found.append(
            f"{name}: no curves, because {place} is a test without its run folder; give the run folder as well"
        )
    elif not history:
        found.append(
            f"{name}: no curves, because {folder} contains no metrics.csv with a finished epoch; kinema train writes it"
        )
    if folder is not None and not card:
        found.append(f"{name}: the training has not finished; repeat its kinema train command to continue it")
    if test is None and folder is not None:
        found.append(f"{name}: not tested, so there are no accuracies; test it with: {how_to_test(folder)}")
    elif test is not None and not test.document:
        found.append(f"{name}: no protocol, because there is no metrics.json beside {test.file}; test again")
    return tuple(found)


def _history(file: Path) -> list[dict[str, Any]]:
    try:
        rows = read_metrics(file)
        if rows and not {"epoch", "lr", "train_loss", "train_top1", "val_top1", "seconds", "data_wait"} <= set(rows[0]):
            raise ValueError(f"its columns are {', '.join(rows[0])}")
        if any(row["epoch"] is None for row in rows):
            raise ValueError("a row has no epoch")
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError, csv.Error) as error:
        raise KinemaError(f"{file}: not a table of training curves ({error}); restore or remove it") from error
    return rows


def _card(file: Path) -> dict[str, Any]:
    """Returns the entries of a card; {} if there is none."""
    if not file.is_file():
        return {}
    card = read_card(file)
    return {**card.more, "architecture": card.architecture, "labels": list(card.labels), "clip": card.clip}


def _ledger(file: Path) -> tuple[tuple[str, str], ...]:
    if not file.is_file():
        return ()
    try:
        with file.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.reader(handle, strict=True))
        if rows[:1] != [["path", "error"]] or any(len(row) != 2 for row in rows):
            raise ValueError("it needs the columns path and error, in every row")
    except (OSError, ValueError, csv.Error) as error:
        raise KinemaError(f"{file}: not a training ledger ({error}); restore or remove it") from error
    return tuple((path, error) for path, error in rows[1:] if error != ABSENT)
