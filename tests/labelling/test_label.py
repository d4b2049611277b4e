from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from evaluation.mixed_data import picture_sequence
from labelling.small import GOOD, assert_same, label_quietly, plain, recognizer, small_input
from tiny import write_video

from kinema import Recognizer
from kinema.cli import main
from kinema.data.loading.limits import ReadLimits
from kinema.errors import KinemaError, UnreadableVideo
from kinema.labelling import here as here_module
from kinema.labelling import read_labels
from kinema.labelling import reading as reading_module
from kinema.labelling.network import card_hash


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_input(tmp_path_factory.mktemp("labelling") / "clips")


@pytest.fixture(scope="module")
def table(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    folder = tmp_path_factory.mktemp("labelling") / "table"
    label_quietly(clips, folder)
    return plain(folder)


def by_name(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {Path(row["path"]).name: row for row in table.to_pylist()}


def test_every_input_has_a_row_and_labels_are_those_of_predict(clips: Path, table: pa.Table) -> None:
    rows, rec = by_name(table), recognizer()
    assert set(rows) == {p.name for p in clips.iterdir()}
    for name, row in rows.items():
        found = next(rec.predict_many([clips / name], workers=0))
        assert len(row["content_hash"]) == len(row["card_hash"]) == 64
        if isinstance(found, UnreadableVideo):
            assert (row["error"], row["label"], row["stage"]) == (found.reason, None, "open")
            continue
        assert (row["label"], row["t_start"], row["t_end"]) == (found.label, found.t_start, found.t_end)
        assert row["top_labels"] == [label for label, _ in found.top_k]
        assert row["top_scores"] == pytest.approx([score for _, score in found.top_k], abs=5e-6)
        assert row["frames_read"] == 4
        assert row["frames_declared"] == 8 + 3 * int(name[5])
    assert sum(row["error"] is None for row in rows.values()) == GOOD
    assert len({row["label"] for row in rows.values()} - {None}) > 1


@pytest.mark.parametrize(("workers", "seed"), [(0, 1), (1, 2), (3, 3)])
def test_labels_do_not_depend_on_processes_or_on_neighbours(
    workers: int, seed: int, clips: Path, table: pa.Table, tmp_path: Path
) -> None:
    paths = sorted(clips.iterdir())
    random.Random(seed).shuffle(paths)
    label_quietly(paths, tmp_path / "table", workers=workers)
    other = plain(tmp_path / "table")
    assert_same(other, table)


def test_what_is_done_is_not_read_again(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = label_quietly(clips, tmp_path / "table")
    before = read_labels(tmp_path / "table")
    monkeypatch.setattr(reading_module, "open_video", lambda path: pytest.fail(f"{path} is opened"))
    again = label_quietly(clips, tmp_path / "table")
    assert (first.before, again.before, again.inputs) == (0, 8, 8)  # type: ignore[attr-defined]
    assert read_labels(tmp_path / "table").equals(before)


def test_a_kill_between_any_two_videos_gives_the_same_table(
    clips: Path, table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = here_module.EntryViews.__getitem__
    read: list[str] = []

    def mortal(self: Any, entry: Any) -> Any:
        read.append(entry.place)
        if len(read) % 3 == 0:
            raise KeyboardInterrupt
        return real(self, entry)

    monkeypatch.setattr(here_module.EntryViews, "__getitem__", mortal)
    for _ in range(20):
        try:
            label_quietly(clips, tmp_path / "table", part_rows=2)
        except KeyboardInterrupt:
            continue
        break
    monkeypatch.undo()
    assert len(read) > 8
    done = label_quietly(clips, tmp_path / "table", part_rows=2)
    assert done.before == 8  # type: ignore[attr-defined]
    assert_same(plain(tmp_path / "table"), table)


def test_a_changed_file_is_labelled_anew(clips: Path, tmp_path: Path) -> None:
    data = small_input(tmp_path / "clips")
    label_quietly(data, tmp_path / "table")
    before = by_name(read_labels(tmp_path / "table"))
    changed = data / "clip 2.mp4"
    kept = os.stat(changed)  # noqa: PTH116
    write_video(changed, picture_sequence(77, 9))
    os.utime(changed, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    done = label_quietly(data, tmp_path / "table")
    after = by_name(read_labels(tmp_path / "table"))
    assert done.before == 7  # type: ignore[attr-defined]
    assert after["clip 2.mp4"]["content_hash"] != before["clip 2.mp4"]["content_hash"]
    assert after["clip 2.mp4"]["frames_declared"] == 9
    assert len(after) == len(before) == 8


def test_one_byte_in_a_file_of_the_same_size_and_age_counts(tmp_path: Path) -> None:
    data = small_input(tmp_path / "clips")
    old = time.time_ns() - 10**12
    for path in data.iterdir():
        os.utime(path, ns=(old, old))
    label_quietly(data, tmp_path / "table")
    changed = data / "clip 3.mp4"
    whole = bytearray(changed.read_bytes())
    whole[-1] ^= 1
    changed.write_bytes(bytes(whole))
    os.utime(changed, ns=(old, old))
    assert label_quietly(data, tmp_path / "table").before == 7  # type: ignore[attr-defined]


def test_two_models_or_ways_of_looking_never_mix(clips: Path, tmp_path: Path) -> None:
    label_quietly(clips, tmp_path / "table")
    before = read_labels(tmp_path / "table")
    for options, named in (
        ({"recognizer": recognizer(seed=1)}, "another recognizer"), ({"views": "2x1"}, "views"),
        ({"top_k": 1}, "top_k"), ({"features": True}, "features"), ({"window": 0.5}, "window"),
    ):  # fmt: skip
        with pytest.raises(KinemaError, match=named):
            label_quietly(clips, tmp_path / "table", **options)
    assert read_labels(tmp_path / "table").equals(before)
    rec = recognizer()
    rec.card["metrics"] = {"top1": 0.5}  # what a test adds changes no label
    assert label_quietly(clips, tmp_path / "table", recognizer=rec).before == 8  # type: ignore[attr-defined]


def test_missing_and_failed_inputs_are_tried_again_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_input(tmp_path / "clips")
    (tmp_path / "list.csv").write_text("path\nclips/clip 1.mp4\nclips/gone.mp4\nclips/half.mp4\nclips/later.mp4\n")

    def anew(retry: str | None) -> int:
        done = label_quietly(tmp_path / "list.csv", tmp_path / "table", retry=retry)
        return done.inputs - done.before  # type: ignore[attr-defined]

    assert [anew(None), anew(None), anew("missing"), anew("failed")] == [4, 0, 2, 3]
    (data / "clip 2.mp4").rename(data / "later.mp4")  # what is found at last is labelled without being asked
    assert [anew(None), anew("missing"), anew("failed"), anew(None)] == [1, 1, 2, 0]
    rows = by_name(read_labels(tmp_path / "table"))
    assert [name for name, row in rows.items() if row["label"]] == ["clip 1.mp4", "later.mp4"]
    assert rows["gone.mp4"]["stage"] == "find"


@pytest.mark.parametrize("disaster", ["crash", "hang"])
def test_a_file_that_kills_its_reader_gets_one_row(
    disaster: str, clips: Path, table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reading_module.open_video

    def opened(path: Any) -> Any:
        if str(path).endswith("clip 3.mp4"):
            if disaster == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(1000)
        return real(path)

    monkeypatch.setattr(reading_module, "open_video", opened)
    limits = ReadLimits(stalled=1.0)
    done = label_quietly(clips, tmp_path / "table", workers=2, limits=limits)
    rows, others = by_name(plain(tmp_path / "table")), by_name(table)
    poison = rows.pop("clip 3.mp4")
    assert poison["stage"] == "reader"
    assert {"crash": "SIGSEGV", "hang": "no progress"}[disaster] in poison["error"]
    assert poison["content_hash"] == others.pop("clip 3.mp4")["content_hash"]
    assert {name: row["label"] for name, row in rows.items()} == {name: row["label"] for name, row in others.items()}
    assert done.stages == {"open": 3, "reader": 1}  # type: ignore[attr-defined]
    assert label_quietly(clips, tmp_path / "table", workers=2, limits=limits).before == 8  # type: ignore[attr-defined]


def test_a_file_that_changes_while_it_is_read_is_labelled_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_input(tmp_path / "clips")
    real = reading_module.views_of

    def cut(video: Any, *args: Any, **more: Any) -> Any:
        views = real(video, *args, **more)
        if str(video.path).endswith("clip 0.mp4"):
            write_video(Path(video.path), picture_sequence(50, 10))
        return views

    monkeypatch.setattr(reading_module, "views_of", cut)
    label_quietly(data, tmp_path / "table")
    assert "changed" in by_name(read_labels(tmp_path / "table"))["clip 0.mp4"]["error"]
    monkeypatch.undo()
    assert label_quietly(data, tmp_path / "table").before == 7  # type: ignore[attr-defined]
    assert by_name(read_labels(tmp_path / "table"))["clip 0.mp4"]["frames_declared"] == 10


def test_embeddings_are_those_of_embed(clips: Path, table: pa.Table, tmp_path: Path) -> None:
    label_quietly(clips, tmp_path / "table", features=True)
    found, rec = plain(tmp_path / "table"), recognizer()
    for row in found.to_pylist():
        if row["error"] is None:
            assert row["features"] == pytest.approx(rec.embed(row["path"]).tolist(), abs=1e-5)
        else:
            assert row["features"] is None
    assert found.select(["path", "label"]).equals(table.select(["path", "label"]))


def test_windows_of_a_long_video(clips: Path, tmp_path: Path) -> None:
    data = tmp_path / "clips"
    write_video(data / "long.mp4", picture_sequence(9, 30))
    (data / "none.mp4").write_bytes(b"")
    label_quietly(data, tmp_path / "table", window=1.0, step=0.5)
    rows = plain(tmp_path / "table").to_pylist()
    expected = list(recognizer().predict_windows(data / "long.mp4", window=1.0, step=0.5, workers=0))
    assert [(r["t_start"], r["t_end"], r["label"]) for r in rows if r["label"]] == [
        (p.t_start, p.t_end, p.label)
        for p in expected  # type: ignore[union-attr]
    ]
    assert [(Path(r["path"]).name, r["start"]) for r in rows if r["error"]] == [("none.mp4", None)]
    assert label_quietly(data, tmp_path / "table", window=1.0, step=0.5).before == len(rows)  # type: ignore[attr-defined]
    write_video(data / "long.mp4", picture_sequence(9, 14))  # what is shorter now has fewer windows, and no old ones
    label_quietly(data, tmp_path / "table", window=1.0, step=0.5)
    assert [r["end"] for r in plain(tmp_path / "table").to_pylist() if r["label"]] == pytest.approx([1.0, 14 / 12])


def test_scores_that_are_no_numbers_are_a_failure(clips: Path, tmp_path: Path) -> None:
    rec = recognizer()
    rec.model.classifier.bias.data[0] = float("nan")  # type: ignore[union-attr, operator]
    done = label_quietly(clips, tmp_path / "table", recognizer=rec)
    assert done.stages == {"network": GOOD, "open": 3}  # type: ignore[attr-defined]


def test_rows_of_other_inputs_stay(clips: Path, tmp_path: Path) -> None:
    label_quietly(clips / "clip 1.mp4", tmp_path / "table")
    done = label_quietly(clips / "clip 2.mp4", tmp_path / "table")
    assert (done.inputs, done.others) == (1, 1)  # type: ignore[attr-defined]
    assert len(read_labels(tmp_path / "table")) == 2


def test_the_command_prints_what_was_done(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recognizer().save(tmp_path / "rec")
    assert card_hash(Recognizer.load(tmp_path / "rec")) == card_hash(recognizer())
    words = ["label", str(tmp_path / "rec"), str(clips / "*.m*"), str(tmp_path / "table"), "--workers", "0"]
    assert main(words) == 0
    assert "5 of 8 inputs" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["inputs"], printed["before"], printed["failed"], printed["stages"]) == (8, 8, 3, {"open": 3})


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["{rec}", "{clips}/nothing", "{out}"], "nothing"),
        (["{rec}", "{clips}", "{clips}"], "clips"),
        (["{rec}", "{clips}", "{clips}/text.mkv"], "text.mkv"),
        (["{rec}", "{clips}", "s3://bucket/table"], "s3://bucket/table"),
        (["{clips}", "{clips}", "{out}"], "clips"),
        (["{rec}", "{clips}", "{out}", "--views", "2x2"], "views 2x2"),
        (["{rec}", "{clips}", "{out}", "--window", "0"], "--window 0"),
        (["{rec}", "{clips}", "{out}", "--step", "1"], "--step 1"),
        (["{rec}", "{clips}", "{out}", "--window", "1", "--views", "3x1"], "--views 3x1"),
        (["{rec}", "{clips}", "{out}", "--top-k", "0"], "--top-k 0"),
        (["{rec}", "{clips}", "{out}", "--part-rows", "0"], "--part-rows 0"),
        (["{rec}", "{clips}", "{out}", "--networks", "0"], "--networks 0"),
        (["{rec}", "{clips}", "{out}", "--retry", "filed"], "filed"),
        (["{rec}", "{clips}", "{out}", "--retries", "failed"], "--retry"),
    ],
)
def test_bad_words_are_named(
    words: list[str], named: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recognizer().save(tmp_path / "rec")
    filled = [word.format(rec=tmp_path / "rec", clips=clips, out=tmp_path / "out") for word in words]
    assert main(["label", *filled]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
