"""`kinema data pack` as a person types it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from data.plain_videos import write_video

from kinema.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["data", "pack", *map(str, words), "--workers", "1"])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for label in ("walk", "run"):
        (tmp_path / "data" / label).mkdir(parents=True)
        write_video(tmp_path / "data" / label / "v.mp4", frames=6)
    return tmp_path / "data"


def test_all_is_packed_once(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, data, tmp_path / "out", "--short-side", 32)
    assert (status, err) == (0, "")
    assert "packed  2 of 2 videos, 2 now and 0 before" in out
    assert "a fifth of the videos" in out
    status, out, _ = run(capsys, data, tmp_path / "out", "--short-side", 32, "--json")
    told = json.loads(out)
    assert (status, told["written"], told["kept"], told["failures"]) == (0, 0, 2, [])
    assert told["size_before"] > told["size_after"] > 0


def test_status_1_where_a_video_could_not_be_read(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(22):
        (data / "walk" / f"empty {i}.mp4").write_bytes(b"")
    status, out, err = run(capsys, data, tmp_path / "out")
    assert status == 1
    assert "packed  2 of 24 videos" in out
    assert out.count("unreadable: ") == 20
    assert "… and 2 more" in out
    assert err == (
        "kinema: 22 of 24 videos could not be read; those that exist were copied unchanged; see "
        f"{tmp_path / 'out' / 'ledger.csv'}\n"
    )
    assert (tmp_path / "out" / "manifest.csv").read_text().count(".mp4,walk,") == 23


def test_names_that_are_no_text_are_printed_and_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(data / "run" / os.fsdecode(b"caf\xe9.mp4"), frames=3)
    (data / "run" / os.fsdecode(b"b\xe9d.mp4")).write_bytes(b"")
    for words in ((), ("--json",)):
        status, out, _ = run(capsys, data, tmp_path / "out", *words)
        assert status == 1
        assert "b\\udce9d.mp4" in out
    manifest = (tmp_path / "out" / "manifest.csv").read_text(encoding="utf-8")
    assert "run/caf\\udce9.mp4" in manifest
    assert manifest.count("\n") == 5


def test_bad_input_is_one_sentence(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, part in (
        ((data, data / "out"), "is inside the data"),
        ((tmp_path / "dat", tmp_path / "out"), "did you mean"),
        ((data, tmp_path / "out", "--short-side", 7), "even number"),
        ((data, tmp_path / "out", "--gop", 0), "at least 1"),
    ):
        status, out, err = run(capsys, *words)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert part in err
