from __future__ import annotations

import csv
import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from data.odd_videos import write_odd
from data.plain_videos import write_video
from PIL import Image

from kinema import ClipSpec
from kinema.data.datasets import Failure, TestVideos
from kinema.data.manifest import data_root, read_manifest
from kinema.data.packing import pack as packing
from kinema.data.packing.pack import Packed, pack
from kinema.data.video import open_video
from kinema.errors import KinemaError, RunError, UnreadableVideo


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV with awkward names, parts of one video, a folder of frames, and three videos that cannot be read."""
    folder = tmp_path_factory.mktemp("some data")
    write_video(folder / "walk, slow.mp4", size=(128, 96))
    write_video(folder / "größe.avi", "mpeg4", frames=10)
    (folder / "pictures").mkdir()
    for i in range(6):
        Image.new("RGB", (40, 30), (40 * i, 90, 20)).save(folder / "pictures" / f"{i}.jpg")
    for kind in ("cut_off", "text"):
        write_odd(kind, folder)
    rows = [
        ("walk, slow.mp4", "left", "train", "0", "0.7"),
        ("walk, slow.mp4", "right", "test", "0.7", ""),
        ("größe.avi", "left", "train", "", ""),
        ("pictures", "right", "train", "", ""),
        ("cut_off.mp4", "left", "test", "", "0.2"),
        ("text.mp4", "right", "test", "", ""),
        ("gone.mp4", "left", "test", "", ""),
    ]
    with (folder / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split", "start", "end"), *rows])
    (folder / "flip_map.json").write_text('{"left": "right"}')
    (folder / "labels.txt").write_text("stand\nright\nleft\n")
    return folder / "list.csv"


@pytest.fixture(scope="module")
def packed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return pack(data, tmp_path_factory.mktemp("packed"), short_side=48, workers=1)


def snapshot(out: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p.relative_to(out)): (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file()}


def test_the_manifest_means_the_same(data: Path, packed: Packed) -> None:
    old, new = read_manifest(data, check=False), read_manifest(packed.out, check=False)
    assert new.labels == old.labels == ("stand", "right", "left")
    assert new.flip_map == {"left": "right", "right": "left"}
    for a, b in zip(old.samples, new.samples, strict=True):
        assert (b.label, b.split, b.start, b.end) == (a.label, a.split, a.start, a.end)
    with (packed.out / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["packed_from"] for row in rows] == [Path(s.path).name for s in old.samples]
    assert [row["path"] for row in rows[:2]] == ["0000/0000000.mp4"] * 2  # one file, two parts of it


def test_every_video_that_can_be_read_is_packed(data: Path, packed: Packed) -> None:
    assert (packed.videos, packed.written, packed.kept) == (6, 3, 0)
    old, new = read_manifest(data, check=False), read_manifest(packed.out, check=False)
    for a, b in list(zip(old.samples, new.samples, strict=True))[:4]:
        with open_video(a.path) as source, open_video(b.path) as small:
            assert len(small) == len(source)
            np.testing.assert_allclose(small.times, source.times, atol=2e-5)
            assert min(small.info.width, small.info.height) == min(48, source.info.height)
    assert packed.size_after == sum(p.stat().st_size for p in (packed.out / "0000").glob("000000[012].mp4"))


def test_unreadable_ones_are_named_and_stay_what_they_were(data: Path, packed: Packed) -> None:
    with (packed.out / "ledger.csv").open(encoding="utf-8", newline="") as file:
        ledger = {row["path"]: row["error"] for row in csv.DictReader(file)}
    assert list(ledger) == ["cut_off.mp4", "text.mp4", "gone.mp4"]
    assert "truncated" in ledger["cut_off.mp4"]
    assert ledger["gone.mp4"] == "there is no such file"
    spec = ClipSpec(frames=2, short_side=32, crop=32)
    items = []
    for manifest in (read_manifest(data, check=False), read_manifest(packed.out, check=False)):
        clips = TestVideos(manifest.split("test"), manifest.labels, spec)
        items.append([clips[i] for i in range(len(clips))])
    for before, after in zip(*items, strict=True):  # the half that is sound still gives a clip
        assert isinstance(before, Failure) == isinstance(after, Failure)
        if isinstance(before, Failure) and isinstance(after, Failure):
            assert before.reason == after.reason
    assert [isinstance(item, Failure) for item in items[1]] == [False, False, True, True]


def test_the_same_call_again_changes_nothing(data: Path, packed: Packed) -> None:
    videos = {k: v for k, v in snapshot(packed.out).items() if "/" in k and k < "0000/0000003"}
    again = pack(data, packed.out, short_side=48, workers=1)
    assert (again.written, again.kept, again.failures) == (0, 3, packed.failures)
    assert {k: v for k, v in snapshot(packed.out).items() if k in videos} == videos


def test_an_interrupted_packing_goes_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pack(data, tmp_path / "whole", short_side=48, workers=1)
    real, calls = packing.reencode, []

    def dies_at_the_second(source: str, *args: object, **options: object) -> object:
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(source, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(packing, "reencode", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        pack(data, tmp_path / "part", short_side=48, workers=1)
    assert not (tmp_path / "part" / "manifest.csv").exists()  # nobody can take it for finished
    with (tmp_path / "part" / "packed.jsonl").open("a") as file:
        file.write('{"source": "gr')  # as a kill in the middle of a line leaves it
    (tmp_path / "part" / "0000" / ".0000001.mp4.x.part").write_bytes(b"half")
    done = pack(data, tmp_path / "part", short_side=48, workers=1)
    assert calls.count(calls[0]) == 1  # the finished one was not made again
    assert not list((tmp_path / "part").rglob("*.part"))
    assert (done.written, done.kept) == (2, 1)
    for name in ("manifest.csv", "ledger.csv", "flip_map.json", "0000/0000001.mp4"):
        assert (tmp_path / "part" / name).read_bytes() == (whole.out / name).read_bytes()


def test_changed_and_new_videos_are_taken_up(tmp_path: Path) -> None:
    source = tmp_path / "data"
    for label, frames in (("a", 8), ("b", 9), ("c", 10)):
        (source / label).mkdir(parents=True)
        write_video(source / label / "v.mp4", frames=frames)
    first = pack(source, tmp_path / "out", workers=1)
    assert (first.written, first.failures) == (3, ())
    assert first.remarks  # that a fifth was held out
    (source / "b" / "v.mp4").write_bytes(b"")
    shutil.rmtree(source / "a")
    write_video(source / "c" / "w.mp4", frames=12)
    second = pack(source, tmp_path / "out", workers=1)
    assert (second.videos, second.written, second.kept, len(second.failures)) == (3, 1, 1, 1)
    frames: dict[str, list[int | str]] = {}
    for sample in read_manifest(tmp_path / "out").samples:
        try:
            with open_video(sample.path) as video:
                frames.setdefault(sample.label, []).append(len(video))
        except UnreadableVideo as error:
            frames[sample.label] = [error.reason]
    assert sorted(frames.pop("c")) == [10, 12]
    assert list(frames) == ["b"]
    assert "0 bytes" in frames["b"][0]


def test_a_held_out_fifth_stays_the_same_fifth(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(6):
            write_video(tmp_path / "data" / label / f"{i}.mp4", frames=3)
    pack(tmp_path / "data", tmp_path / "out", workers=1)
    old, new = read_manifest(tmp_path / "data"), read_manifest(tmp_path / "out")
    assert old.held_out
    assert not new.held_out
    with (tmp_path / "out" / "manifest.csv").open(newline="") as file:
        there = {row["packed_from"]: row["split"] for row in csv.DictReader(file)}
    root = data_root(old.source)
    assert there == {Path(s.path).relative_to(root).as_posix(): s.split for s in old.samples}


def test_processes_give_the_same_bytes(data: Path, packed: Packed, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    other = pack(data, tmp_path, short_side=48, workers=2, progress=lambda *at: seen.append(at))
    assert seen == [(i, 6) for i in range(1, 7)]
    assert other.failures == packed.failures
    for name in ("manifest.csv", "0000/0000000.mp4", "0000/0000002.mp4"):
        assert (other.out / name).read_bytes() == (packed.out / name).read_bytes()


def test_a_thousand_videos_a_folder(monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(packing, "SHARD", 2)
    pack(data, tmp_path, short_side=16, workers=1)
    paths = [Path(s.path).relative_to(tmp_path).as_posix() for s in read_manifest(tmp_path, check=False).samples]
    assert paths[1:4] == ["0000/0000000.mp4", "0000/0000001.mp4", "0001/0000002.mp4"]


def test_nonsense_is_refused(data: Path, packed: Packed, tmp_path: Path) -> None:
    for options, sentence in (
        ({"short_side": 255}, "even number"),
        ({"short_side": 0}, "even number"),
        ({"gop": 0}, "at least 1"),
        ({"workers": 0}, "at least 1"),
    ):
        with pytest.raises(KinemaError, match=sentence):
            pack(data, tmp_path / "new", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()
    with pytest.raises(KinemaError, match="packed with short_side 48 and gop 12; give another folder"):
        pack(data, packed.out, gop=6)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(KinemaError, match="contains other files"):
        pack(data, tmp_path / "other")
    with pytest.raises(KinemaError, match="is a file"):
        pack(data, tmp_path / "other" / "file")
    with pytest.raises(KinemaError, match="no folder or CSV"):
        pack(tmp_path / "nowhere", tmp_path / "new")
    shutil.copytree(packed.out / "0000", tmp_path / "classes" / "a")
    with pytest.raises(KinemaError, match="is inside the data"):
        pack(tmp_path / "classes", tmp_path / "classes" / "packed")


def test_a_killed_process_is_one_sentence(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying(ProcessPoolExecutor):
        def submit(self, *args: object) -> NoReturn:  # type: ignore[override]
            raise BrokenProcessPool("a child process terminated abruptly")

    monkeypatch.setattr(packing, "ProcessPoolExecutor", Dying)
    with pytest.raises(RunError, match="was killed"):
        pack(data, tmp_path, workers=2)


def test_the_parameters_are_written_down(packed: Packed, data: Path) -> None:
    there = json.loads((packed.out / "pack.json").read_text())
    assert there == {"format": 1, "short_side": 48, "gop": 12, "data": str(data.parent), "shards": False}
