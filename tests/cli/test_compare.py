"""`kinema compare` and `kinema report` as a person types them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from command import run, sentence
from evaluation.mixed_data import mixed_data
from report.made_runs import made_run

from kinema.evaluation.comparison import compare
from kinema.evaluation.tested import open_tests


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    data = mixed_data(tmp_path_factory.mktemp("mixed data"))
    folder = tmp_path_factory.mktemp("runs")
    return [made_run(folder / name, data, seed=seed) for seed, name in enumerate(("base", "new"))]


def test_compare_prints_all_of_it(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "compare", *runs)
    found = compare(*open_tests(runs))
    assert (status, err) == (0, "")
    assert out.startswith("new against base, 11 videos that both were tested on")
    assert f"{100 * found.difference.difference:+.1f} points, 95 % interval" in out
    assert f"statistic {found.mcnemar.statistic:.3f} with Edwards' correction, p = {found.mcnemar.p:.2g}" in out
    assert f"exact binomial p = {found.mcnemar.p_exact:.2g}" in out
    assert out.count("11 expected / 6 read / 5 failed") == 4
    (both, only_b), (only_a, neither) = found.mcnemar.table
    table = {tuple(line.split()[:2]): line.split()[2:] for line in out.splitlines() if line.startswith(" new ")}
    assert table["new", "right"] == [str(both), str(only_b)]
    assert table["new", "wrong"] == [str(only_a), str(neither)]
    for c in found.per_class:
        assert (c.label in out) == (c.first != c.second or any(c.label in p.labels for p in found.pairs))
    for pair in found.pairs:
        assert " / ".join(pair.labels) in out


def test_compare_writes_json_and_the_disagreements(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cmp"
    status, printed, _ = run(capsys, "compare", *runs, "--json", "--out", out)
    assert status == 0
    assert json.loads(printed) == json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    found = compare(*open_tests(runs))
    with (out / "disagreements.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (_, only_b), (only_a, _) = found.mcnemar.table
    assert sum(row["new"] == row["label"] for row in rows) == only_b
    assert sum(row["base"] == row["label"] for row in rows) == only_a
    assert len(rows) == only_a + only_b > 0
    assert run(capsys, "compare", *runs, "--out", out)[0] == 0  # the same again may replace it
    assert "holds another comparison" in sentence(capsys, "compare", *runs[::-1], "--out", out)
    assert "is a file" in sentence(capsys, "compare", *runs, "--out", out / "comparison.json")
    (out / "other" / "comparison.json").mkdir(parents=True)
    assert "holds another comparison" in sentence(capsys, "compare", *runs, "--out", out / "other")


def test_compare_refuses_in_one_sentence(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "compared with itself" in sentence(capsys, "compare", runs[0], runs[0])
    assert "there is no such run or test" in sentence(capsys, "compare", runs[0], tmp_path / "x")
    assert "make one: kinema test" in sentence(capsys, "compare", runs[0], tmp_path)
    assert "--top 0: give at least 1" in sentence(capsys, "compare", *runs, "--top", 0)
    assert "RUN_B must be given" in sentence(capsys, "compare", runs[0])


def test_report_writes_the_page_and_says_what_is_missing(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "new folder" / "page.html"
    status, out, err = run(capsys, "report", *runs, "--out", page)
    assert (status, err) == (0, "")
    assert out == f"{page}: base, new\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("data: d\n")
    status, out, _ = run(capsys, "report", tmp_path / "begun", "--out", page)
    assert status == 0
    assert len([line for line in out.splitlines() if line.startswith("missing: begun: ")]) == 3


def test_report_refuses_in_one_sentence(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "neither a run nor a test" in sentence(capsys, "report", tmp_path)
    assert "--data applies to --features" in sentence(capsys, "report", runs[0], "--data", "x")
    assert "--workers -2" in sentence(capsys, "report", runs[0], "--workers", -2)
    page = tmp_path / "page.html"
    words = ("report", runs[0], "--features", "--workers", 0, "--out", page)
    assert "no folder or CSV" in sentence(capsys, *words, "--data", tmp_path / "x")
    assert not page.exists()


@pytest.fixture(scope="module")
def three(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    data = Path(json.loads((runs[0] / "test-test" / "metrics.json").read_text(encoding="utf-8"))["test"]["data"])
    return [*runs, made_run(tmp_path_factory.mktemp("more") / "base2", data, seed=2)]


def test_compare_of_three_runs_is_a_grid_and_groups(
    three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "compare", *three)
    assert (status, err) == (0, "")
    assert out.startswith("3 tests, compared in pairs")
    assert re.search(r"tsm_r18 +3 ", out.split("Groups")[1])  # they differ in the seed alone
    status, out, _ = run(capsys, "compare", *three, "--groups", "old=base*", "fresh=new")
    assert status == 0
    assert "Groups: means over runs" in out
    assert "fresh - old" in out
    folder = tmp_path / "cmp"
    status, out, _ = run(capsys, "compare", *three, "--json", "--out", folder, "--pairs", "sit/jump")
    assert status == 0
    told = json.loads(out)
    assert told == json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert [(c["first"], c["second"]) for c in told["grid"]["cells"]] == [
        ("base", "new"), ("base", "base2"), ("new", "base2"),
    ]  # fmt: skip
    assert [(p["second"], p["labels"]) for p in told["pairs"]] == [("new", ["sit", "jump"]), ("base2", ["sit", "jump"])]
    assert "holds another comparison" in sentence(capsys, "compare", *three[:2], "--out", folder)
    assert "named twice" in sentence(capsys, "compare", *three, three[0])
    assert "--groups x=y: matches no run" in sentence(capsys, "compare", *three, "--groups", "a=*", "x=y")


def test_compare_looks_at_pairs_of_classes(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "compare", *runs, "--pairs", "sit/run, fast", "jump/sit")
    assert status == 0
    assert "sit / run, fast" in out.split("Pairs of classes")[1]
    told = json.loads(run(capsys, "compare", *runs, "--json", "--pairs", "jump/sit")[1])
    (pair,) = told["named_pairs"]
    assert pair["videos"] == 7
    assert "did you mean 'jump'" in sentence(capsys, "compare", *runs, "--pairs", "jmp/sit")
    assert "--pairs sit: give two labels" in sentence(capsys, "compare", *runs, "--pairs", "sit")


def test_report_of_three_runs_groups_them(
    three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert run(capsys, "report", *three, "--out", page, "--groups", "old=base*", "fresh=new")[0] == 0
    text = page.read_text(encoding="utf-8")
    assert "<h2>Groups</h2>" in text
    assert "<h2>Every two runs</h2>" in text
    assert "--groups nonsense" in sentence(capsys, "report", *three, "--out", page, "--groups", "nonsense")
