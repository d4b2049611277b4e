"""Six runs in two groups, with labels in Chinese, on one page; the parts of a page as templates."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from evaluation.made_tests import made_test

from kinema.evaluation.calibration import calibration
from kinema.evaluation.comparison import compare
from kinema.evaluation.cost import Cost
from kinema.evaluation.many import compare_many
from kinema.report import figures, markup
from kinema.report.page import render
from kinema.report.runs import Run
from kinema.report.trade_off import counts, latencies, trade_off

LABELS = ("步行", "开门", "关门", "坐下")
COSTS = [
    Cost(8, 64, 1_000_000 * (1 + i // 3), 30_000_000 * (1 + i // 3), 60_000_000 * (1 + i // 3), 0) for i in range(6)
]


def six() -> list[Run]:
    """Two networks from three seeds each; the first is right more often."""
    rng = np.random.default_rng(0)
    truth = [LABELS[i % 4] for i in range(120)]
    found = []
    for i in range(6):
        right = rng.random(120) < (0.8, 0.5)[i // 3]
        said = [label if ok else LABELS[(LABELS.index(label) + 1) % 4] for label, ok in zip(truth, right, strict=True)]
        model = ("stm_r18", "tsn_r18")[i // 3]
        config = {"model": model, "seed": i % 3, "out": str(i)}
        name = f"{('动作', 'base')[i // 3]}_s{i % 3}"
        document = {
            "test": {"recognizer": name, "data": "d", "split": "test", "views": "1x1"},
            "training": {"config": config},
            "architecture": {"name": model, "options": {"num_classes": 4, "frames": 4, "width": 0.0625}},
            "protocol": {"clip": {"crop": 32}},
        }
        test = made_test(name, truth, said, labels=LABELS, document=document)
        found.append(Run(name, None, config, [], {}, test, (), ()))
    return found


def results_of(runs: list[Run]) -> list:
    return [run.test for run in runs if run.test is not None]


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return six()


@pytest.fixture(scope="module")
def page(runs: list[Run]) -> str:
    tests = results_of(runs)
    comparisons = [compare(tests[0], other) for other in tests[1:]]
    return render(runs, comparisons, [], many=compare_many(tests), costs=COSTS)


def section(page: str, title: str) -> str:
    return page.partition(f"<h2>{title}</h2>")[2].partition("<h2>")[0]


def test_the_groups_are_found_and_their_means_shown(page: str, runs: list[Run]) -> None:
    shown = section(page, "Groups")
    tests = results_of(runs)
    assert "<th class=n>动作</th><th class=n>base</th>" in shown
    means = [np.mean([test.metrics.top1 for test in tests[k : k + 3]]) for k in (0, 3)]
    assert re.findall(r"<tr><td>mean top-1, %</td><td class=n>(.*?)</td><td class=n>(.*?)</td>", shown) == [
        tuple(f"{100 * mean:.1f}" for mean in means)
    ]
    assert f"{100 * (means[1] - means[0]):+.1f}" in shown


def test_every_two_runs_are_compared_and_coloured_by_their_verdict(page: str) -> None:
    shown = section(page, "Every two runs")
    rows = re.findall(r"<tr><td>(.*?)</td>(.*?)</tr>", shown)
    assert [name for name, _ in rows] == [f"{name}_s{i}" for name in ("动作", "base") for i in range(3)]
    tones = [re.findall(r"<td class=(?:self|\"n (\w*)\")", cells) for _, cells in rows]
    assert tones[0] == ["", "", "", "gain", "gain", "gain"]
    assert tones[5] == ["loss", "loss", "loss", "", "", ""]
    assert "all 15 comparisons" in shown


def test_two_runs_have_no_grid_and_no_groups(runs: list[Run]) -> None:
    tests = results_of(runs)[::3]
    text = render(runs[::3], [compare(*tests)], [])
    assert "Every two runs" not in text
    assert "<h2>Groups" not in text
    assert "<h2>Accuracy and cost" not in text  # nothing was counted


def test_accuracy_over_cost_has_one_figure_per_cost(page: str, runs: list[Run]) -> None:
    assert section(page, "Accuracy and cost").count("<svg") == 2
    metrics = {run.name: run.test.metrics for run in runs if run.test is not None}
    inks = markup.colours(list(metrics))
    times = [SimpleNamespace(p50_ms=3.0 + i) for i in range(6)]
    drawn = trade_off(runs, metrics, COSTS, times, inks)  # type: ignore[arg-type]
    assert drawn.count("<svg") == 3
    assert "median time per clip, ms" in drawn
    assert trade_off(runs[:1], metrics, COSTS[:1], [None], inks) == ""


def test_a_network_of_several_runs_is_counted_and_measured_once(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("kinema.report.trade_off.count", lambda name, **_: asked.append(name) or COSTS[0])
    costs = counts(runs)
    assert asked == ["stm_r18", "tsn_r18"]
    measured = []

    def measure(networks: list, **_: object) -> SimpleNamespace:
        measured.extend(network.name for network in networks)
        return SimpleNamespace(latency=lambda i: f"time {i}")

    assert latencies(runs, costs, "cpu", measured=measure) == ["time 0"] * 3 + ["time 1"] * 3
    assert measured == ["stm_r18", "tsn_r18"]
    assert latencies(runs, [None] * 6, "cpu", measured=measure) == [None] * 6


def test_labels_and_names_of_any_script_are_drawn_as_text(
    runs: list[Run], page: str, recwarn: pytest.WarningsRecorder
) -> None:
    assert all(f">{label}<" in section(page, "Classes") for label in LABELS)
    assert ">动作_s0<" in section(page, "Accuracy and cost")
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_a_reliability_diagram_is_per_run(page: str, runs: list[Run]) -> None:
    shown = section(page, "Calibration")
    assert shown.count("<svg") == 6
    found = [calibration(test.result) for test in results_of(runs)]
    errors = re.search(r"<td>expected calibration error, points</td>(.*?)</tr>", shown)
    assert errors is not None
    assert re.findall(r">([\d.]+)<", errors[1]) == [f"{100 * one.ece:.1f}" for one in found if one is not None]


def test_costs_that_differ_little_have_labels_on_their_axis() -> None:
    for costs in ({"a": 1.9, "b": 2.3}, {"a": 0.31, "b": 240.0}, {"a": 5.0}):
        drawn = figures.trade_off("MACs, G", costs, dict.fromkeys(costs, (0.5, 0.4, 0.6)), markup.colours(list(costs)))
        numbers = re.findall(r">([\d.]+)</text>", drawn.partition("matplotlib.axis_2")[0])
        assert len(numbers) >= 2, costs


@pytest.mark.parametrize("costs", [[44.2, 44.2, 44.2, 44.8, 44.8, 300.0], [5.0] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
def test_runs_of_the_same_cost_stand_beside_each_other(costs: list[float]) -> None:
    names = [str(i) for i in range(6)]
    drawn = figures.trade_off(
        "ms", dict(zip(names, costs, strict=True)), dict.fromkeys(names, (0.6, 0.5, 0.7)), markup.colours(names)
    )
    marks = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)" style="fill: (#\w+)', drawn)
    marks = [(float(x), float(y)) for x, y, ink in marks if ink in markup.COLOURS][:6]
    assert len({round(x) for x, _ in marks}) == 6
    assert len({y for _, y in marks}) == 1
    assert ">60" in drawn.replace(">60.0", ">60")  # on the axis beside them


def test_values_are_escaped_and_figures_are_not() -> None:
    assert markup.note("<b>") == "<p class=note>&lt;b&gt;</p>"
    assert "&lt;i&gt;" in markup.table(["<i>"], [["x"]])
    assert "&lt;i&gt;" in markup.by_run(["x"], {"<i>": [1]})
    assert "&#39; onload=" in markup.image(b"", "png", "' onload=") or "&#34;" in markup.image(b"", "png", '"')
    svg = figures.loss_curves({"a": []}, {"a": "#000000"})
    assert "<figure><svg" in markup.grid([svg])
    assert "<figure>&lt;p&gt;" in markup.grid(["<p>"])
