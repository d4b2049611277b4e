"""Long films to segments, from Python and from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data.timed_videos import damage, write_timed
from tiny import moving_square, write_video

from kinema.cli import main
from kinema.data.manifest import read_manifest
from kinema.data.video import open_video
from kinema.data.windows import sliding_windows
from kinema.errors import KinemaError, UnreadableVideo
from kinema.models import create_model
from kinema.recognizer import Recognizer
from kinema.streaming import Live, Segmenter, SegmentRule, SegmentSettings, choose_sight, open_source, timeline
from kinema.streaming.live import recognise
from kinema.streaming.reader import SourceReader
from kinema.streaming.tracks import read_track

RATE = 12
RULE = SegmentRule(0.4, 0.3, 0.2)


def recognizer(name: str = "stm_r18", **options: object) -> Recognizer:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, width=0.125, frames=4, dropout=0.0, **options)
    torch.nn.init.normal_(model.classifier.weight, std=3)
    spec = model.clip_spec.replace(short_side=40, crop=32)
    return Recognizer(model.eval(), ("a", "b", "c"), spec, {"training": {"frame_seconds": 1 / RATE}})


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [moving_square(np.random.default_rng(i), bool(i % 2), frames=12) for i in range(5)]
    return write_video(tmp_path_factory.mktemp("film") / "a film.mp4", np.concatenate(frames), rate=RATE)


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recognizer(causal=True).save(tmp_path_factory.mktemp("causal") / "r")


@pytest.mark.parametrize(("causal", "mode"), [(True, "step"), (False, "delayed")])
def test_steps_are_those_of_a_stream(film: Path, causal: bool, mode: str) -> None:
    some = recognizer(causal=causal)
    live = Live(some, rate=RATE / 2, mode=mode, average="none", top_k=3)
    with SourceReader(open_source(str(film))) as reader:
        expected = list(recognise(reader, live))
    track = read_track(some, film, choose_sight(some, mode=mode, rate=RATE / 2))
    assert track.starts.tolist() == pytest.approx([d.time for d in expected], abs=1e-3)
    for row, decision in zip(track.scores, expected, strict=True):
        assert row.tolist() == pytest.approx([dict(decision.top_k)[label] for label in "abc"], abs=1e-4)
    assert (track.known >= track.starts).all()
    assert (track.known > track.starts).any() == (mode == "delayed")
    assert track.ends[-1] == pytest.approx(track.duration) == pytest.approx(5, abs=0.01)


def test_windows_are_those_of_the_recognizer(film: Path) -> None:
    some = recognizer()
    sight = choose_sight(some, window=1.0, step=0.5)
    track = read_track(some, film, sight)
    expected = list(some.predict_windows(film, window=1.0, step=0.5, top_k=3))
    spans = list(sliding_windows(track.duration, 1.0, 0.5, 1 / RATE))
    assert len(expected) == len(track.scores) == len(spans)
    for row, prediction in zip(track.scores, expected, strict=True):
        assert row.tolist() == pytest.approx([dict(prediction.top_k)[label] for label in "abc"], abs=1e-6)
    assert track.known.tolist() == [end for _, end in spans]
    assert (track.starts[0], track.ends[-1]) == (0, track.duration)
    assert track.starts[1:].tolist() == track.ends[:-1].tolist()
    assert track.starts[1:3].tolist() == pytest.approx([0.75, 1.25])  # half way between the middles 0.5, 1 and 1.5


def test_the_default_is_steps_for_a_causal_network_and_windows_for_others() -> None:
    assert choose_sight(recognizer(causal=True)).mode == "step"
    sight = choose_sight(recognizer())
    assert (sight.mode, sight.window, sight.step) == ("window", pytest.approx(4 / RATE), pytest.approx(1 / RATE))
    assert choose_sight(recognizer("tsn_r18"), window=2.0).mode == "window"


def test_segments_are_those_of_the_segmenter(film: Path) -> None:
    some = recognizer(causal=True)
    track = read_track(some, film, choose_sight(some))
    segmenter, expected = Segmenter("abc", RULE), []
    for start, end, row in zip(track.starts, track.ends, track.scores, strict=True):
        expected += segmenter.feed(start, end, row, start)
    expected += segmenter.end()
    found = timeline(some, film, rule=RULE)
    assert list(found.segments) == expected
    assert expected
    for segment in expected:
        assert segment.t_start <= segment.t_known <= segment.t_end
        assert segment.t_known - segment.t_start >= RULE.shortest - 1 / RATE - 1e-6


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    """60 frames at 12 per second with a keyframe every 12: damage in frame 15 costs 15 to 23."""
    whole = write_timed(tmp_path / "whole.mp4", (np.arange(61) / RATE).tolist())
    broken = damage(whole, tmp_path / "broken.mp4", [15], lost=200)
    for causal in (True, False):
        some = recognizer(causal=causal)
        track = read_track(some, broken, choose_sight(some))
        assert track.ends[-1] == pytest.approx(5, abs=0.01)
        assert track.duration == pytest.approx(5, abs=0.01)
        assert 1 <= track.lost[0].t_start < 1.3
        assert 2 - 1e-3 < track.lost[-1].t_end < 2.4
        assert all(part.reason for part in track.lost)
        gap = (track.starts[1:] - track.ends[:-1]).max()
        assert 0.4 < gap < 1.1
        if causal:
            sound = [i for i in range(60) if not 15 <= i < 24]
            assert track.starts.tolist() == pytest.approx([i / RATE for i in sound], abs=2e-3)


def test_a_film_that_cannot_be_read_raises(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    for some in (recognizer(causal=True), recognizer()):
        with pytest.raises(UnreadableVideo, match=r"empty\.mp4"):
            timeline(some, tmp_path / "empty.mp4")


def test_the_command_prints_a_line_per_film(
    film: Path, causal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no film")
    words = ["timeline", str(causal), str(film), str(bad), "--threshold", "0.4", "--shortest", "0.2"]
    assert main([*words, "--json"]) == 1
    good, failed = map(json.loads, capsys.readouterr().out.splitlines())
    assert set(good) == {"path", "duration", "segments", "lost", "error"}
    assert (failed["path"], failed["segments"]) == (str(bad), [])
    assert failed["error"]
    found = timeline(Recognizer.load(causal), film, rule=SegmentRule(0.4, 0.4, 0.2))
    assert good["segments"] == [s.to_dict() for s in found.segments]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out.count("a film.mp4") == len(found.segments)
    assert "unreadable" in out
    assert "1 of 2 videos" in err


def test_the_csv_is_data_that_training_reads(
    film: Path, causal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["timeline", str(causal), str(film), "--csv", "--threshold", "0.4", "--shortest", "0"]
    assert main(words) == 0
    table = tmp_path / "sub" / "segments.csv"
    table.parent.mkdir()
    table.write_text(capsys.readouterr().out, encoding="utf-8")
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert list(rows[0]) == ["path", "label", "start", "end"]
    found = timeline(Recognizer.load(causal), film, rule=SegmentRule(0.4, 0.4, 0))
    samples = read_manifest(table).samples
    assert [(s.label, s.start, s.end) for s in samples] == [
        (s.label, pytest.approx(s.t_start, abs=1e-3), pytest.approx(s.t_end, abs=1e-3)) for s in found.segments
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{film}", "--threshold", "1.5"], "threshold"),
        (["{film}", "--threshold", "0"], "threshold"),
        (["{film}", "--threshold", "nan"], "threshold"),
        (["{film}", "--threshold", "0.4", "--release", "0.5"], "release"),
        (["{film}", "--release", "-0.1"], "release"),
        (["{film}", "--shortest", "-1"], "shortest"),
        (["{film}", "--lag", "-1"], "lag is -1"),
        (["{film}", "--lag", "inf"], "lag"),
        (["{film}", "--background", "idle"], "idle"),
        (["{film}", "--mode", "steps"], "step"),
        (["{film}", "--mode", "step", "--window", "1"], "window"),
        (["{film}", "--rate", "0"], "rate"),
        (["{film}", "--window", "1", "--step", "2"], "step"),
        (["{film}", "--window", "inf"], "window"),
        (["{film}", "--json", "--csv"], "--csv"),
        (["{film}", "--split", "test"], "--split"),
        (["{film}", "--data", "x.csv"], "VIDEO"),
        (["--calibrate", "x.csv", "--threshold", "0.4"], "--threshold"),
        (["--calibrate", "x.csv", "--lag", "0.4"], "--lag"),
        (["--calibrate", "nothing.csv"], "nothing.csv"),
        ([], "VIDEO"),
        (["{film}", "--workers", "-2"], "--workers"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], said: str, film: Path, causal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["timeline", str(causal), *(word.format(film=film) for word in words)]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err


def test_several_labels_per_video_have_no_timeline() -> None:
    some = recognizer(causal=True)
    some.card["multi_label"] = True
    with pytest.raises(KinemaError, match=r"several labels.*--window"):
        choose_sight(some)


def test_a_network_that_cannot_stream_is_refused_for_steps() -> None:
    with pytest.raises(KinemaError, match="causal"):
        choose_sight(recognizer(), mode="step")


def test_a_stream_prints_the_segments_of_the_timeline(
    film: Path, causal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = Recognizer.load(causal)
    settings = SegmentSettings(RULE, ("c",), choose_sight(some))
    some.card["segments"] = settings.to_dict()
    folder = some.save(causal.parent / "with thresholds")
    expected = timeline(some, film)
    assert expected.segments
    assert "c" not in {s.label for s in expected.segments}
    assert main(["stream", str(folder), str(film), "--segments", "--json"]) == 0
    *lines, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [line["label"] for line in lines] == [s.label for s in expected.segments]
    for line, segment in zip(lines, expected.segments, strict=True):
        for key, value in segment.to_dict().items():
            assert line[key] == (value if key == "label" else pytest.approx(value, abs=2e-3))
    assert last["used"] == last["arrived"] == 60
    assert main(["stream", str(folder), str(film), "--segments"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == len(expected.segments)
    assert " to " in out
    assert main(["stream", str(folder), str(film), "--segments", "--average", "none"]) == 2
    assert "--average" in capsys.readouterr().err


def test_the_command_writes_annotated_videos(
    film: Path, causal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no film")
    one = ["timeline", str(causal), str(film), "--threshold", "0.4", "--video"]
    two = [*one[:3], str(bad), *one[3:]]
    assert main([*one, str(tmp_path / "one.mp4")]) == 0
    with open_video(tmp_path / "one.mp4") as reader:
        assert len(reader) == 60
    assert main([*two, str(tmp_path / "many")]) == 1
    assert [p.name for p in (tmp_path / "many").iterdir()] == ["a film.mp4"]
    capsys.readouterr()
    for words, place in (
        (two, tmp_path / "two.mp4"),
        (one, tmp_path / "a.gif"),
        (one, film),
        (one, bad / "inside.mp4"),
    ):
        assert main([*words, str(place)]) == 2
        err = capsys.readouterr().err.splitlines()[-1]
        assert place.name in err or bad.name in err
        assert "--video" in err or bad.name in err
        assert "--out" not in err
    assert bad.read_bytes() == b"no film"
