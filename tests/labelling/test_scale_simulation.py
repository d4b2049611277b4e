"""The scheduler of a cluster on simulated machines: one row for every input, whatever fails, in about the time of the
formula."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

TIMES = {"read": 0.07, "network": 0.14, "head": 0.004}  # seconds; so that a run takes several minutes of its clock


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("scale_simulation")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"machines": 1},
        {"machines": 8, "cores": 3},
        {"read": 0.3},  # readers are the limit
        {"bandwidth": 2e7},  # the network disk
        {"head": 0.5},  # the head
        {"slow": 2},
    ],
    ids=lambda changes: " ".join(changes) or "networks",
)
def test_without_failures_the_time_is_that_of_the_formula(changes: dict[str, float], scale: ModuleType) -> None:
    setting = replace(scale.Setting(inputs=8000, **TIMES), **changes)
    found, formula = scale.simulate(setting), scale.predicted(setting)
    assert found["rows"] == 8000
    assert found["again"] == 0
    assert found["seconds"] >= scale.bound(setting)
    assert found["seconds"] == pytest.approx(formula["seconds"], rel=0.1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_failing_machines_cost_time_and_no_row(seed: int, scale: ModuleType) -> None:
    setting = scale.Setting(inputs=8000, machines=4, cores=4, failures=10.0, repair=60.0, seed=seed, **TIMES)
    found, formula = scale.simulate(setting), scale.predicted(setting)
    assert found["died"] > 0
    assert found["rows"] == 8000
    assert found["harmless"] == 0
    assert found["seconds"] >= scale.bound(setting)
    assert found["seconds"] == pytest.approx(formula["seconds"], rel=0.3)


@pytest.mark.parametrize("cores", [2, 8])
def test_poison_files_are_given_up_and_no_other(cores: int, scale: ModuleType) -> None:
    found = scale.simulate(scale.Setting(inputs=3000, machines=1, cores=cores, poison=5, failures=2.0, **TIMES))
    assert (found["rows"], found["poison"], found["harmless"]) == (3000, 5, 0)


def test_the_table_follows_from_the_seed(scale: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--inputs", "2000", "--machines", "2", "--failures", "20", "--poison", "1", "--json", "--seed"]
    tables = []
    for seed in "001":
        assert scale.main([*words, seed]) == 0
        tables.append(capsys.readouterr().out)
    assert json.loads(tables[0])["rows"] == 2000
    assert tables[0] == tables[1] != tables[2]
