from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation.mixed_data import BAD, LABELS, VIDEOS, mixed_data, picture_sequence, recognizer
from tiny import write_video

from kinema.data.manifest import Manifest, read_manifest
from kinema.errors import KinemaError, RunError
from kinema.evaluation import TestResult, evaluate, read_scores, write_results
from kinema.evaluation.results import Test, document, require_free

TEST = Test("rec", "data/videos.csv", "test", "2x1")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(mixed_data(tmp_path_factory.mktemp("mixed data")), check=False).split("test")


@pytest.fixture(scope="module")
def result(manifest: Manifest) -> TestResult:
    return evaluate(recognizer(), manifest, views=(2, 1), workers=0)


@pytest.fixture(scope="module")
def out(result: TestResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "new" / "folder"
    write_results(folder, result, recognizer(), TEST)
    return folder


def test_scores_come_back_as_they_were(out: Path, result: TestResult) -> None:
    for place in (out, out / "scores.parquet", str(out)):
        back = read_scores(place)
        assert back.labels == LABELS
        assert back.paths == tuple(VIDEOS)  # relative to the data
        assert back.truth == tuple(label for label, _ in VIDEOS.values())
        assert back.predictions == result.predictions
        assert back.errors == result.errors
        assert back.scores.dtype == np.float32
        np.testing.assert_array_equal(back.scores, result.scores)
        assert (back.correct == result.correct).all()
        assert back.root == result.root


def test_the_table_can_be_read_by_others(out: Path, result: TestResult) -> None:
    table = pq.read_table(out / "scores.parquet")
    assert table.num_rows == len(VIDEOS)
    assert table.schema.field("scores").type == pa.list_(pa.float32())
    rows = {r["path"]: r for r in table.to_pylist()}
    for name, i in zip(VIDEOS, range(len(VIDEOS)), strict=True):
        row = rows[name]
        assert (row["scores"] is None) == (row["prediction"] is None) == (row["error"] is not None) == (name in BAD)
        if name not in BAD:
            assert row["scores"] == result.scores[i].tolist()
            assert row["distinct_views"] == (1 if name == "tiny.mp4" else 2)


def test_parts_keep_their_times(manifest: Manifest, tmp_path: Path) -> None:
    parts = tuple(replace(manifest.samples[0], start=t, end=t + 1) for t in (0.0, 1.5))
    found = evaluate(recognizer(), replace(manifest, samples=parts), workers=0)
    write_results(tmp_path, found, recognizer(), TEST)
    assert read_scores(tmp_path).spans == ((0.0, 1.0), (1.5, 2.5))


def test_the_ledger_names_every_failure(out: Path, result: TestResult) -> None:
    with (out / "ledger.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == BAD
    assert [row["error"] for row in rows] == [reason for _, reason in result.failures]


def test_the_ledger_is_empty_where_nothing_failed(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "ledger.csv").write_text("path,error\nold.mp4,gone\n", encoding="utf-8")
    found = evaluate(recognizer(), replace(manifest, samples=manifest.samples[:1]), workers=0)
    write_results(tmp_path, found, recognizer(), TEST)
    assert (tmp_path / "ledger.csv").read_text(encoding="utf-8") == "path,error\n"


def test_absent_videos_follow_the_failures_and_change_no_figure(manifest: Manifest, tmp_path: Path) -> None:
    few = replace(manifest, samples=manifest.samples[:2])  # one is read and one is not
    plain = evaluate(recognizer(), few, workers=0).metrics
    found = evaluate(recognizer(), replace(few, absent={"test": ("7", "größe"), "val": ("7",)}), workers=0)
    assert str(found.metrics.coverage) == (
        "2 expected / 1 read / 1 failed; 3 more that the annotation names are absent"
    )
    assert replace(found.metrics, coverage=plain.coverage) == plain
    write_results(tmp_path, found, recognizer(), TEST)
    ledger = (tmp_path / "ledger.csv").read_text(encoding="utf-8").splitlines()
    assert ledger[1].startswith("corrupt.mp4,")
    assert ledger[2:] == ['7,"absent, left out"', 'größe,"absent, left out"', '7,"absent, left out"']
    assert json.loads((tmp_path / "metrics.json").read_text("utf-8"))["metrics"]["coverage"]["absent"] == 3
    assert read_scores(tmp_path).paths == ("long one.mp4", "corrupt.mp4")


def test_metrics_state_coverage_and_protocol(out: Path, result: TestResult) -> None:
    values = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert values == json.loads(json.dumps(document(result, recognizer(), TEST), allow_nan=False))
    assert values["metrics"]["coverage"] == {"expected": 11, "read": 6, "failed": 5, "absent": 0}
    assert values["metrics"]["top1"] == result.metrics.top1
    assert values["test"]["data"] == str(Path("data/videos.csv").resolve())
    assert (values["test"]["split"], values["test"]["views"]) == ("test", "2x1")
    assert values["protocol"]["clip"]["frames"] == 4
    assert values["protocol"]["sampler"] == "segments, 2 clips of 4 frames at fixed places"
    assert values["protocol"]["unreadable"] == "counted as errors"
    assert values["views"]["all_distinct"] + values["views"]["coinciding"] == 6
    assert values["architecture"]["name"] == "tsm_r18"
    assert {"kinema", "torch", "python", "machine"} <= set(values["versions"])


def test_the_same_test_may_be_repeated_and_no_other(out: Path, tmp_path: Path) -> None:
    require_free(tmp_path / "nowhere", TEST)
    require_free(tmp_path, TEST)
    require_free(out, TEST)
    for change, named in (
        ({"views": "10x3"}, r"with other views \(2x1 there\);"),
        ({"data": "other"}, "with other data "),
        ({"recognizer": "x", "split": "val"}, r"another recognizer \(.*\) and another split \(test there\)"),
    ):
        other = replace(TEST, **change)
        with pytest.raises(KinemaError, match=named):
            require_free(out, other)
        require_free(out, other, overwrite=True)


def test_the_same_data_may_be_given_by_another_path(
    result: TestResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    test = replace(TEST, recognizer=str(tmp_path / "rec"), data=str(tmp_path / "data"))
    write_results(tmp_path / "out", result, recognizer(), test)
    monkeypatch.chdir(tmp_path)
    same = ["data", "./data/", "link", "data/manifest.csv", (tmp_path / "data").as_uri(), "link/../data"]
    for spelling in same:
        require_free(tmp_path / "out", replace(test, data=spelling))
    for other in ("data/list.csv", "link/other", "ucf101:data"):
        with pytest.raises(KinemaError, match="with other data"):
            require_free(tmp_path / "out", replace(test, data=other))


def test_files_of_something_else_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ledger.csv").write_text("path,error\n", encoding="utf-8")  # such as a training's
    with pytest.raises(KinemaError, match=r"ledger\.csv, which is not from a finished test"):
        require_free(tmp_path, TEST)
    (tmp_path / "metrics.json").write_text("[1, 2", encoding="utf-8")
    with pytest.raises(KinemaError, match=r"metrics\.json, which is not from a finished test"):
        require_free(tmp_path, TEST)
    (tmp_path / "metrics.json").write_text('{"test": null}', encoding="utf-8")
    with pytest.raises(KinemaError, match="not from a finished test"):
        require_free(tmp_path, TEST)
    with pytest.raises(KinemaError, match="is a file; give a folder"):
        require_free(tmp_path / "ledger.csv", TEST)


def test_a_full_disk_leaves_the_old_scores(result: TestResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(tmp_path, result, recognizer(), TEST)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(table: pa.Table, file: object, *, write_page_checksum: bool) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(RunError, match=r"scores\.parquet: cannot be written \(No space left on device\)"):
        write_results(tmp_path, result, recognizer(), TEST)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_scores_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match="there are no scores; make them with kinema test"):
        read_scores(tmp_path)
    (tmp_path / "scores.parquet").write_bytes(b"not a table")
    with pytest.raises(KinemaError, match=r"scores\.parquet: not the scores of a test, or damaged \(.*\); test again$"):
        read_scores(tmp_path)
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "scores.parquet")
    with pytest.raises(KinemaError, match="not the scores of a test"):
        read_scores(tmp_path)


def test_no_damage_is_read_as_other_scores(out: Path, tmp_path: Path) -> None:
    good = read_scores(out)
    whole = (out / "scores.parquet").read_bytes()
    file = tmp_path / "scores.parquet"
    refused = 0
    places = range(0, len(whole), 19)
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            back = read_scores(file)
        except KinemaError as error:
            assert str(error).startswith(f"{file}: not the scores of a test, or damaged (")
            assert str(error).endswith("; test again")
            assert "\n" not in str(error)
            refused += 1
        else:  # statistics and other things that say nothing of the videos
            assert replace(back, scores=good.scores) == replace(good, scores=good.scores), place
            np.testing.assert_array_equal(back.scores, good.scores)
    assert len(places) / 2 < refused < len(places)


def test_every_page_has_its_checksum(out: Path, tmp_path: Path) -> None:
    whole = bytearray((out / "scores.parquet").read_bytes())
    column = pq.ParquetFile(out / "scores.parquet").metadata.row_group(0).column(3)
    assert column.path_in_schema.startswith("scores.")
    first = column.dictionary_page_offset or column.data_page_offset
    whole[first + column.total_compressed_size - 1] ^= 1  # of the data, not of their head
    (tmp_path / "scores.parquet").write_bytes(whole)
    with pytest.raises(KinemaError, match=r"\(.*(?i:crc|checksum).*\); test again"):
        read_scores(tmp_path)


def plain(table: pa.Table, file: Path) -> None:
    """As it was written before there were checksums and sizes."""
    kept = {k: v for k, v in table.schema.metadata.items() if k in (b"kinema.labels", b"kinema.root")}
    pq.write_table(table.drop_columns(["size"]).replace_schema_metadata(kept), file)


def test_older_scores_are_read_as_far_as_they_agree_with_themselves(out: Path, tmp_path: Path) -> None:
    table, file = pq.read_table(out / "scores.parquet"), tmp_path / "scores.parquet"
    plain(table, file)
    good, back = read_scores(out), read_scores(file)
    assert (back.paths, back.predictions, back.truth) == (good.paths, good.predictions, good.truth)
    assert back.sizes == (None,) * len(VIDEOS)
    for name, first, sentence in (
        ("prediction", "jump", "'jump' is not the label with the highest score of 'long one.mp4'"),
        ("prediction", None, "None is not the label with the highest score"),
        ("label", "Jump", "the label 'Jump' of 'long one.mp4' is not one of its labels"),
        ("error", "gone", "test again"),
    ):
        before, *others = table[name].to_pylist()
        values = [first, *others]
        assert first != before
        plain(table.set_column(table.column_names.index(name), name, pa.array(values, pa.string())), file)
        with pytest.raises(KinemaError, match=sentence):
            read_scores(file)


def test_the_folder_s_name_adds_no_column(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seed=1"
    shutil.copytree(out, folder)
    assert read_scores(folder).paths == tuple(VIDEOS)


def test_the_sizes_of_the_videos_are_kept(manifest: Manifest, result: TestResult, out: Path, tmp_path: Path) -> None:
    files = [Path(s.path) for s in manifest.samples]
    assert read_scores(out).sizes == tuple(f.stat().st_size if f.exists() else None for f in files)
    assert None in read_scores(out).sizes
    for number, size in enumerate((10, 300)):
        (tmp_path / f"{number}.png").write_bytes(b"x" * size)
    pictures = replace(manifest, samples=(replace(manifest.samples[0], path=str(tmp_path)), manifest.samples[0]))
    write_results(tmp_path / "out", evaluate(recognizer(), pictures, workers=0), recognizer(), TEST)
    assert read_scores(tmp_path / "out").sizes == (310, files[0].stat().st_size)


def test_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "sit"
    odd = os.fsdecode(b"caf\xe9.mp4")
    write_video(folder / "plain.mp4", picture_sequence(0, 6))
    try:
        (folder / "plain.mp4").rename(folder / odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (folder / os.fsdecode(b"bad\xff.mp4")).write_bytes(b"")
    found = evaluate(recognizer(), read_manifest(tmp_path / "data"), workers=0)
    write_results(tmp_path / "out", found, recognizer(), TEST)
    assert [error is None for error in found.errors] == [False, True]
    assert read_scores(tmp_path / "out").paths == ("sit/bad\\udcff.mp4", "sit/caf\\udce9.mp4")
    assert "sit/bad\\udcff.mp4" in (tmp_path / "out" / "ledger.csv").read_text(encoding="utf-8")
