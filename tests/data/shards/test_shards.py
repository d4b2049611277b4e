"""Shards hold what the files hold, go on after a kill, and lose to damage only what is damaged."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from data.plain_videos import write_video
from data.shards.moving import to_be_sharded
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kinema import ClipSpec
from kinema.data.datasets import Failure, TestVideos, TrainClips
from kinema.data.doctor.examine import examine
from kinema.data.loading.loader import Loader
from kinema.data.manifest import read_manifest, survey
from kinema.data.packing import shards as writing
from kinema.data.packing.pack import pack
from kinema.data.shards.reader import read_member
from kinema.data.transforms import Augment
from kinema.data.video import open_video
from kinema.errors import KinemaError, RunError, UnreadableVideo
from kinema.processes import Rank
from kinema.training.config import TrainConfig
from kinema.training.loading import Batches
from kinema.training.multigrid import Multigrid, all_steps

SPEC = ClipSpec(frames=2, short_side=36, crop=32)
VIDEOS = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of six videos in two classes, two parts of one of them, and a text that is no video."""
    folder = tmp_path_factory.mktemp("data")
    rows = ["path,label,split,start,end"]
    for i in range(VIDEOS):
        write_video(folder / f"clip {i}.mp4", frames=8 + i, size=(64, 48))
        rows.append(f"clip {i}.mp4,{'ab'[i % 2]},{'train' if i < 4 else 'test'},,")
    rows += ["clip 0.mp4,a,train,0.1,0.3", "text.mp4,b,test,,"]
    (folder / "text.mp4").write_text("no video\n" * 300)
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return folder / "list.csv"


@pytest.fixture(scope="module")
def files(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(data, tmp_path_factory.mktemp("files"), short_side=40, workers=1).out


@pytest.fixture(scope="module")
def whole(data: Path, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = to_be_sharded(files, tmp_path_factory.mktemp("shards") / "out")
    return pack(data, out, short_side=40, shards=True, workers=1).out


@pytest.fixture
def shards(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "shards"))


def content(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name[0] != "."}


def index(shards: Path) -> dict[str, Any]:
    return json.loads((shards / "0000.index.json").read_text())  # type: ignore[no-any-return]


def reasons(place: Path | str) -> list[str]:
    """Of every row of the manifest why it cannot be read; empty where it can."""
    manifest = read_manifest(place, check=False)
    views = TestVideos(manifest, manifest.labels, SPEC)
    items = [views[i] for i in range(len(views))]
    return [item.reason if isinstance(item, Failure) else "" for item in items]


def test_a_shard_holds_the_same_frames_as_the_files(files: Path, whole: Path) -> None:
    assert sorted(content(whole)) == sorted(
        ["0000.tar", "0000.index.json", "manifest.csv", "labels.txt", "flip_map.json", "ledger.csv", "pack.json",
         "packed.jsonl"]
    )  # fmt: skip
    ours, theirs = read_manifest(whole), read_manifest(files)
    assert len(ours.samples) == len(theirs.samples) == VIDEOS + 2
    assert ours.labels == theirs.labels
    for a, b in zip(ours.samples[:-1], theirs.samples[:-1], strict=True):
        assert (a.label, a.split, a.start, a.end) == (b.label, b.split, b.start, b.end)
        with open_video(a.path) as sharded, open_video(b.path) as file:
            assert sharded.info.frames == file.info.frames
            assert torch.equal(sharded.read(range(len(sharded))), file.read(range(len(file))))
    with pytest.raises(UnreadableVideo) as of_file:
        open_video(theirs.samples[-1].path)
    with pytest.raises(UnreadableVideo, match=r"0000\.tar#0000006\.mp4: ") as of_sample:
        open_video(ours.samples[-1].path)
    assert of_sample.value.reason == of_file.value.reason


def test_webdataset_reads_the_shards(whole: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    found = list(webdataset.WebDataset(str(whole / "0000.tar"), shardshuffle=False))
    manifest = read_manifest(whole)
    assert [sample["__key__"] for sample in found] == [f"{i:07d}" for i in range(VIDEOS + 1)]
    for sample, row in zip(found[:VIDEOS], manifest.samples[:VIDEOS], strict=True):
        told = json.loads(sample["json"])
        assert manifest.labels[int(sample["cls"])] == told["rows"][0]["label"] == row.label
        assert sample["mp4"] == read_member(row.path)
    assert json.loads(found[0]["json"])["packed_from"] == "clip 0.mp4"
    assert len(json.loads(found[0]["json"])["rows"]) == 2


def test_the_same_call_again_gives_the_same_bytes(data: Path, shards: Path) -> None:
    before = content(shards)
    again = pack(data, shards, short_side=40, shards=True, workers=1)
    assert (again.written, again.kept) == (0, VIDEOS)
    assert content(shards) == before
    with pytest.raises(KinemaError, match="packed with shards True"):
        pack(data, shards, short_side=40, workers=1)


@pytest.mark.parametrize("step", ["write_index", "replace_file", "rmtree"])
def test_a_killed_packing_goes_on(
    step: str, data: Path, files: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = to_be_sharded(files, tmp_path / "out")

    def dies(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing.shutil if step == "rmtree" else writing, step, dies)
        with pytest.raises(KeyboardInterrupt):
            pack(data, out, short_side=40, shards=True, workers=1)
    done = pack(data, out, short_side=40, shards=True, workers=1)
    assert (done.written, done.kept) == (0, VIDEOS)
    assert content(out) == content(whole)


def test_changed_new_and_removed_videos_are_taken_up(tmp_path: Path) -> None:
    for label, frames in (("a", 8), ("b", 9), ("c", 10)):
        write_video_in(tmp_path / "data" / label / "v.mp4", frames)
    pack(tmp_path / "data", tmp_path / "out", shards=True, workers=1)
    write_video_in(tmp_path / "data" / "b" / "v.mp4", 13)
    shutil.rmtree(tmp_path / "data" / "c")
    write_video_in(tmp_path / "data" / "d" / "v.mp4", 11)
    done = pack(tmp_path / "data", tmp_path / "out", shards=True, workers=1)
    assert (done.written, done.kept) == (2, 1)
    lengths = {}
    for sample in read_manifest(tmp_path / "out").samples:
        with open_video(sample.path) as video:
            lengths[sample.label] = len(video)
    assert lengths == {"a": 8, "b": 13, "d": 11}
    assert len(index(tmp_path / "out")["samples"]) == 3


def test_a_damaged_shard_that_must_be_written_anew_is_named(data: Path, shards: Path) -> None:
    flip(shards, index(shards)["samples"][1]["offset"] + 500)
    with pytest.raises(KinemaError, match=r"0000\.tar: 0000001\.mp4 in it is damaged; remove this file"):
        pack(data, shards, short_side=40, shards=True, workers=1)
    (shards / "0000.tar").unlink()
    pack(data, shards, short_side=40, shards=True, workers=1)
    assert [bool(reason) for reason in reasons(shards)] == [False] * 7 + [True]


def write_video_in(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    write_video(path, frames=frames, size=(64, 48))


def flip(shards: Path, at: int) -> None:
    with (shards / "0000.tar").open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 255]))


def test_damage_costs_the_damaged_sample_only(shards: Path) -> None:
    second = index(shards)["samples"][1]
    flip(shards, second["offset"] + second["size"] // 2)
    found = reasons(shards)
    assert [bool(reason) for reason in found] == [False, True, *[False] * 5, True]
    assert "SHA-256" in found[1]


def test_a_truncated_shard_costs_the_samples_that_are_lost(shards: Path) -> None:
    fifth = index(shards)["samples"][4]
    tar = shards / "0000.tar"
    tar.write_bytes(tar.read_bytes()[: fifth["offset"] + 100])
    found = reasons(shards)
    assert [bool(reason) for reason in found] == [False] * 4 + [True] * 2 + [False, True]
    assert "truncated (100 of the sample's" in found[4]
    (warned,) = [f for f in survey(shards).findings if f.code == "torn-shard"]
    assert "0000.tar" in warned.message
    assert "3 samples cannot be read" in warned.message
    assert any("truncated" in remark for remark in read_manifest(shards).remarks)
    unreadable = [f for f in examine(shards, deep=False, workers=0).findings if f.code == "unreadable"]
    assert len(unreadable[0].paths) == 3


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def apply(shards: Path) -> None:
        found = index(shards)
        change(found)
        (shards / "0000.index.json").write_text(json.dumps(found))

    return apply


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda shards: (shards / "0000.index.json").unlink(), "index of a shard is missing"),
        (lambda shards: (shards / "0000.index.json").write_text("{"), "not the index of a shard"),
        (lambda shards: (shards / "0000.index.json").write_bytes(b"\xff\xfe\0"), "not the index of a shard"),
        (lambda shards: (shards / "0000.index.json").write_text("[]"), "not the index of a shard"),
        (lambda shards: (shards / "0000.index.json").write_text("[" * 100_000), "not the index of a shard"),
        (edit(lambda found: found.update(format=7)), "format is 7"),
        (edit(lambda found: found.pop("size")), "size"),
        (edit(lambda found: found["samples"][0].update(offset=-1)), "0000000.mp4"),
        (edit(lambda found: found["samples"][0].update(sha256=None)), "0000000.mp4"),
        (edit(lambda found: found["samples"][0].update(size=10**30)), "0000000.mp4"),
        (edit(lambda found: found.update(size=True)), "size"),
        (lambda shards: (shards / "0000.tar").unlink(), "there is no such file"),
    ],
)
def test_a_shard_that_cannot_be_used_is_named(damage: Callable[[Path], object], named: str, shards: Path) -> None:
    damage(shards)
    with pytest.raises(KinemaError, match=named) as caught:
        read_manifest(shards)
    assert "0000." in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(reasons(shards))  # a run that has begun loses rows and does not end


def test_two_samples_of_one_name_cost_their_rows(shards: Path) -> None:
    edit(lambda found: found["samples"][2].update(name="0000001.mp4"))(shards)
    found = reasons(shards)
    assert "two samples '0000001.mp4'" in found[1]
    assert "no such sample" in found[2]
    assert not any(found[3:7])
    with pytest.raises(KinemaError, match=r"0000002\.mp4"):
        read_manifest(shards)


def test_a_file_that_is_called_like_a_sample_is_a_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.tar#b.mp4", frames=5)
    with open_video(tmp_path / "a.tar#b.mp4") as video:
        assert len(video) == 5


def test_a_sample_needs_no_file_in_memory(whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_video(read_manifest(whole).samples[0].path) as video:
        video.read([0, 7])
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_no_file_stays_open(whole: Path) -> None:
    paths = [sample.path for sample in read_manifest(whole).samples]
    reasons(whole)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in paths * 5:
        try:
            with open_video(path) as video:
                video.read([0])
        except UnreadableVideo:
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def in_memory(shards: Path, name: str) -> str:
    memory = fsspec.filesystem("memory")
    for path, found in content(shards).items():
        memory.pipe_file(f"/{name}/{path}", found)
    return f"memory://{name}"


def test_shards_at_an_address(whole: Path) -> None:
    address = in_memory(whole, "whole")
    here, there = read_manifest(whole), read_manifest(address)
    assert (there.labels, there.flip_map) == (here.labels, here.flip_map)
    assert there.samples[0].path == "memory://whole/0000.tar#0000000.mp4"
    assert reasons(address) == reasons(whole)
    a, b = (TestVideos(m, m.labels, SPEC, 2, 3)[1] for m in (here, there))
    assert isinstance(a, dict)
    assert isinstance(b, dict)
    assert torch.equal(a["views"], b["views"])
    assert [s.path for s in read_manifest(f"{address}/manifest.csv").samples] == [s.path for s in there.samples]
    assert [s.path for s in read_manifest(whole.as_uri()).samples] == [s.path for s in here.samples]
    (unreadable,) = [f for f in examine(address, deep=False, workers=0).findings if f.code == "unreadable"]
    assert len(unreadable.paths) == 1


@pytest.mark.parametrize(
    ("lost", "named"),
    [("manifest.csv", "no manifest.csv"), ("0000.index.json", "index of a shard is missing"), ("0000.tar", "0000.tar")],
)
def test_what_is_missing_at_an_address_is_named(lost: str, named: str, whole: Path) -> None:
    address = in_memory(whole, f"without {lost}")
    fsspec.filesystem("memory").rm(f"/without {lost}/{lost}")
    with pytest.raises(KinemaError, match=named) as caught:
        read_manifest(address)
    assert address in str(caught.value)


def test_an_address_of_files_is_refused(files: Path) -> None:
    with pytest.raises(KinemaError, match="not samples of shards") as caught:
        read_manifest(in_memory(files, "files"))
    assert "memory://files/manifest.csv" in str(caught.value)


def test_a_server_that_sends_whole_files_is_named(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = read_manifest(in_memory(whole, "no ranges")).samples[0].path
    store = type(fsspec.filesystem("memory"))
    cat = store.cat_file
    monkeypatch.setattr(store, "cat_file", lambda self, place, start=None, end=None: cat(self, place))
    with pytest.raises(UnreadableVideo, match="use a server that supports ranges"):
        open_video(path)


def test_facts_name_the_sample(whole: Path) -> None:
    for place in (whole, in_memory(whole, "facts")):
        path = read_manifest(place).samples[0].path
        with open_video(path) as video:
            assert video.info.path == path


@pytest.mark.parametrize("damage", [4, 12, 60, 500, 2000])
@pytest.mark.parametrize("suffix", ["mp4", "webp", "avi"])
def test_a_damaged_sample_fails_for_the_reason_of_the_file(suffix: str, damage: int, tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    file = tmp_path / "data" / "a" / f"v.{suffix}"
    if suffix == "webp":
        pictures = [Image.effect_noise((64, 48), 90).convert("RGB") for _ in range(6)]
        pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=40)
    else:
        write_video(file, frames=12, size=(64, 48))
    file.write_bytes(file.read_bytes()[:damage] + b"damaged" * 200)
    found = []
    for shards in (False, True):
        out = tmp_path / f"out {shards}"
        pack(tmp_path / "data", out, shards=shards, workers=1)
        path = read_manifest(out).samples[0].path
        try:
            with open_video(path) as video:
                found.append((str(len(video)), ""))
                video.read(range(len(video)))
        except UnreadableVideo as error:
            assert error.path == path
            found.append(("", error.reason))
    half = len(found) // 2
    assert found[:half] == found[half:]


def kept(items: list[Any]) -> list[Any]:
    return [
        (i.index, i.reason) if isinstance(i, Failure) else (i["index"], i["label"], i["clip"].clone()) for i in items
    ]


def drawn(place: Path | str, seed: int, epoch: int, step: int, batch: int, readers: int) -> list[Any]:
    """Every clip of an epoch from a step on, in order."""
    manifest = read_manifest(place, check=False)
    clips = TrainClips(manifest, manifest.labels, SPEC, Augment(), seed)
    steps = all_steps(Multigrid(), epochs=3, samples=len(clips), batch=batch, frames=SPEC.frames, crop=SPEC.crop)
    config = TrainConfig(model="tsn_r18", data=str(place), seed=seed)
    batches = Batches(steps, clips.targets, config, Rank(0, 1))
    batches.go_on(epoch, step)
    with Loader(clips, batches, kept, readers=readers, largest=batch) as loader:
        return [item for items in loader for item in items]


def assert_equal(ours: list[Any], theirs: list[Any]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a[:2] == b[:2]
        assert len(a) == 2 or torch.equal(a[2], b[2])


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31), epoch=st.integers(0, 2), step=st.integers(0, VIDEOS + 1),
    readers=st.sampled_from([0, 1, 2]),
)  # fmt: skip
def test_clips_go_on_at_any_sample_as_from_files(
    whole: Path, files: Path, seed: int, epoch: int, step: int, readers: int
) -> None:
    from_files = drawn(files, seed, epoch, 0, 1, 0)
    assert len(from_files) == VIDEOS + 2
    assert_equal(drawn(whole, seed, epoch, step, 1, readers), from_files[step:])


def test_a_full_disk_is_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.tarfile, "open", full)
    with pytest.raises(RunError, match=r"0000\.tar"):
        pack(data, tmp_path / "out", shards=True, workers=1)
    assert not (tmp_path / "out" / "manifest.csv").exists()
    assert not list((tmp_path / "out").rglob("*.part"))
