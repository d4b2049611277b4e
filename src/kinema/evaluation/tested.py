"""A finished test, found from what the user names: a run folder, the folder of the test, or its scores."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kinema.card import Schema, misshapen
from kinema.config_file import read_run_config
from kinema.errors import KinemaError
from kinema.evaluation.metrics import FIGURES, Coverage, Metrics
from kinema.evaluation.multi_label import MultiLabelMetrics, mean_average_precision
from kinema.evaluation.result import TestResult
from kinema.evaluation.results import METRICS, SCORES, read_scores
from kinema.evaluation.statistics import share_interval
from kinema.evaluation.views import ViewSummary
from kinema.text import parse_json

_USUAL = "test-test"  # the folder that `kinema test` makes in a run for the split test
_COUNTS = {"expected": int, "read": int, "failed": int}
_SHAPE: Schema = {
    "test": {"recognizer": str, "data": str, "split": str, "views": str},
    "metrics": {"coverage": _COUNTS},
    "views": {"clips": int, "crops": int},
    "protocol": {"clip": {"crop": int}},
    "architecture": {"name": str, "options": {}},
    "versions": {},
}


@dataclass(frozen=True)
class Tested:
    """The files that `kinema test` wrote.

    Attributes:
        name: short, different from that of every other test it stands beside.
        file: its `scores.parquet`.
        result: what it found, one entry per video.
        document: its `metrics.json`; empty where the scores lie alone.
        stated: the figures of `metrics.json`; None where it is missing, or was written before it held all of them.
    """

    __test__ = False  # not a test of pytest's

    name: str
    file: Path
    result: TestResult
    document: Mapping[str, Any]
    stated: Metrics | None = None

    @property
    def coverage(self) -> Coverage:
        """The videos of the whole test; how many more were absent, as far as its `metrics.json` tells."""
        n, failed = len(self.result.errors), len(self.result.failures)
        return Coverage(n, n - failed, failed, _absent(self.document))

    @cached_property
    def metrics(self) -> Metrics:
        """Its figures: those of `metrics.json`, or computed from the scores where that file does not hold them all."""
        return self.stated or replace(self.result.metrics, coverage=self.coverage)

    @cached_property
    def set_metrics(self) -> MultiLabelMetrics:
        """Its figures where a video may have several labels, computed from the scores."""
        return replace(self.result.set_metrics, coverage=self.coverage)

    @property
    def figures(self) -> Metrics | MultiLabelMetrics:
        """`set_metrics` where a video may have several labels, else `metrics`."""
        return self.set_metrics if self.result.multi_label else self.metrics


def open_tests(places: Sequence[str | Path]) -> list[Tested]:
    """The tests that the user names: all of one label per video, or all of several.

    Args:
        places: run folders, test folders or `scores.parquet` files.

    Raises:
        KinemaError: one of them holds no test, several, or damaged files, or they are of both kinds.
    """
    names = distinct_names(places)
    tests = [open_test(place, name) for place, name in zip(places, names, strict=True)]
    require_one_kind(tests)
    return tests


def open_test(place: str | Path, name: str) -> Tested:
    """One test (see `open_tests`) under a name of the caller's."""
    file = find_scores(place)
    described = file.with_name(METRICS)
    document = _document(described)
    result = read_scores(file)
    test = Tested(name, file, replace(result, views=_views(document)), document)
    if result.multi_label:
        _check_stated_sets(described, test)
        return test
    stated = _stated_metrics(described, test)
    train = None if stated is None or stated.train_majority is None else stated.train_majority.label
    return replace(test, result=replace(test.result, train_majority=train), stated=stated)


def require_one_kind(tests: Sequence[Tested]) -> bool:
    """Whether tests are of several labels per video; False without any test.

    Raises:
        KinemaError: some are and others are not.
    """
    one, several = ([test for test in tests if test.result.multi_label == kind] for kind in (False, True))
    if one and several:
        raise KinemaError(
            f"{one[0].file} is of a test with one label per video and {several[0].file} of one with several: their "
            "figures differ in kind, so leave one of the two out"
        )
    return bool(several)


def find_scores(place: str | Path) -> Path:
    """The `scores.parquet` of a run folder, of a test folder, or the file itself.

    A run folder with several tests stands for the one in `test-test`.

    Raises:
        KinemaError: there is none, or there are several and none of them is `test-test`.
    """
    path = Path(place)
    if not path.exists():
        raise KinemaError(f"{path}: there is no such run or test; check the path")
    if path.is_file():
        return path
    if (path / SCORES).is_file():
        return path / SCORES
    found = sorted(path.glob(f"*/{SCORES}"))
    usual = path / _USUAL / SCORES
    if usual in found or len(found) == 1:
        return usual if usual in found else found[0]
    if found:
        named = ", ".join(str(file.parent) for file in found)
        raise KinemaError(f"{path}: holds {len(found)} tests; name one of them: {named}")
    raise KinemaError(f"{path}: contains no test; make one: {how_to_test(path)}")


def how_to_test(run: Path) -> str:
    """The command that tests a run, with the data it was trained on where that is known."""
    data = "D"
    with suppress(KinemaError):  # the sentence that this is for is about something else
        values = read_run_config(run) or {}
        if isinstance(values.get("data"), str):
            data = shlex.quote(values["data"])
    return f"kinema test {shlex.quote(str(run))} --data {data}"


def distinct_names(places: Sequence[str | Path]) -> list[str]:
    """The last parts of paths, as many of each as tell it from the others."""
    parts = [Path(place).resolve().parts for place in places]
    parts = [p[:-1] if p[-1] == SCORES else p for p in parts]

    def shortest(own: tuple[str, ...]) -> str:
        for length in range(1, len(own)):
            if sum(other[-length:] == own[-length:] for other in parts) == parts.count(own):
                return "/".join(own[-length:])
        return "/".join(own)

    return [shortest(own) for own in parts]


def _absent(document: Mapping[str, Any]) -> int:
    """0 where the file is from before it said so, or has been changed."""
    metrics = document.get("metrics")
    coverage = metrics.get("coverage") if isinstance(metrics, Mapping) else None
    number = coverage.get("absent") if isinstance(coverage, Mapping) else None
    return number if isinstance(number, int) else 0


def _stated_metrics(file: Path, test: Tested) -> Metrics | None:
    """The figures in `metrics.json`, checked against the scores beside it."""
    values = test.document.get("metrics", {})
    if "mean_ap" in values:  # of a test with several labels per video
        raise KinemaError(f"{file}: its figures are not those of the {SCORES} beside it; test again")
    if FIGURES.keys() - values.keys():
        return None
    try:
        found = Metrics.from_dict(values)
    except ValueError as error:
        key = f"metrics.{error}"
        raise KinemaError(f"{file}: {key!r} is not what kinema test writes there; test again") from error
    same = [c.label for c in found.per_class] == list(test.result.labels) and found.coverage == test.coverage
    if not same or abs(found.top1 - float(test.result.correct.mean())) > 1e-9:  # a test that was killed half-way
        raise KinemaError(f"{file}: its figures are not those of the {SCORES} beside it; test again")
    # Earlier versions wrote a bootstrap interval: beside a newer test it would be of another kind.
    right = int(test.result.correct.sum())
    return replace(found, top1_interval=share_interval(right, len(test.result.correct)))


def _check_stated_sets(file: Path, test: Tested) -> None:
    """Refuses figures in `metrics.json` that are not those of the scores beside it.

    Raises:
        KinemaError: the two do not belong together.
    """
    if "metrics" not in test.document:
        return
    stated = test.document["metrics"].get("mean_ap")
    if not isinstance(stated, int | float):
        raise KinemaError(f"{file}: 'metrics.mean_ap' is not what kinema test writes there; test again")
    found = mean_average_precision(test.result.truth_sets, test.result.scores) or 0.0
    if not abs(stated - found) <= 1e-9:  # NaN too
        raise KinemaError(f"{file}: its figures are not those of the {SCORES} beside it; test again")


def _views(document: Mapping[str, Any]) -> ViewSummary | None:
    """None where the file is from before it held all of them."""
    found = document.get("views", {})
    names = [field.name for field in fields(ViewSummary) if field.name != "random_clips"]
    if not all(isinstance(found.get(name), int) for name in names):
        return None
    return ViewSummary(**{name: found[name] for name in names}, random_clips=found.get("random_clips"))


def _document(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        found = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KinemaError(f"{file}: not readable JSON ({error}); test again") from error
    if not isinstance(found, dict):
        raise KinemaError(f"{file}: not what kinema test writes; test again")
    wrong = misshapen(found, _SHAPE)
    if wrong is not None:
        raise KinemaError(f"{file}: {wrong!r} is not what kinema test writes there; test again")
    return found
