"""One test, one result: what `evaluate` returns, what the files hold, and what is read back."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from evaluation.mixed_data import mixed_data, picture_sequence, recognizer
from tiny import write_video

from kinema.data.manifest import read_manifest
from kinema.errors import KinemaError
from kinema.evaluation import TestResult, evaluate, read_scores, write_results
from kinema.evaluation.results import Test
from kinema.evaluation.tested import open_test
from kinema.evaluation.views import ViewProof, summarise
from kinema.report.make import make_report

# Files of version 0.1.0, from before what a test returned and what its files held were one class.
WRITTEN = Path(__file__).parent / "written"
LABELS = ("sit, down", "größe", 'a "b"')
PROOFS = (
    ViewProof(2, 2, 2, 1, False),
    ViewProof(2, 1, 1, 1, True),
    ViewProof(2, 2, 2, 1, False),
    None,
    ViewProof(2, 2, 2, 1, False),
)
NAN = float("nan")
RESULT = TestResult(
    labels=LABELS,
    root="/data",
    paths=("clips/a b.mp4", "clips/ü.mp4", "/elsewhere/c,d.mp4", "gone.mp4", "tie.mp4"),
    spans=((None, None), (0.5, 2.25), (None, 3.0), (None, None), (1.0, None)),
    truth=("sit, down", "größe", "größe", 'a "b"', "größe"),
    scores=np.array(
        [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.625, 0.25, 0.125], [NAN, NAN, NAN], [0.375, 0.375, 0.25]],
        dtype=np.float32,
    ),
    errors=(None, None, None, "there is no such file", None),
    sizes=(1000, 23456, 7, None, 0),
    distinct_views=(2, 1, 2, None, 2),
    views=summarise([proof for proof in PROOFS if proof is not None], 2, 1),
    absent=("7", "ä,b"),
    train_majority="größe",
)
TEST = Test("hf-hub:kinema/example", "/data/videos.csv", "test", "2x1")


def same(one: TestResult, other: TestResult, *, but: tuple[str, ...] = ()) -> None:
    for field in fields(TestResult):
        if field.name == "scores":
            np.testing.assert_array_equal(one.scores, other.scores)
        elif field.name not in but:
            assert getattr(one, field.name) == getattr(other, field.name), field.name


def test_files_of_the_first_version_are_read_as_the_result_that_they_were_written_from() -> None:
    same(read_scores(WRITTEN), RESULT, but=("views", "absent", "train_majority"))
    test = open_test(WRITTEN, "old")
    same(test.result, RESULT, but=("absent",))
    assert test.metrics == RESULT.metrics
    stated = json.loads(json.dumps(test.document["metrics"]), object_hook=_pairs)
    assert _lasting(test.metrics.to_dict()) == _lasting(stated)
    assert test.metrics.top1_interval == pytest.approx((0.117621, 0.769276), abs=1e-6)  # Wilson's, of 2 of 5
    assert stated["top1_interval"] == (0.0, 0.8)  # of a bootstrap


def _lasting(metrics: dict[str, object]) -> dict[str, object]:
    """The figures that mean the same as in the first version: its interval of top-1 was a bootstrap."""
    return {key: value for key, value in metrics.items() if key not in ("top1_interval", "bootstrap", "interval")}


def _pairs(values: dict[str, object]) -> dict[str, object]:
    """JSON has lists where the figures are tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def test_the_files_are_written_as_in_the_first_version(tmp_path: Path) -> None:
    write_results(tmp_path, RESULT, recognizer(LABELS), TEST)
    assert (tmp_path / "ledger.csv").read_bytes() == (WRITTEN / "ledger.csv").read_bytes()
    new, old = (pq.read_table(folder / "scores.parquet") for folder in (tmp_path, WRITTEN))
    assert new.schema.equals(old.schema, check_metadata=True)  # labels, root and a digest of all values
    assert new.equals(old)
    values = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    before = json.loads((WRITTEN / "metrics.json").read_text("utf-8"))
    for key in ("clip", "sampler", "crop"):  # what belongs to the recognizer, whose fields may grow
        values["protocol"][key] = before["protocol"][key]
    for document in (values, before):
        document["metrics"] = _lasting(document["metrics"])
        del document["protocol"]["randomness"]  # was the bootstrap's, now there is none
    values |= {key: before[key] for key in ("architecture", "versions")}
    assert json.dumps(values, ensure_ascii=False) == json.dumps(before, ensure_ascii=False)


def test_what_evaluate_returns_is_what_is_read_back(tmp_path: Path) -> None:
    manifest = read_manifest(mixed_data(tmp_path / "mixed data"), check=False)
    trained = [sample.label for sample in manifest.split("train").samples]
    for views in ((1, 1), (2, 3)):
        found = evaluate(recognizer(), manifest.split("test"), views=views, workers=0, train_labels=trained)
        out = tmp_path / f"views {views}"
        write_results(out, found, recognizer(), replace(TEST, views=f"{views[0]}x{views[1]}"))
        test = open_test(out, "test")
        same(test.result, found)
        assert test.metrics == found.metrics
        assert test.result.train_majority == "sit"


def test_a_result_that_was_read_can_be_written_again(tmp_path: Path) -> None:
    read = open_test(WRITTEN, "old").result
    write_results(tmp_path, replace(read, absent=RESULT.absent), recognizer(LABELS), TEST)
    same(open_test(tmp_path, "again").result, read)
    with pytest.raises(KinemaError, match="without its views"):
        write_results(tmp_path, read_scores(WRITTEN), recognizer(LABELS), TEST)


def changed(folder: Path, change: dict[str, object]) -> Path:
    """A copy of `WRITTEN` with other entries in `metrics.json`."""
    folder.mkdir()
    for name in ("scores.parquet", "ledger.csv"):
        (folder / name).write_bytes((WRITTEN / name).read_bytes())
    values = json.loads((WRITTEN / "metrics.json").read_text("utf-8"))
    for key, value in change.items():
        if value is None:
            del values["metrics"][key]
        else:
            values["metrics"][key] = value
    (folder / "metrics.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_the_report_shows_the_figures_of_metrics_json(tmp_path: Path) -> None:
    folder = changed(tmp_path / "test", {"mean_class": 0.321})
    make_report([folder], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "11.8 to 76.9" in page
    assert ">32.1<" in page
    (folder / "metrics.json").unlink()
    make_report([folder], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert ">44.4<" in page  # computed from the scores


@pytest.mark.parametrize("missing", ["mean_class", "per_class", "train_majority", "top1_interval"])
def test_files_that_hold_fewer_figures_are_completed_from_the_scores(missing: str, tmp_path: Path) -> None:
    test = open_test(changed(tmp_path / "test", {missing: None}), "older")
    assert replace(test.metrics, train_majority=RESULT.metrics.train_majority) == RESULT.metrics
    assert test.metrics.coverage.absent == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("top1", 1.0),
        ("coverage", {"expected": 50, "read": 49, "failed": 1, "absent": 2}),
        ("per_class", []),
    ],
)
def test_figures_of_other_scores_are_refused(key: str, value: object, tmp_path: Path) -> None:
    folder = changed(tmp_path / "test", {key: value})
    with pytest.raises(KinemaError, match=r"metrics\.json: its figures are not those of the scores\.parquet beside it"):
        open_test(folder, "mixed")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("top1", "0.4"),
        ("top1_interval", [0.1]),
        ("top1_interval", [0.1, "0.2"]),
        ("majority", {"label": "größe"}),
        ("train_majority", "größe"),
        ("train_majority", {"label": "größe", "share": None}),
        ("per_class", [{"label": "größe"}]),
        ("per_class", [3]),
        ("coverage", {"expected": 5, "read": 4, "failed": 1, "absent": "2"}),
    ],
)
def test_figures_of_another_form_are_named(key: str, value: object, tmp_path: Path) -> None:
    folder = changed(tmp_path / "test", {key: value})
    with pytest.raises(KinemaError, match=rf"metrics\.json: 'metrics\.{key}.* is not what kinema test writes there"):
        open_test(folder, "changed")


def test_labels_that_are_not_utf8_are_the_same_in_both_files(tmp_path: Path) -> None:
    label = os.fsdecode(b"caf\xe9")
    folder = tmp_path / "data" / label
    try:
        folder.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    write_video(folder / "a.mp4", picture_sequence(0, 6))
    net = recognizer((label, "sit"))
    write_results(tmp_path / "out", evaluate(net, read_manifest(tmp_path / "data"), workers=0), net, TEST)
    test = open_test(tmp_path / "out", "odd")
    assert [c.label for c in test.metrics.per_class] == list(test.result.labels) == ["caf\\udce9", "sit"]
    make_report([tmp_path / "out"], tmp_path / "page.html")
    assert "caf\\udce9" in (tmp_path / "page.html").read_text("utf-8")
