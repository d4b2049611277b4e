"""The eight data sets in the forms in which people have them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from miniatures import CLASSES, lay_out, stub, write

from kinema.data.labels import read_labels
from kinema.data.manifest import Sample, read_manifest, survey
from kinema.errors import KinemaError

VAL = {"ucf101": "test", "hmdb51": "test"}  # the others have val


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_data_set_as_it_is_unpacked(name: str, tmp_path: Path) -> None:
    manifest = read_manifest(lay_out(name, tmp_path / name))
    assert manifest.labels == read_labels(name)  # in the order of public checkpoints, however few are there
    assert manifest.splits == ("train", VAL.get(name, "val"))
    for k, label in enumerate(CLASSES[name]):
        of_class = [s for s in manifest.samples if s.label == label]
        assert [s.split for s in of_class] == ["train", "train", VAL.get(name, "val")], k
        assert all(Path(s.path).exists() for s in of_class)
        assert len({s.path for s in of_class}) == 3
    assert len(manifest.samples) == 6
    assert [(s.start, s.end) for s in manifest.samples] == [(0.1, 0.8) if name == "hacs" else (None, None)] * 6
    assert manifest.absent == {}
    assert len(manifest.remarks) == 1
    assert f"{len(manifest.labels) - 2} of the {len(manifest.labels)} classes have no video" in manifest.remarks[0]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_frames_instead_of_files(name: str, tmp_path: Path) -> None:
    def frames(path: Path, kind: int, number: int) -> None:
        stub(path.with_suffix("") if path.suffix else path, kind, number)

    manifest = read_manifest(lay_out(name, tmp_path, frames))
    assert len(manifest.samples) == 6
    assert all(Path(s.path).is_dir() for s in manifest.samples)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_videos_that_are_gone(name: str, tmp_path: Path) -> None:
    data = lay_out(name, tmp_path)
    first = read_manifest(data).samples[0]
    if Path(first.path).is_dir():
        shutil.rmtree(first.path)
    else:
        Path(first.path).unlink()
    found = survey(data)
    if name in ("ucf101", "hmdb51"):
        with pytest.raises(KinemaError, match=r"list 1 video that is not in .*\(.*\): download what is missing"):
            read_manifest(data)
        (error,) = (f for f in found.findings if f.severity == "error")
        assert error.code == "no-file"
        assert len(found.manifest.samples) == 6  # a test counts what it cannot read
        assert error.paths == (found.manifest.samples[0].path,)
        assert not Path(error.paths[0]).exists()
        assert len(read_manifest(data, check=False).samples) == 6
        assert read_manifest(data, check=False).absent == {}
    else:
        manifest = read_manifest(data)
        assert len(manifest.samples) == 5
        assert any("1 of the 4 train videos" in remark and "are left out" in remark for remark in manifest.remarks)
        (absent,) = (f for f in found.findings if f.code == "absent")
        assert len(absent.paths) == 1
        assert absent.paths[0].endswith("(train)")
        named = {"train": (absent.paths[0].removesuffix(" (train)"),)}
        assert manifest.absent == manifest.split("train").absent == named
        assert manifest.all_absent == named["train"]
        assert manifest.split("val").absent == {}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_no_video_at_all(name: str, tmp_path: Path) -> None:
    data = lay_out(name, tmp_path, lambda path, kind, number: None)
    with pytest.raises(KinemaError, match="contains none of the 6 videos"):
        read_manifest(data)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_annotation_files_that_are_missing(name: str, tmp_path: Path) -> None:
    data = lay_out(name, tmp_path)
    for file in [*tmp_path.rglob("*.csv"), *tmp_path.rglob("*.json"), *tmp_path.rglob("*.txt")]:
        file.unlink()
    with pytest.raises(KinemaError, match=f"{tmp_path} has no annotation file .*: put it there, or into"):
        read_manifest(data)


def test_the_official_splits(tmp_path: Path) -> None:
    lay_out("ucf101", tmp_path / "u")
    moved = (tmp_path / "u/ucfTrainTestlist/testlist02.txt").read_text().splitlines()
    (tmp_path / "u/ucfTrainTestlist/testlist02.txt").write_text(moved[0])
    assert len(read_manifest(f"ucf101/2:{tmp_path}/u").split("test").samples) == 1
    assert len(read_manifest(f"ucf101/3:{tmp_path}/u").split("test").samples) == 2
    lay_out("hmdb51", tmp_path / "h")
    write(tmp_path / "h/testTrainMulti_7030_splits/wave_test_split2.txt", "#0_It's_wave!_u_cm.avi 2 \n")
    assert len(read_manifest(f"hmdb51/2:{tmp_path}/h").samples) == 4
    assert len(read_manifest(f"hmdb51:{tmp_path}/h").samples) == 6


@pytest.mark.parametrize(
    "path",
    ["k/train/riding_a_bike/{0}.mp4", "k/{0}.webm", "a/b/train_256/riding a bike/{0}_000003_000013.mp4", "{0}.mkv"],
)
def test_forms_of_kinetics(path: str, tmp_path: Path) -> None:
    stub(tmp_path / path.format("-_aBc"), 0, 0)
    write(tmp_path / "kinetics-400_train.csv", "label,youtube_id,time_start,time_end,split,is_cc\n"
          "riding a bike,-_aBc,3,13,train,0\nriding a bike,-_abc,3.0,13.0,train,0\n")  # fmt: skip
    found = survey(f"kinetics400:{tmp_path}")
    assert [s.path for s in found.manifest.samples] == [str(tmp_path / path.format("-_aBc"))]
    codes = {f.code: f for f in found.findings}
    assert codes.keys() == {"no-annotation", "absent", "empty-classes"}
    assert codes["absent"].paths == ("riding a bike/-_abc_000003_000013 (train)",)
    assert "no annotation file val.csv" in codes["no-annotation"].message


def test_kinetics_labels_of_ones_own(tmp_path: Path) -> None:
    stub(tmp_path / "a.mp4", 0, 0)
    write(tmp_path / "val.csv", "label,youtube_id,time_start,time_end\njumping jack,a,0,9\n")
    with pytest.raises(
        KinemaError, match=r"val.csv line 2: unknown label 'jumping jack'.*kinema's list of kinetics700"
    ):
        read_manifest(f"kinetics700:{tmp_path}")
    write(tmp_path / "labels.txt", "jumping jack\nrunning on treadmill\n")
    manifest = read_manifest(f"kinetics700:{tmp_path}")
    assert manifest.labels == ("jumping jack", "running on treadmill")
    assert any("public checkpoints" in remark for remark in manifest.remarks)


def test_forms_of_hacs(tmp_path: Path) -> None:
    rows = ["Archery,x,training,1.5,3.5,1", "Archery,y,training,0.0,2.0,1", "Zumba,x,validation,4.0,6.0,1"]
    write(tmp_path / "HACS_clips_v1.1.1.csv", "\n".join(["classname,youtube_id,subset,start,end,label", *rows]))
    stub(tmp_path / "Archery/x_1.5_3.5.mp4", 0, 0)  # cut already
    stub(tmp_path / "Archery/v_y.mp4", 0, 0)
    stub(tmp_path / "Zumba/x.mp4", 0, 0)
    assert read_manifest(f"hacs:{tmp_path}").samples == (
        Sample(f"{tmp_path}/Archery/x_1.5_3.5.mp4", "Archery", "train"),
        Sample(f"{tmp_path}/Archery/v_y.mp4", "Archery", "train", 0.0, 2.0),
        Sample(f"{tmp_path}/Zumba/x.mp4", "Zumba", "val", 4.0, 6.0),
    )


def test_segments_of_hacs(tmp_path: Path) -> None:
    video = {"subset": "training", "annotations": [{"label": "Tango", "segment": [1, 4.5]}], "duration": "9"}
    write(tmp_path / "HACS_segments_v1.1.1.json", json.dumps({"database": {"x": video}}))
    stub(tmp_path / "Tango/v_x.mp4", 0, 0)
    assert read_manifest(f"hacs:{tmp_path}").samples == (
        Sample(f"{tmp_path}/Tango/v_x.mp4", "Tango", "train", 1.0, 4.5),
    )


def test_categories_of_moments(tmp_path: Path) -> None:
    data = lay_out("moments_in_time", tmp_path)
    write(tmp_path / "moments_categories.txt", "playing+fun,0\nclapping,1\n")
    manifest = read_manifest(data)
    assert manifest.labels == ("playing+fun", "clapping")
    assert any("moments_categories.txt has other labels" in remark for remark in manifest.remarks)


def test_something_in_the_newer_archive(tmp_path: Path) -> None:
    data = lay_out("something_v2", tmp_path)
    for word in ("train", "validation"):
        (tmp_path / f"labels/something-something-v2-{word}.json").rename(tmp_path / f"labels/{word}.json")
    numbers = {label: str(i) for i, label in enumerate(read_labels("something_v2"))}
    write(tmp_path / "labels/labels.json", json.dumps(numbers))
    manifest = read_manifest(data)
    assert manifest.labels == read_labels("something_v2")
    left, right = CLASSES["something_v2"]
    assert manifest.flip_map[left] == right
    assert manifest.flip_map[right] == left
    assert len(manifest.flip_map) == 6


def test_a_flip_map_of_ones_own_goes_before(tmp_path: Path) -> None:
    data = lay_out("something_v1", tmp_path)
    write(tmp_path / "flip_map.json", json.dumps({"Holding something": "Squeezing something"}))
    assert len(read_manifest(data).flip_map) == 2
    write(tmp_path / "flip_map.json", json.dumps({"Holding somethin": "Squeezing something"}))
    with pytest.raises(KinemaError, match="did you mean 'Holding something'"):
        read_manifest(data)


def test_videos_that_lie_there_twice(tmp_path: Path) -> None:
    data = lay_out("ucf101", tmp_path)
    before = read_manifest(data).samples
    shutil.copytree(tmp_path / "UCF-101", tmp_path / "videos")
    manifest = read_manifest(data)
    assert manifest.samples == before
    assert any("6 videos lie in" in remark and "more than once" in remark for remark in manifest.remarks)
