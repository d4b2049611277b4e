"""Thresholds that are set on labelled films, stored in the card, and taken from there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import moving_square, write_video

from kinema.card import CARD
from kinema.cli import main
from kinema.data.manifest import read_manifest
from kinema.errors import KinemaError
from kinema.evaluation.segments import TrueSegment
from kinema.models import create_model
from kinema.recognizer import Recognizer
from kinema.streaming import SegmentSettings, calibrate, labelled_films, measure_films, timeline
from kinema.streaming.calibration import WatchedFilm, calibration_split
from kinema.streaming.segments import SegmentRule
from kinema.streaming.timelines import stored_settings
from kinema.streaming.tracks import Sight, Track

LABELS = ("wave", "jump", "nothing")
SIGHT = Sight("step", 10.0)


def watched(seed: int, *, high: float = 0.55) -> WatchedFilm:
    """A minute in which actions of 3 s score `high`, and flashes of 0.7 s between them score more."""
    rng = np.random.default_rng(seed)
    scores = np.full((600, 3), 0.05)
    truth = []
    for number, start in enumerate(range(5, 55, 10)):
        label = number % 2
        begin = start + float(rng.integers(0, 20)) / 10
        truth.append(TrueSegment(LABELS[label], begin, begin + 3))
        scores[round(begin * 10) : round(begin * 10) + 30, label] = high
        flash = round((begin + 5) * 10)
        scores[flash : flash + 7, 1 - label] = high + 0.2
    scores[:, 2] = 1 - scores[:, :2].sum(1)
    times = np.arange(600) / 10
    return WatchedFilm(f"{seed}.mp4", tuple(truth), Track(times, times + 0.1, times, scores, 60.0))


def test_the_rule_separates_actions_from_flashes_on_other_films() -> None:
    """The thresholds are set on films whose scores are low, and hold on others of the same kind."""
    found = calibrate([watched(0), watched(1)], LABELS, SIGHT, background=["nothing"], source="films", split="val")
    assert found.set_on["f1"] == 1
    assert found.set_on["films"] == 2
    others = [watched(seed) for seed in range(2, 6)]
    assert measure_films(others, LABELS, found).f1 == 1
    assert measure_films(others, LABELS, SegmentSettings(SegmentRule(), ("nothing",), SIGHT)).f1 < 1
    low = calibrate([watched(0, high=0.25)], LABELS, SIGHT, background=["nothing"])
    assert low.rule.threshold <= 0.25 < found.rule.threshold + 0.2
    assert measure_films([watched(9, high=0.25)], LABELS, low).f1 == 1


def test_the_figures_of_the_calibration_are_those_of_the_measure() -> None:
    """The grid is searched with scores that are smoothed before; the result is that of the usual way."""
    films = []
    for seed in range(3):
        film = watched(seed)
        assert film.track is not None
        noise = np.random.default_rng(seed).uniform(0, 1.5, film.track.scores.shape)
        scores = film.track.scores + noise
        track = Track(film.track.starts, film.track.ends, film.track.known, scores / scores.sum(1, keepdims=True), 60.0)
        films.append(WatchedFilm(film.path, (*film.truth, TrueSegment("wave", 57, 60)), track))  # one that nobody sees
    found = calibrate(films, LABELS, SIGHT, background=["nothing"])
    result = measure_films(films, LABELS, found)
    assert 0 < found.set_on["f1"] < 1
    assert result.f1 == pytest.approx(found.set_on["f1"], abs=1e-4)
    assert result.map[0.5].value == pytest.approx(found.set_on["map"], abs=1e-4)


def test_the_lag_of_scores_that_come_late_is_found_and_holds_on_other_films() -> None:
    def late(seed: int) -> WatchedFilm:
        film = watched(seed)
        assert film.track is not None
        times = film.track.starts + 2
        return replace(film, track=replace(film.track, starts=times, ends=times + 0.1, known=times, duration=62.0))

    found = calibrate([late(0), late(1)], LABELS, SIGHT, background=["nothing"])
    assert 1 < found.rule.lag < 3
    others = [late(seed) for seed in range(2, 6)]
    assert measure_films(others, LABELS, found).f1 == 1
    still = replace(found, rule=replace(found.rule, lag=0.0))
    assert measure_films(others, LABELS, still).f1 < 0.5


def test_unreadable_films_set_nothing_and_count_in_the_measure() -> None:
    broken = WatchedFilm("b.mp4", (TrueSegment("wave", 0, 3),), None, "it is empty")
    found = calibrate([watched(0), broken], LABELS, SIGHT)
    assert found.set_on["films"] == 1
    assert measure_films([watched(0), broken], LABELS, found).to_dict()["coverage"]["failed"] == 1
    with pytest.raises(KinemaError, match=r"video.*action"):
        calibrate([broken], LABELS, SIGHT)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of squares that go right, then left, with a list."""
    folder = tmp_path_factory.mktemp("films")
    lines = ["path,label,split,start,end"]
    for split, count in (("val", 2), ("test", 2)):
        for number in range(count):
            rng = np.random.default_rng(number)
            parts = [moving_square(rng, True), moving_square(rng, False), moving_square(rng, True)]
            write_video(folder / f"{split}{number}.mp4", np.concatenate(parts), rate=12)
            lines += [f"{split}{number}.mp4,go {way},{split},{t},{t + 1}" for t, way in enumerate(("right", "left"))]
    (folder / "films.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "films.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = create_model("stm_r18", num_classes=3, width=0.125, frames=4, dropout=0.0, causal=True)
    torch.nn.init.normal_(model.classifier.weight, std=3)
    spec = model.clip_spec.replace(short_side=40, crop=32)
    card = {"training": {"frame_seconds": 1 / 12}}
    return Recognizer(model.eval(), ("go left", "go right", "nothing"), spec, card).save(tmp_path / "r")


def test_the_command_stores_what_timeline_and_stream_then_use(
    data: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["timeline", str(folder), "--calibrate", str(data), "--background", "nothing"]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    assert card["segments"] == printed["calibration"]
    assert card["segments"]["background"] == ["nothing"]
    assert card["segments"]["set_on"]["films"] == 2
    assert printed["test"]["coverage"] == {"expected": 2, "read": 2, "failed": 0}
    assert set(printed["test"]["map"]) == {"0.3", "0.5", "0.7"}
    some = Recognizer.load(folder)
    stored = stored_settings(some)
    assert stored is not None
    film = data.parent / "test0.mp4"
    expected = timeline(some, film, rule=stored.rule, background=["nothing"])
    assert main(["timeline", str(folder), str(film), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["segments"] == [s.to_dict() for s in expected.segments]
    assert not err
    assert main(["timeline", str(folder), "--data", str(data), "--mode", "window"]) == 0
    out, err = capsys.readouterr()
    assert "mAP at tIoU 0.5" in out
    assert "mode step" in err  # set with it, measured otherwise


def test_a_film_that_cannot_be_read_costs_itself(
    data: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "films.csv"
    rows = data.read_text(encoding="utf-8").splitlines()
    rows = [rows[0], *(f"{data.parent}/{row}" for row in rows[1:]), "bad.mp4,go left,test,0,1"]
    table.write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    assert main(["timeline", str(folder), "--data", str(table), "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["test"]["coverage"] == {"expected": 3, "read": 2, "failed": 1}
    assert "bad.mp4" in found["unreadable"][0]["path"]
    assert "bad.mp4" in err


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": "high"}, "threshold"),
        ({"threshold": 0.3, "release": 0.6}, "release"),
        ({"shortest": -1}, "shortest"),
        ({"lag": "short"}, "lag"),
        ({"background": ["idle"]}, "background"),
        ({"background": "nothing"}, "background"),
        ({"mode": "steps"}, "mode"),
        ({"mode": "step", "rate": "fast"}, "rate"),
        ({"mode": "window", "window": 1, "step": 2}, "step"),
        (["threshold"], "segments"),
    ],
)
def test_a_card_with_odd_thresholds_is_named(
    entry: object, said: str, folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    (folder / CARD).write_text(json.dumps({**card, "segments": entry}), encoding="utf-8")
    assert main(["timeline", str(folder), str(data.parent / "test0.mp4")]) == 2
    err = capsys.readouterr().err.strip()
    assert CARD in err
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("path,label,split,start,end\nval0.mp4,dance,val,0,1", [], "dance"),
        ("path,label,split,start,end\nval0.mp4,go left,train,0,1\nval1.mp4,go left,test,0,1", [], "--split"),
        ("path,label,split,start,end\nval0.mp4,go left,val,2,1", [], "start"),
        ("path,label,split,start,end\nval0.mp4,nothing,val,0,1", ["--background", "nothing"], "action"),
        ("path,label,split,start,end\nval9.mp4,go left,val,0,1", [], "val9.mp4"),
        ("path,label,split,start,end\nval0.mp4,go left,val,0,1", ["--split", "vall"], "vall"),
        ("path,split,start,end\nval0.mp4,val,0,1", [], "label"),
    ],
)
def test_odd_lists_of_films_are_one_sentence(
    text: str, words: list[str], said: str, data: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = data.parent / "odd.csv"
    table.write_text(text, encoding="utf-8")
    before = (folder / CARD).read_bytes()
    assert main(["timeline", str(folder), "--calibrate", str(table), *words]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err
    assert (folder / CARD).read_bytes() == before


def test_splits(data: Path) -> None:
    manifest = read_manifest(data)
    assert calibration_split(manifest) == "val"
    assert calibration_split(manifest, "all") == "all"
    films = labelled_films(manifest.split("val"), ("go left", "go right"))
    assert [[a.label for a in truth] for truth in films.values()] == [["go right", "go left"]] * 2
