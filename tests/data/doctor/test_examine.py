from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from data.odd_videos import tone
from PIL import Image
from rich.console import Console

from kinema.data.doctor import duplicates, index
from kinema.data.doctor import examine as doctor
from kinema.data.doctor.diagnosis import Diagnosis
from kinema.data.doctor.examine import examine
from kinema.errors import KinemaError
from kinema.text import printable

REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def scene(seed: int, background: int | None = None, frames: int = 16, size: tuple[int, int] = (96, 72)) -> np.ndarray:
    """A bright ball on its own way over a background of blocks: uint8 `T H W 3`."""
    width, height = size
    blocks = np.random.default_rng(seed if background is None else background).integers(0, 200, (6, 8, 3))
    picture = blocks.repeat(height // 6, 0).repeat(width // 8, 1)
    rng = np.random.default_rng(1000 + seed)
    start, end = rng.uniform(0.15, 0.85, (2, 2)) * size
    y, x = np.mgrid[:height, :width]
    film = np.repeat(picture[None], frames, 0)
    for i, share in enumerate(np.linspace(0, 1, frames)):
        centre = start + share * (end - start)
        film[i][(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (height / 10) ** 2] = 255
    return film.astype(np.uint8)


def write(path: Path, film: np.ndarray, rate: int = 25, crf: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "ultrafast"})
        stream.height, stream.width = film.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in film:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(stream.encode(None))
    return path


def healthy(root: Path) -> Path:
    for i, place in enumerate(("train/walk", "train/run", "test/walk", "test/run")):
        for j in range(3):
            write(root / place / f"{i}{j}.mp4", scene(10 * i + j))
    return root


def by_code(report: Diagnosis) -> dict[str, list[str]]:
    return {f.code: [*f.paths] for f in report.findings}


def test_a_healthy_data_set(tmp_path: Path) -> None:
    report = examine(healthy(tmp_path / "data"))
    assert report.ok
    assert report.findings == ()
    assert report.files == 12
    train = report.splits["train"]
    assert (train.samples, train.classes) == (6, {"run": 3, "walk": 3})
    assert train.hours == pytest.approx(6 * 16 / 25 / 3600)
    assert train.fps == pytest.approx((25, 25, 25))
    assert (train.frames, train.short_side) == ((16, 16, 16), (72, 72, 72))


def test_files_that_cannot_be_read_are_named_with_reasons(tmp_path: Path) -> None:
    data = healthy(tmp_path / "data")
    walk = data / "train" / "walk"
    (walk / "empty.mp4").write_bytes(b"")
    (walk / "text.mp4").write_text("this is no video\n" * 50)
    with av.open(str(walk / "sound.mp4"), "w") as out:
        tone(out, out.add_stream("aac", rate=16000, layout="mono"), 1)
    whole = (walk / "00.mp4").read_bytes()
    (walk / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    report = examine(data)
    assert not report.ok
    lines = by_code(report)["unreadable"]
    assert [Path(line.partition(": ")[0]).name for line in lines] == [
        "empty.mp4",
        "sound.mp4",
        "text.mp4",
        "truncated.mp4",
    ]
    assert all(line.partition(": ")[2] for line in lines)
    assert len({line.partition(": ")[2] for line in lines}) >= 3  # each its own reason
    assert report.splits["train"].samples == 10  # they are not left out of the count
    assert report.splits["train"].hours == pytest.approx(6 * 16 / 25 / 3600)


def test_odd_files_are_found(tmp_path: Path) -> None:
    data = healthy(tmp_path / "data")
    run = data / "train" / "run"
    write(run / "short.mp4", scene(50, frames=5))
    write(run / "tiny.mp4", scene(51, size=(64, 18)))
    write(run / "large.mp4", scene(52, size=(320, 240)))
    write(run / "slow.mp4", scene(53), rate=4)
    write(run / "fast.mp4", scene(54), rate=100)
    write(run / "black.mp4", np.zeros((16, 72, 96, 3), np.uint8))
    (run / "notes.txt").write_text("ignored")
    (data / "train" / "sit").mkdir()
    report = examine(data)
    assert report.ok  # all of it can be trained on
    found = {
        code: sorted(Path(line.partition(": ")[0]).name for line in lines) for code, lines in by_code(report).items()
    }
    assert found == {
        "ignored": ["notes.txt"],
        "empty-class": ["sit"],
        "too-short": ["short.mp4"],
        "tiny": ["tiny.mp4"],
        "stretched": ["tiny.mp4"],
        "odd-size": ["large.mp4", "tiny.mp4"],
        "odd-rate": ["fast.mp4", "slow.mp4"],
        "blank": ["black.mp4"],
    }
    assert "short.mp4: 5 frames" in by_code(report)["too-short"][0]
    assert "too-short" not in by_code(examine(data, frames=5))
    assert "blank" not in by_code(examine(data, deep=False))


def pictures(folder: Path, names: list[str], film: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for name, picture in zip(names, film, strict=False):
        Image.fromarray(picture).save(folder / name)


def test_folders_of_frames_with_other_pictures_or_gaps(tmp_path: Path) -> None:
    data = healthy(tmp_path / "data")
    run = data / "train" / "run"
    film = scene(70, frames=40)
    numbers = [f"{i:05d}" for i in range(1, 21)]
    pictures(run / "flow", [f"{kind}_{n}.jpg" for n in numbers for kind in ("img", "flow_x")], film)
    pictures(run / "gap", [f"{n}.png" for n in numbers if n not in ("00005", "00017", "00018")], scene(71, frames=20))
    pictures(run / "two", [f"{n}.{suffix}" for n in numbers for suffix in ("jpg", "png")], film)
    report = examine(data)
    found = by_code(report)
    assert found["frames-left-out"] == [
        f"{run / 'flow'}: 20 pictures (flow_x_00001.jpg, flow_x_00002.jpg, flow_x_00003.jpg, …) beside 20 frames"
    ]
    assert found["missing-frames"] == [f"{run / 'gap'}: 5, 17 to 18 missing between 00001.png and 00020.png"]
    (unreadable,) = found["unreadable"]
    assert "00001.jpg and 00001.png" in unreadable


def test_copies(tmp_path: Path) -> None:
    data = healthy(tmp_path / "data")
    shutil.copy(data / "train/walk/00.mp4", data / "test/walk/copy.mp4")
    shutil.copy(data / "train/walk/01.mp4", data / "train/walk/again.mp4")
    shutil.copy(data / "train/walk/02.mp4", data / "train/run/other.mp4")
    report = examine(data)
    found = by_code(report)
    assert set(found) == {"identical-across-splits", "identical-in-split", "identical-with-other-label"}
    across, within, torn = (found[code] for code in sorted(found))
    assert len(across) == len(within) == len(torn) == 1
    assert "copy.mp4 (test)" in across[0]
    assert "00.mp4 (train)" in across[0]
    assert "again.mp4" in within[0]
    assert torn[0].endswith("run or walk")
    assert [f.code for f in report.errors] == ["identical-across-splits", "identical-with-other-label"]


def test_near_identical_files_across_splits(tmp_path: Path) -> None:
    data = healthy(tmp_path / "data")
    film = scene(0)  # is train/walk/00.mp4
    write(data / "test/walk/coarse.mp4", film, crf=38)
    write(data / "test/run/large.mp4", scene(0, size=(160, 120)), rate=20)
    write(data / "train/walk/coarse.mp4", film, crf=35)  # in the same split: not looked for
    write(data / "test/walk/reversed.mp4", film[::-1])
    write(data / "test/walk/elsewhere.mp4", scene(7, background=0))  # the same camera, another action
    report = examine(data)
    assert report.ok
    found = by_code(report)
    assert set(found) == {"near-identical", "same-scene"}
    pairs = [
        {Path(part.split(" (")[0]).relative_to(data).as_posix() for part in line.split(" ~ ")}
        for line in found["near-identical"]
    ]
    originals, copies = ("train/walk/00.mp4", "train/walk/coarse.mp4"), ("test/walk/coarse.mp4", "test/run/large.mp4")
    assert sorted(map(sorted, pairs)) == sorted(sorted((a, b)) for a in originals for b in copies)
    scenes = sorted(Path(line.split(" (")[0]).name for line in found["same-scene"])
    assert scenes == ["elsewhere.mp4", "reversed.mp4"]
    assert not by_code(examine(data, deep=False))


# --- report, cache, whole folders


def test_report_for_programs_and_people(tmp_path: Path) -> None:
    data = healthy(tmp_path / "data")
    for i in range(22):
        (data / "train" / "walk" / f"bad [{i:02}].mp4").write_bytes(b"")
    report = examine(data)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["ok"] is False
    assert plain["splits"]["test"]["samples"] == 6
    assert len(plain["findings"][0]["paths"]) == 22
    Console(width=400, file=(out := io.StringIO())).print(report.render())
    page = out.getvalue()
    assert "bad [19].mp4" in page
    assert "bad [20].mp4" not in page
    assert f"and 2 more: kinema data doctor {data} --json lists all" in page
    assert "Outputs by name: 0 is 'run', 1 is 'walk'." in page
    assert "1 error, 0 warnings" in page
    assert "22 of 34 files cannot be read" in page
    assert "0.1 min" in page


def test_the_second_examination_reads_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = healthy(tmp_path / "data")
    (data / "train" / "walk" / "bad.mp4").write_bytes(b"no")
    first = examine(data, workers=0)
    probed, looked = [], []
    probe, look = index.probe, duplicates.look
    monkeypatch.setattr(index, "probe", lambda path: probed.append(Path(path).name) or probe(path))
    monkeypatch.setattr(doctor, "look", lambda path: looked.append(Path(path).name) or look(path))
    assert examine(data, workers=0) == first
    assert not probed
    assert not looked
    write(data / "test" / "run" / "30.mp4", scene(60, frames=12))  # changed
    write(data / "test" / "run" / "new.mp4", scene(61))
    assert examine(data, workers=0).splits["test"].samples == 7
    assert sorted(probed) == sorted(looked) == ["30.mp4", "new.mp4"]


@pytest.mark.parametrize("damage", [b"", b"not json\n", b'{"format": 0, "entries": 0}\n', b"\xff\xfe", None])
def test_a_damaged_cache_is_built_anew(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    data = healthy(tmp_path / "data")
    first = examine(data, workers=0)
    for file in cache.rglob("*.jsonl"):
        text = file.read_bytes()
        file.write_bytes(text[: len(text) * 2 // 3] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        assert examine(data, workers=0) == first
    assert sum("built again" in r.message for r in caplog.records) == 2  # probes and looks
    caplog.clear()
    assert examine(data, workers=0) == first
    assert not caplog.records


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = healthy(tmp_path / "data")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "file"))
    assert examine(data).ok
    assert any("cannot be written" in r.message for r in caplog.records)


def test_names_that_are_no_utf8_can_be_reported(tmp_path: Path) -> None:
    data = healthy(tmp_path / "data")
    name = os.fsdecode(b"caf\xe9.mp4")
    (data / "train" / "walk" / name).write_bytes(b"")
    report = examine(data)
    assert Path(by_code(report)["unreadable"][0].partition(": ")[0]).name == name
    json.dumps(report.to_dict()).encode()
    Console(width=400, file=(out := io.StringIO())).print(report.render())
    assert printable(name) in out.getvalue()


def test_missing_files_are_one_finding(tmp_path: Path) -> None:
    healthy(tmp_path)
    rows = "train/walk/00.mp4,walk\ntrain/run/10.mp4,run\ngone.mp4,run\ntrain/walk/01.mp4,walk\ntrain/run/11.mp4,run\n"
    (tmp_path / "m.csv").write_text("path,label\n" + rows)
    report = examine(tmp_path / "m.csv")
    assert {f.code: [Path(p).name for p in f.paths] for f in report.findings} == {"no-file": ["gone.mp4"]}
    assert report.held_out
    with pytest.raises(KinemaError, match="no folder or CSV"):
        examine(tmp_path / "nowhere")


@pytest.mark.skipif(not REAL.is_dir(), reason="real clips are not there")
def test_real_fights() -> None:
    report = examine(REAL / "fights" / "split.csv")
    assert report.ok
    assert (report.splits["train"].samples, report.splits["test"].samples) == (211, 89)
    assert not {"unreadable", "near-identical", "identical-across-splits"} & set(by_code(report))


@pytest.mark.skipif(not REAL.is_dir(), reason="real clips are not there")
def test_real_fights_that_one_camera_took_are_found_where_the_folders_alone_decide() -> None:
    report = examine(REAL / "fights")
    (scenes,) = (f for f in report.findings if f.code == "same-scene")
    assert scenes.message.startswith("26 of 60 videos outside train show a scene that another split also shows")
    with (REAL / "fights" / "split.csv").open(newline="") as file:
        source = {Path(row["path"]).name: row["source"] for row in csv.DictReader(file)}
    for line in scenes.paths:
        one, other = (Path(part.rpartition(" (")[0]).name for part in line.split(" ~ "))
        assert source[one] == source[other]
