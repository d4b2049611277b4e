from __future__ import annotations

import base64
import io
import re
from dataclasses import asdict, replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from evaluation.mixed_data import BAD, mixed_data
from PIL import Image
from report.made_runs import made_run

from kinema.cli import main
from kinema.errors import KinemaError
from kinema.evaluation.tested import open_test
from kinema.explain.verdicts import VERDICTS, Verdict, fingerprint
from kinema.recognizer import Recognizer
from kinema.report.explained import class_frames, explained, method_for, most_confident
from kinema.report.make import make_report
from kinema.report.seen import faithfulness_table


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_data(tmp_path_factory.mktemp("mixed data"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("runs") / "a & b", data)


def test_the_most_confident_mistakes_and_hits_by_hand(run: Path) -> None:
    plain = open_test(run, "run").result
    truth = ("a", "a", "b", "a", "b", "a")
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.95, 0.05], [0.3, 0.7], [np.nan, np.nan]], np.float32)
    errors = (None, None, None, None, None, "damaged")
    result = replace(plain, labels=("a", "b"), truth=truth, scores=scores, errors=errors)
    assert most_confident(result, 9) == ([1, 2], [3, 4, 0])  # of hits the best of each class first
    assert most_confident(result, 1) == ([1], [3])


def test_the_page_shows_pictures_of_the_videos_that_can_be_read(run: Path, data: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []

    class Bar:
        def __init__(self, title: str) -> None:
            assert title == "explaining a & b"

        def __enter__(self):
            return lambda *at: steps.append(at)

        def __exit__(self, *_: object) -> None: ...

    make_report([run], tmp_path / "page.html", explain=2, progress=Bar)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    result = open_test(run, "run").result
    mistakes, hits = most_confident(result, 2)
    assert mistakes and steps[-1] == (len(mistakes) + len(hits),) * 2
    strips = re.findall(r"<div class=strip><code>(.*?)</code>(.*?)<img.*?src='data:image/jpeg;base64,(.*?)'", text)
    assert [unescape(video) for video, _, _ in strips] == [result.paths[i] for i in [*mistakes, *hits]]
    for (_, said, picture), i in zip(strips, [*mistakes, *hits], strict=True):
        assert f"predicted: {result.predictions[i]}" in said
        assert (f"true: {result.truth[i]}" in said) == (i in mistakes)
        image = Image.open(io.BytesIO(base64.b64decode(picture)))
        assert image.size[0] > 400 and np.asarray(image).std() > 5
    tall = [Image.open(io.BytesIO(base64.b64decode(p))).size[1] for _, _, p in strips]
    assert all(tall[k] > 1.5 * tall[-1] for k in range(len(mistakes))) or not hits  # what it said, and what is right
    frames = re.findall(r"<figure><img alt='(.*?)'.*?<figcaption>.*?(\d+) %", text)
    recalls = {c.label: c.recall for c in result.metrics.per_class if c.recall is not None}
    assert {label: int(share) for label, share in frames} == {k: round(100 * v) for k, v in recalls.items()}
    assert "no method was checked" in text
    make_report([run], tmp_path / "plain.html")
    plain = (tmp_path / "plain.html").read_text(encoding="utf-8")
    assert "Mistakes and hits" not in plain and "data:image/jpeg" not in plain


def test_a_video_that_is_gone_costs_its_own_strip(run: Path, data: Path, tmp_path: Path) -> None:
    result = open_test(run, "run").result
    recognizer = Recognizer.load(run)
    found = explained("run", recognizer, result, tmp_path, 2)  # nothing lies there
    strips = [*found.mistakes, *found.hits]
    assert strips and all(strip.picture is None and strip.error for strip in strips)
    assert class_frames([result], [tmp_path], result.labels) == {}
    both = class_frames([result, result], [tmp_path, result.root], result.labels)
    assert set(both) == {t for t, error in zip(result.truth, result.errors, strict=True) if error is None}


def test_the_method_is_one_that_passed_and_the_table_says_what_was_measured(run: Path) -> None:
    recognizer = Recognizer.load(run)
    assert method_for(recognizer) == "cam"
    network = fingerprint(recognizer.model)
    passed = Verdict("gradcam", "layer4", (), 0.31, 0.02, 0.11, 0.1, 0.2, 9, "mixed", network)
    failed = Verdict(
        "tube", "layer4", ("hardly depends on the weights",), 0.1, -0.02, 0.1, 0.9, 0.9, 9, "mixed", network
    )
    other = replace(passed, method="cam", network="0" * 16)  # of a network that was trained further
    recognizer.card = {VERDICTS: {v.method: asdict(v) for v in (passed, failed, other)}}
    assert method_for(recognizer) == "gradcam"
    result = open_test(run, "run").result
    found = explained("a <run>", recognizer, result, result.root, 0)
    assert [v.method for v in found.verdicts] == ["gradcam", "tube"] and not found.hits
    drawn = faithfulness_table([found])
    assert "a &lt;run&gt;" in drawn and "+0.110" in drawn and "hardly depends on the weights" in drawn
    recognizer.card = {VERDICTS: ["damaged"]}
    assert explained("run", recognizer, result, result.root, 0).verdicts == ()


def test_on_the_command_line(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(run), "--explain", "1", "--data", str(data), "--out", str(page)]) == 0
    assert "<div class=strip>" in page.read_text(encoding="utf-8")
    assert main(["report", str(run), "--explain", "-1", "--out", str(page)]) == 2
    assert "--explain -1" in capsys.readouterr().err
    assert main(["report", str(run), "--explain", "1", "--data", str(tmp_path / "gone"), "--out", str(page)]) == 2
    assert "gone" in capsys.readouterr().err
    assert main(["report", str(run), "--data", str(data), "--out", str(page)]) == 2
    assert "--data" in capsys.readouterr().err


def test_a_run_without_a_test_is_named(data: Path, tmp_path: Path) -> None:
    run = made_run(tmp_path / "untested", data, tested=False)
    with pytest.raises(KinemaError, match=r"untested: mistakes and hits are of tested videos"):
        make_report([run], tmp_path / "page.html", explain=1)


def test_bad_videos_of_the_test_are_never_chosen(run: Path) -> None:
    result = open_test(run, "run").result
    chosen = [result.paths[i] for part in most_confident(result, 99) for i in part]
    assert len(chosen) == sum(error is None for error in result.errors) < len(result.paths)
    assert not {Path(path).name for path in chosen} & set(BAD)
