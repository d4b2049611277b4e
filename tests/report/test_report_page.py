from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from evaluation.made_tests import made_test
from evaluation.mixed_data import BAD, mixed_data
from report.made_runs import HEAD, made_run

from kinema.errors import KinemaError
from kinema.evaluation.comparison import compare
from kinema.evaluation.cost import count
from kinema.evaluation.tested import open_tests
from kinema.report import figures, markup, page
from kinema.report.facts import about_curves
from kinema.report.letters import NOTE
from kinema.report.make import make_report
from kinema.report.runs import Run, open_runs

VOID = {"meta", "img", "br", "path", "use", "rect", "input", "link"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_data(tmp_path_factory.mktemp("mixed data"))


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [made_run(folder / "with & without", data), made_run(folder / "<b>bold", data, seed=1)]


@pytest.fixture(scope="module")
def text(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("out") / "report.html"
    make_report(runs, file, with_features=True, workers=0)
    return file.read_text(encoding="utf-8")


class Balance(HTMLParser):
    """Notes every end tag that does not close the last open one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID and tag not in ("p", "li"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID or tag in ("p", "li"):
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def cells(text: str, name: str) -> list[str]:
    """What stands behind a name in a table."""
    found = re.search(rf"<tr[^>]*><td>{re.escape(name)}</td>(.*?)</tr>", text)
    assert found, name
    return re.findall(r"<td[^>]*>(.*?)</td>", found[1])


def test_the_page_needs_nothing_beside_it_and_is_sound(text: str) -> None:
    assert not re.search(r"""(src|href)\s*=\s*['"](?!data:|#)""", text)
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    checker = Balance()
    checker.feed(text)
    assert (checker.faults, checker.open) == ([], [])
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold" in text


def test_every_part_is_there(text: str) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == ["Accuracy", "Comparison", "Accuracy and cost", "Classes", "Confusion", "Calibration",
                        "Training", "Features", "Cost", "Coverage", "Protocol", "Versions"]  # fmt: skip
    # bars, changes, curves, features and logits of two runs, MACs and parameters, reliability of two runs
    assert text.count("<svg") == 1 + 1 + 3 + 2 * 2 + 2 + 2
    assert text.count("<table class=confusion>") == 2


def test_the_figures_are_those_of_the_tests(text: str, runs: list[Path]) -> None:
    first, second = open_tests(runs)
    found = compare(first, second)
    assert cells(text, "top-1, %") == [f"{100 * test.result.correct.mean():.1f}" for test in (first, second)]
    assert cells(text, "videos expected") == ["11", "11"]
    assert cells(text, "failed") == ["5", "5"]
    assert cells(text, "McNemar&#39;s statistic") == [f"{found.mcnemar.statistic:.3f}"]
    assert cells(text, "p, exact binomial") == [f"{found.mcnemar.p_exact:.2g}"]
    assert cells(text, "both wrong") == [str(found.mcnemar.table[1][1])]
    assert cells(text, "neighbours of the same class, %")[0].replace(".", "").isdigit()
    assert cells(text, "epochs") == ["3", "3"]
    assert cells(text, "waiting for data, %") == ["25.0", "25.0"]
    assert cells(text, "time, s") == ["36", "36"]


def test_cost_is_that_of_the_network_as_it_was_tested(text: str) -> None:
    expected = count("tsm_r18", num_classes=3, frames=4, size=32, options={"width": 0.0625})
    assert cells(text, "parameters") == [f"{expected.params / 1e6:.3f} M"] * 2
    assert cells(text, "clip") == ["4 x 32 x 32"] * 2
    assert cells(text, "MACs per video") == [f"{2 * expected.macs / 1e6:.1f} M"] * 2


def test_the_ledger_names_every_unreadable_video(text: str) -> None:
    ledger = text[text.index("<h2>Coverage") : text.index("<h2>Protocol")]
    for name in BAD:
        assert ledger.count(f"<td>{name}</td>") == 2
    assert "bad &lt;one&gt;.mp4" in ledger
    assert cells(text, "training videos") == ["4 expected / 3 read / 1 failed"] * 2


def test_differences_of_the_protocol_are_set_off(text: str) -> None:
    differing = re.findall(r"<tr class=differs><td>(.*?)</td>", text)
    assert set(differing) == {"test recognizer", "training seed"}
    assert cells(text, "training optim lr") == ["0.1", "0.1"]


def test_a_run_that_is_not_finished_says_what_is_missing(data: Path, tmp_path: Path) -> None:
    run = made_run(tmp_path / "begun", data, tested=False, finished=False)
    (shown,) = make_report([run], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [re.sub(".*: ", "", s) for s in shown.missing[1:]] == [f"kinema test {run} --data '{data}'"]
    assert "the training has not finished" in text
    assert "kinema test" in text
    assert [h for h in re.findall(r"<h2>(.*?)</h2>", text) if h in ("Accuracy", "Comparison", "Cost", "Training")] == [
        "Training"
    ]
    with pytest.raises(KinemaError, match="features are drawn of tested videos"):
        make_report([run], tmp_path / "report.html", with_features=True)


def test_a_test_alone_has_no_curves_but_all_else(runs: list[Path], tmp_path: Path) -> None:
    shutil.copytree(runs[0] / "test-test", tmp_path / "elsewhere")
    metrics = (tmp_path / "elsewhere" / "metrics.json").read_text().replace(str(runs[0]), "/gone")
    (tmp_path / "elsewhere" / "metrics.json").write_text(metrics)
    (shown,) = make_report([tmp_path / "elsewhere"], tmp_path / "report.html")
    assert shown.folder is None
    assert "give the run folder" in shown.missing[0]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert cells(text, "network") == ["tsm_r18"]
    assert "<h2>Training" not in text
    (tmp_path / "elsewhere" / "metrics.json").unlink()
    (shown,) = make_report([tmp_path / "elsewhere" / "scores.parquet"], tmp_path / "report.html")
    assert "no protocol" in shown.missing[1]


def test_a_test_elsewhere_finds_its_run(runs: list[Path], tmp_path: Path) -> None:
    shutil.copytree(runs[0] / "test-test", tmp_path / "elsewhere")
    (run,) = open_runs([tmp_path / "elsewhere"])
    assert run.folder == runs[0]
    assert len(run.history) == 3
    assert run.missing == ()


def test_runs_that_cannot_be_compared_stand_beside_each_other(runs: list[Path], data: Path, tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", mixed_data(tmp_path / "more data"))
    relabelled = data.parent.parent / "relabelled"
    shutil.copytree(data.parent, relabelled, dirs_exist_ok=True)
    table = (relabelled / "videos.csv").read_text(encoding="utf-8").replace("tiny.mp4,sit", "tiny.mp4,jump")
    (relabelled / "videos.csv").write_text(table, encoding="utf-8")
    third = made_run(tmp_path / "third", relabelled / "videos.csv")
    make_report([runs[0], other, third], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Not compared: tiny.mp4: is &#39;sit&#39;" in text
    assert cells(text, "videos compared") == ["11"]
    remark = text.index("paired by their paths")
    assert text.index("<h2>Comparison") < remark < text.index("videos compared")  # before the figures
    assert text.index("<h2>Comparison") < text.index("Not compared: tiny") < text.index("videos compared")
    assert text.count("<p class=caution>") == 2 + 2  # and the two pairs that the grid of all pairs leaves out


def test_bad_input_is_one_sentence(runs: list[Path], tmp_path: Path, data: Path) -> None:
    whole = json.loads((runs[0] / "recognizer" / "card.json").read_text(encoding="utf-8"))

    def card(**changes: object) -> str:
        return json.dumps({**whole, **changes})

    (tmp_path / "empty").mkdir()
    for places, sentence in (
        ([tmp_path / "nowhere"], "no such run or test"),
        ([tmp_path / "empty"], "neither a run nor a test"),
        ([runs[0], runs[0]], "given twice"),
    ):
        with pytest.raises(KinemaError, match=sentence):
            make_report(places, tmp_path / "report.html")
    with pytest.raises(KinemaError, match="is a folder; give the name of an HTML file"):
        make_report(runs, tmp_path)
    for file, content, sentence in (
        ("config.yaml", "a: [", "not YAML"),
        ("config.yaml", "- 1", "has no fields"),
        ("config.yaml", "a: \xff", "config.yaml: not UTF-8 .byte 3.; restore it"),
        ("config.yaml", "a: 2020-13-45", "not YAML"),
        ("metrics.csv", "epoch,step\n1,x\n", "not a table of training curves"),
        ("metrics.csv", "epoch\xff", "not a table of training curves"),
        ("metrics.csv", f"{HEAD}\ninf,1,1,1,1,1,1,1,1\n", "not a table of training curves"),
        ("metrics.csv", f"{HEAD}\n,1,1,1,1,1,1,1,1\n", "not a table of training curves"),
        ("metrics.csv", f"{HEAD}\n1,1,1,1,1,1,1,1,1,1\n", "not a table of training curves"),
        ("recognizer/card.json", "{", "not a readable card"),
        ("recognizer/card.json", card(clip=3), "card.json: 'clip' must be an object"),
        ("recognizer/card.json", card(training=3), "card.json: the value of 'training'"),
        ("recognizer/card.json", card(training={"coverage": {"read": 3}}), "'training.coverage.expected'"),
        ("recognizer/card.json", card(architecture={"options": {}}), "'architecture' must contain the network's name"),
        ("recognizer/card.json", card(format=3), "'format' is 3"),
        ("training-ledger.csv", "video,reason\na,b\n", "training-ledger.csv: not a training ledger .* restore"),
        ("training-ledger.csv", "path,error\na\n", "not a training ledger"),
        ("training-ledger.csv", "", "not a training ledger"),
        ("training-ledger.csv", "path,error\n\xff,x\n", "not a training ledger"),
        ("test-test/metrics.json", '{"test": 3}', "metrics.json: 'test' is not what kinema test writes there; test"),
    ):
        run = tmp_path / "damaged"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(runs[0], run)
        (run / file).write_text(content, encoding="latin-1")
        with pytest.raises(KinemaError, match=sentence) as caught:
            open_runs([run])
        assert str(caught.value).startswith(f"{run / file}: ")
        assert "\n" not in str(caught.value)


def test_many_classes_are_cut_and_it_is_said(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "BARS", 2)
    make_report(runs, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "the 2 lowest of 3 classes of with &amp; without" in text


def test_the_same_page_every_time(runs: list[Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_report(runs, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_curves_without_validation_or_rows() -> None:
    rows = [{"epoch": 1, "lr": 0.1, "train_loss": 1.0, "train_top1": 0.5, "val_top1": None}]
    colours = {"a": "#000000", "b": "#ffffff"}
    drawn = figures.top1_curves({"a": rows, "b": []}, colours)
    assert "dashed" not in drawn
    assert drawn.startswith("<svg")
    assert "dashed" in figures.top1_curves({"a": [{**rows[0], "val_top1": 0.2}], "b": []}, colours)


def test_what_curves_of_unlike_trainings_need_is_said(data: Path, tmp_path: Path) -> None:
    folders = [made_run(tmp_path / name, data, tested=False) for name in ("plain", "mixed", "grid")]
    more = [{"val_split": "val"}, {"mixup": 0.2, "twins": {"weight": 0.1}}, {"multigrid": {"cycles": "long"}}]
    for folder, fields in zip(folders, more, strict=True):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump(config | fields))
    said = " ".join(about_curves(open_runs(folders)))
    assert "of the split val; nothing is chosen" in said
    assert "mixed with mixup, Twins; grid with multigrid." in said
    assert "With mixup a training clip" in said
    assert "up to 8 times" in said
    assert about_curves(open_runs([made_run(tmp_path / "alone", data, tested=False)])) == []


def test_figures_are_never_broken_and_tiles_say_what_was_tested(text: str, data: Path) -> None:
    assert "td.n{white-space:nowrap}" in text
    assert text.count(f"<div>{data.stem} test, 2x1 views</div>") == 2
    assert markup.by_run(["a"], {"x": ["1.5"], "y": ["long " * 9]}).count("class='n text'") == 1


def test_labels_of_any_script_are_drawn_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    labels = ("步行", "手を振る", "wave")
    first = made_test("跑 1", labels * 2, [*labels, *labels[::-1]], labels=labels)
    second = made_test("跑 2", labels * 2, [*labels, *labels], labels=labels)
    runs = [Run(test.name, None, {}, [], {}, test, (), ()) for test in (first, second)]
    text = page.render(runs, [compare(first, second)], [])
    assert text.count(">步行</text>") == 2  # recall, and its change
    assert text.count(">跑 1</text>") == 2  # the legend, and its reliability diagram
    assert text.count(NOTE) == 1
    assert not recwarn.list
    plain = made_test("run", ["a", "b"], ["a", "a"])
    assert NOTE not in page.render([Run("run", None, {}, [], {}, plain, (), ())], [], [])
