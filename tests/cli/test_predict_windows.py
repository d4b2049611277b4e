"""`kinema predict --window` on long videos, sound and damaged."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.timed_videos import damage, slides, write_timed
from evaluation.mixed_data import LABELS, recognizer

from kinema import FailedWindow, Prediction, Recognizer
from kinema.cli import main

RATE, GOP, SECONDS = 10, 20, 40


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recognizer().save(tmp_path_factory.mktemp("recognizers") / "rec")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long films")
    return write_timed(folder / "film.mp4", (np.arange(SECONDS * RATE + 1) / RATE).tolist(), gop=GOP, size=(64, 64))


@pytest.fixture(scope="module")
def damaged(film: Path) -> Path:
    return damage(film, film.with_name("damaged.mp4"), range(200, 240, GOP))  # from 20 s to 24 s


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["predict", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_row_for_every_window_of_a_damaged_film(
    saved: Path, film: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, saved, film, damaged, "--window", "4", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [(row["path"], row["t_start"], row["t_end"]) for row in rows] == [
        (str(path), 4.0 * k, 4.0 * k + 4) for path in (film, damaged) for k in range(10)
    ]
    for sound, row in zip(rows[:10], rows[10:], strict=True):
        assert set(row) == {"path", "label", "score", "top_k", "t_start", "t_end", "error"}
        if row["t_start"] == 20:
            assert (row["label"], row["score"], row["top_k"]) == (None, None, [])
            assert "damaged" in row["error"]
        else:
            assert row == {**sound, "path": str(damaged)}
    lines = err.splitlines()
    assert lines[0].startswith(f"unreadable: {damaged} from 20.00 to 24.00 s: ")
    assert lines[1:] == ["kinema: 1 of 20 windows could not be read"]


def test_csv_has_the_times_of_failed_windows(saved: Path, damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, saved, damaged, damaged.with_name("gone.mp4"), "--window", "4", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 1
    assert [row["t_start"] for row in rows] == [f"{4 * k:.3f}" for k in range(10)] + [""]
    assert [bool(row["error"]) for row in rows] == [k == 5 for k in range(10)] + [True]
    assert (rows[5]["t_end"], rows[5]["label"], rows[5]["score"]) == ("24.000", "", "")
    assert "no such file" in rows[10]["error"]


def test_the_table_names_the_reason_in_the_row(saved: Path, damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, saved, damaged, "--window", "4")
    head, *rows = out.splitlines()
    assert status == 1
    assert len(rows) == 10
    assert head.split() == ["video", "from", "s", "to", "s", "label", "score", "then"]
    for k, row in enumerate(rows):
        assert row.startswith(str(damaged))
        assert row[head.index("from s") :].split()[:2] == [f"{4 * k}.00", f"{4 * k + 4}.00"]
        label = row[head.index("label") : head.index("score")].strip()
        assert label == "unreadable" if k == 5 else label in LABELS
    assert "damaged" in rows[5]


@pytest.mark.parametrize("form", ["--json", "--csv", None])
def test_rows_appear_while_the_video_is_read(
    saved: Path, film: Path, monkeypatch: pytest.MonkeyPatch, form: str | None
) -> None:
    out = io.StringIO()
    printed: list[int] = []
    scores = Recognizer.scores

    def spy(self: Recognizer, *args: Any, **kwargs: Any) -> Any:
        printed.append(out.getvalue().count("\n"))
        return scores(self, *args, **kwargs)

    monkeypatch.setattr(Recognizer, "scores", spy)
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["predict", str(saved), str(film), "--window", "10", *filter(None, [form])]) == 0
    head = 0 if form == "--json" else 1
    assert printed == [head + k for k in range(4)]


def test_windows_of_a_variable_rate(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = write_timed(tmp_path / "slides.mkv", slides(), begin=3.0)
    status, out, _ = run(capsys, saved, film, "--window", "1", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [row["t_start"] for row in rows] == pytest.approx(range(61))
    assert [row["t_end"] for row in rows[:-1]] == pytest.approx(range(1, 61))


def test_a_recognizer_gives_failed_windows_in_their_order(damaged: Path) -> None:
    found = list(recognizer().predict_windows(damaged, window=4.0))
    assert [type(part) for part in found] == [FailedWindow if k == 5 else Prediction for k in range(10)]
    assert (found[5].t_start, found[5].t_end) == (20, 24)
    assert list(recognizer().predict_windows(damaged, window=4.0, first=5)) == found[5:]
