from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation.mixed_data import VIDEOS, mixed_data, recognizer

from kinema.data.manifest import read_manifest
from kinema.errors import KinemaError
from kinema.evaluation import TestResult, evaluate, write_results
from kinema.evaluation.results import Test
from kinema.evaluation.tested import distinct_names, find_scores, how_to_test, open_tests


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> TestResult:
    data = mixed_data(tmp_path_factory.mktemp("mixed data"))
    return evaluate(recognizer(), read_manifest(data, check=False).split("test"), workers=0)


def write(folder: Path, result: TestResult) -> Path:
    write_results(folder, result, recognizer(), Test("rec", "data/videos.csv", "test", "1x1"))
    return folder


def test_a_test_is_found_from_the_run_its_folder_or_its_file(result: TestResult, tmp_path: Path) -> None:
    folder = write(tmp_path / "run" / "test-val", result)
    for place in (tmp_path / "run", folder, folder / "scores.parquet"):
        assert find_scores(place) == folder / "scores.parquet"
    (test,) = open_tests([str(tmp_path / "run")])
    assert test.name == "run"
    assert test.result.paths == tuple(VIDEOS)
    assert test.document["test"]["views"] == "1x1"
    assert str(test.coverage) == "11 expected / 6 read / 5 failed"
    (folder / "metrics.json").unlink()
    assert open_tests([folder])[0].document == {}


def test_of_several_tests_the_usual_one_or_none(result: TestResult, tmp_path: Path) -> None:
    write(tmp_path / "test-val", result)
    write(tmp_path / "test-speed", result)
    with pytest.raises(KinemaError, match=r"holds 2 tests; name one of them: .*test-speed, .*test-val"):
        find_scores(tmp_path)
    usual = write(tmp_path / "test-test", result)
    assert find_scores(tmp_path) == usual / "scores.parquet"


def test_what_is_missing_is_said_with_its_mend(tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match="there is no such run or test"):
        find_scores(tmp_path / "nothing")
    with pytest.raises(KinemaError, match=r"make one: kinema test .* --data D"):
        find_scores(tmp_path)
    (tmp_path / "config.yaml").write_text("data: my videos\nmodel: x\n")
    assert how_to_test(tmp_path) == f"kinema test {tmp_path} --data 'my videos'"
    (tmp_path / "scores.parquet").write_text("no parquet")
    with pytest.raises(KinemaError, match="not the scores of a test"):
        open_tests([tmp_path])


def test_damaged_metrics_are_named(result: TestResult, tmp_path: Path) -> None:
    folder = write(tmp_path, result)
    for text in ("{", json.dumps([1])):
        (folder / "metrics.json").write_text(text)
        with pytest.raises(KinemaError, match=r"metrics\.json"):
            open_tests([folder])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("test", 3),
        ("test.views", None),
        ("views", []),
        ("views.clips", "2"),
        ("protocol", "x"),
        ("protocol.clip", None),
        ("protocol.clip.crop", [32]),
        ("architecture", None),
        ("architecture.options", []),
        ("versions", 1),
        ("metrics", 0.5),
        ("metrics.coverage.read", None),
    ],
)
def test_metrics_of_another_form_are_named_with_the_key(
    result: TestResult, tmp_path: Path, key: str, value: object
) -> None:
    file = write(tmp_path, result) / "metrics.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    *outer, last = key.split(".")
    inner = whole
    for name in outer:
        inner = inner[name]
    inner[last] = value
    file.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(KinemaError) as caught:
        open_tests([tmp_path])
    assert str(caught.value) == f"{file}: {key!r} is not what kinema test writes there; test again"
    if outer:
        del inner[last]
        file.write_text(json.dumps(whole), encoding="utf-8")
        with pytest.raises(KinemaError, match=f"{key!r} is not what"):
            open_tests([tmp_path])


def test_metrics_of_older_tests_may_hold_less(result: TestResult, tmp_path: Path) -> None:
    file = write(tmp_path, result) / "metrics.json"
    file.write_text("{}")
    assert open_tests([tmp_path])[0].document == {}
    file.write_bytes(b'{"test": "\xff"}')
    with pytest.raises(KinemaError, match=r"metrics\.json: not readable JSON .*; test again"):
        open_tests([tmp_path])


def test_names_are_as_short_as_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert distinct_names(["runs/a", "runs/b"]) == ["a", "b"]
    assert distinct_names(["a/test-test", "b/test-test/scores.parquet"]) == ["a/test-test", "b/test-test"]
    assert distinct_names(["x/a", "y/a", "z"]) == ["x/a", "y/a", "z"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert distinct_names([".", "../other"]) == ["here", "other"]
