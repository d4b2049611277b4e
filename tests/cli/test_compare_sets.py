"""`kinema compare` and `kinema report` of tests with several labels per video, as a person types them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from command import run, sentence
from evaluation.made_sets import made_sets, written_sets
from evaluation.made_tests import made_test

from kinema.evaluation.set_comparison import compare_sets
from kinema.evaluation.set_many import compare_many_sets
from kinema.evaluation.tested import open_tests


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    made = [made_sets(f"{name}_s{i}", seed=10 * k + i, skill=(0.5, 2.5)[k], unread=[7][: 1 - k])
            for k, name in enumerate(("weak", "strong")) for i in range(2)]  # fmt: skip
    return [written_sets(folder / test.name, test) for test in made]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = ["sit", "read", "wave"] * 5
    return written_sets(
        tmp_path_factory.mktemp("one") / "single", made_test("single", labels, labels, labels=("read", "sit", "wave"))
    )


def test_two_tests_are_compared_by_their_map(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [runs[0], runs[2]]
    found = compare_sets(*open_tests(pair))
    status, out, err = run(capsys, "compare", *pair)
    assert (status, err) == (0, "")
    assert "1 of the videos could not be read for weak_s0 alone" in out
    for side in (found.first, found.second):
        assert re.search(rf"{side.name} +{100 * side.mean_ap:.1f}% +{100 * side.interval[0]:.1f}% to", out)
    assert "3 classes; without 1 class that no compared video shows (never)" in " ".join(out.split())
    d = found.difference
    assert f"difference  {100 * d.difference:+.1f} points of mAP, 95 % interval {100 * d.low:+.1f} to" in out
    for c in found.per_class:
        assert re.search(rf"{c.label} +{c.videos} +{100 * c.first:.1f}% +{100 * c.second:.1f}%", out)
    folder = tmp_path / "cmp"
    status, out, _ = run(capsys, "compare", *pair, "--json", "--out", folder)
    told = json.loads(out)
    assert told == json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert told["difference"] == {"difference": d.difference, "low": d.low, "high": d.high, "p": d.p}
    with (folder / "disagreements.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(row["weak_s0"] != row["strong_s0"] for row in rows)
    assert run(capsys, "compare", *pair, "--out", folder)[0] == 0  # the same again may replace it
    assert str(folder) in sentence(capsys, "compare", *pair[::-1], "--out", folder)


def test_many_tests_are_a_grid_and_groups(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "compare", *runs, "--groups", "weak=weak*", "strong=strong*")
    assert (status, err) == (0, "")
    found = compare_many_sets(open_tests(runs), groups=["weak=weak*", "strong=strong*"])
    assert found.grouped is not None
    for group in found.grouped.groups:
        assert re.search(rf"{group.name} +2 +{100 * group.mean_ap:.1f}%", out)
    assert "strong - weak" in out
    assert "all 6 comparisons" in out
    assert re.search(r"sit +[\d.]+% +[\d.]+% +[\d.]+% +[\d.]+%", out)
    status, out, _ = run(capsys, "compare", *runs, "--json", "--out", tmp_path / "cmp")
    told = json.loads(out)
    assert told == json.loads((tmp_path / "cmp" / "comparison.json").read_text(encoding="utf-8"))
    assert len(told["grid"]["cells"]) == 6
    assert told["runs"][0]["coverage"]["failed"] == 1


def test_both_kinds_together_are_refused_by_name(
    runs: list[Path], single: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("compare", single, runs[0]), ("compare", runs[0], single, runs[1]), ("report", runs[0], single)):
        said = sentence(capsys, *words, "--out", tmp_path / "x.html")
        assert "single" in said
        assert "weak_s0" in said
    assert not (tmp_path / "x.html").exists()


def test_what_needs_one_label_per_video_is_refused(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--pairs sit/read" in sentence(capsys, "compare", *runs[:2], "--pairs", "sit/read")
    assert "with itself" in sentence(capsys, "compare", runs[0], runs[0])
    assert "--groups x=y" in sentence(capsys, "compare", *runs, "--groups", "a=*", "x=y")
    page = tmp_path / "page.html"
    assert "--features" in sentence(capsys, "report", runs[0], "--features", "--out", page)
    assert "--explain" in sentence(capsys, "report", runs[0], "--explain", 2, "--out", page)


@pytest.mark.parametrize("stated", [0.123, "high", None])
def test_figures_of_other_scores_are_refused(
    stated: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ = written_sets(tmp_path / "run", made_sets("run"))
    file = run_ / "test-test" / "metrics.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    document["metrics"]["mean_ap"] = stated
    file.write_text(json.dumps(document), encoding="utf-8")
    assert str(file) in sentence(capsys, "report", run_, "--out", tmp_path / "x.html")


def test_the_report_shows_map_and_classes(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    status, _, err = run(capsys, "report", *runs, "--groups", "weak=weak*", "strong=strong*", "--out", page)
    assert (status, err) == (0, "")
    text = page.read_text(encoding="utf-8")
    for title in ("Groups", "Every two runs", "Classes", "Calibration", "Coverage", "Protocol"):
        assert f"<h2>{title}</h2>" in text
    for title in ("Confusion", "Features"):
        assert f"<h2>{title}</h2>" not in text
    test = open_tests(runs[:1])[0]
    m = test.set_metrics
    assert f"<div class=big>{100 * m.mean_ap:.1f} %</div>" in text
    assert "top-1" not in text.partition("<h2>Protocol")[0]
    for c in m.per_class[:3]:
        assert re.search(rf"<td>{c.label}</td><td class=n>{c.videos}</td><td class=n>{c.failed or ''}</td>"
                         rf"<td class=n>{100 * (c.average_precision or 0):.1f}</td>", text)  # fmt: skip
    assert "1 class without a video in the test: never" in text
