from __future__ import annotations

from pathlib import Path

import pytest

from kinema.data.manifest import Manifest, Sample, data_place, hold_out, read_manifest, require_trainable, survey
from kinema.errors import KinemaError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def table(folder: Path, text: str, *videos: str, name: str = "data.csv") -> Path:
    touch(folder, *videos)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def refused(data: Path, *parts: str) -> str:
    with pytest.raises(KinemaError) as caught:
        read_manifest(data)
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert "\n" not in message
    return message


# --- CSV


def test_csv_with_all_columns(tmp_path: Path) -> None:
    text = "path,label,split,start,end,pair\na.mp4,walk,train,,,1\nsub/b.mp4, 1 ,test,0.5,2,2\nb.mp4,run,val,1,,3\n"
    manifest = read_manifest(table(tmp_path, text, "a.mp4", "sub/b.mp4", "b.mp4"))
    assert manifest.samples == (
        Sample(str(tmp_path / "a.mp4"), "walk", "train"),
        Sample(str(tmp_path / "sub/b.mp4"), "1", "test", 0.5, 2.0),
        Sample(str(tmp_path / "b.mp4"), "run", "val", 1.0, None),
    )
    assert manifest.labels == ("1", "run", "walk")
    assert manifest.splits == ("train", "val", "test")
    assert not manifest.held_out
    test = manifest.split("test")
    assert [s.label for s in test.samples] == ["1"]
    assert test.labels == manifest.labels  # the numbers of the labels do not depend on the split
    with pytest.raises(KinemaError, match="no split 'dev': its splits are train, val, test"):
        manifest.split("dev")


def test_paths_may_hold_any_character(tmp_path: Path) -> None:
    names = ["a b.mp4", "a,b.mp4", 'say "hi".mp4', "Größe ✓ 動作.mp4", "100%;#&.mp4", " lead.mp4"]
    rows = "".join('"' + name.replace('"', '""') + '",x\n' for name in names)
    file = table(tmp_path, "\ufeffpath,label\r\n" + rows, *names)
    assert [s.path for s in read_manifest(file).samples] == [str(tmp_path / name) for name in names]


def test_absolute_paths_and_manifest_in_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.mp4", "data/walk/b.mp4")
    table(tmp_path / "data", f"path,label,split\n{tmp_path}/elsewhere/a.mp4,x,train\n", name="manifest.csv")
    manifest = read_manifest(tmp_path / "data")
    assert [s.path for s in manifest.samples] == [f"{tmp_path}/elsewhere/a.mp4"]


def test_csv_errors_name_line_and_mend(tmp_path: Path) -> None:
    cases = {
        "file;label\na.mp4;x\n": ["no column 'path'", "it needs path,label"],
        "Path,lable\na.mp4,x\n": ["no column 'path'", "did you mean 'Path'"],
        "path,lable\na.mp4,x\n": ["no column 'label'", "did you mean 'lable'"],
        "": ["no column 'path'", "the file is empty"],
        "path,label\n": ["has no rows"],
        "path,label\na.mp4,x\na.mp4, \n": ["line 3", "the label is empty", "fill it in"],
        "path,label\n,x\n": ["line 2", "the path is empty"],
        "path,label\na,b.mp4,x\n": ["line 2", "3 fields under 2 columns", "quote"],
        "path,label\na.mp4\n": ["line 2", "1 field under 2 columns"],
        "path,label,start,end\na.mp4,x,2,2\n": ["line 2", "start 2 must be before end 2"],
        "path,label,start\na.mp4,x,-1\n": ["line 2", "start is '-1'", "at least 0"],
        "path,label,end\na.mp4,x,soon\n": ["line 2", "end is 'soon'"],
        "path,label,end\na.mp4,x,nan\n": ["line 2", "end is 'nan'"],
        "path,label\na.mp4,x\na.mp4,x\n": ["line 3", "repeats line 2"],
        "path,label\na.mp4,x\na.mp4,y\n": ["line 3", "the label 'y' but 'x' in line 2"],
        "path,label,split\na.mp4,x,train\na.mp4,x,test\n": ["line 3", "split 'test' but in 'train' in line 2"],
        "path,label,split\na.mp4,x,train\nb.mp4,x,\n": ["1 row without a split"],
    }
    for text, parts in cases.items():
        message = refused(table(tmp_path, text, "a.mp4", "b.mp4"), "data.csv", *parts)
        assert message.count("data.csv") <= 2


def test_missing_paths_are_counted_and_the_first_named(tmp_path: Path) -> None:
    rows = "".join(f"{name}.mp4,x\n" for name in "abcde")
    file = table(tmp_path, "path,label\n" + rows, "c.mp4")
    message = refused(file, "4 of 5 paths do not exist", "a.mp4", "b.mp4", "d.mp4", "relative to")
    assert "e.mp4" not in message
    assert len(read_manifest(file, check=False).samples) == 5


def test_survey_lists_every_fault(tmp_path: Path) -> None:
    text = "path,label\na.mp4,x\na.mp4,x\nb.mp4,\ngone.mp4,y\nb.mp4,y\n"
    found = survey(table(tmp_path, text, "a.mp4", "b.mp4"))
    assert {f.code for f in found.findings} == {"duplicate-row", "empty-label", "no-file"}
    assert [Path(s.path).name for s in found.manifest.samples] == ["a.mp4", "gone.mp4", "b.mp4"]
    refused(tmp_path / "data.csv", "and 2 other kinds of error", "kinema data doctor")
    refused(table(tmp_path, "path,label\nb.mp4,\ngone.mp4,y\n", "b.mp4"), "and 1 other kind of error: run kinema")


def test_other_encodings_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("path,label\na.mp4,Größe\n".encode("latin-1"))
    refused(tmp_path / "latin.csv", "latin.csv is not UTF-8", "save it as UTF-8")
    refused(touch(tmp_path, "a.mp4") / "a.mp4", "neither a folder nor a .csv")
    refused(tmp_path / "latn.csv", "no folder or CSV", "did you mean", "latin.csv")
    refused(tmp_path / "no" / "where", "no folder or CSV")


# --- folders


def test_class_folders_with_files_and_picture_sequences(tmp_path: Path) -> None:
    touch(tmp_path, "walk/a.mp4", "walk/b.AVI", "run/seq/0001.jpg", "run/seq/0002.jpg", "run/.a.mp4", ".cache/c.mp4")
    manifest = read_manifest(tmp_path)
    assert [(Path(s.path).relative_to(tmp_path).as_posix(), s.label) for s in manifest.samples] == [
        ("run/seq", "run"),
        ("walk/a.mp4", "walk"),
        ("walk/b.AVI", "walk"),
    ]
    assert manifest.labels == ("run", "walk")
    assert manifest.held_out
    assert any("held out" in remark for remark in manifest.remarks)


def test_split_folders(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{s}/{c}/{s}{c}.mp4" for s in ("train", "test", "speed") for c in ("run", "walk")))
    manifest = read_manifest(tmp_path)
    assert manifest.splits == ("train", "test", "speed")
    assert not manifest.held_out
    assert {(s.split, s.label) for s in manifest.samples} == {
        (s, c) for s in ("train", "test", "speed") for c in ("run", "walk")
    }


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.mp4", "train/seq/1.jpg", "car/b.mp4")
    assert read_manifest(tmp_path).labels == ("car", "train")


def test_folder_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "is empty")
    refused(touch(tmp_path / "flat", "a.mp4", "b.mp4") / "", "2 files without class folders")
    refused(touch(tmp_path / "text", "walk/a.txt", "run/b.txt") / "", "contains no video")
    refused(
        touch(tmp_path / "deep", "fold1/walk/a.mp4", "fold2/walk/b.mp4") / "", "folders with videos inside", "train"
    )
    refused(touch(tmp_path / "part", "walk/a.mp4", "run/more/b.mp4") / "", "'more'", "directly")
    refused(touch(tmp_path / "jpg", "walk/1.jpg", "walk/2.jpg") / "", "picture sequences")


def test_what_is_ignored_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "walk/a.mp4", "walk/notes.txt", "readme.md")
    (tmp_path / "none").mkdir()
    table(tmp_path, "path,label\nwalk/a.mp4,walk\n", name="split.csv")
    found = survey(tmp_path)
    assert {f.code: f.severity for f in found.findings} == dict.fromkeys(
        ("ignored", "empty-class", "csv-not-read"), "warning"
    )
    ignored = next(f for f in found.findings if f.code == "ignored")
    assert {Path(p).name for p in ignored.paths} == {"notes.txt", "readme.md"}
    remarks = " ".join(read_manifest(tmp_path).remarks)
    assert "split.csv" in remarks
    assert "2 items" in remarks
    assert "none" in remarks


# --- held-out part, labels, flip map


def test_held_out_part_is_a_fifth_of_every_class_and_stays(tmp_path: Path) -> None:
    touch(
        tmp_path, *(f"{c}/{i:03}.mp4" for c, n in (("run", 50), ("walk", 7), ("sit", 2), ("one", 1)) for i in range(n))
    )
    first = read_manifest(tmp_path)
    counts = {c: sum(s.label == c for s in first.split("test").samples) for c in first.labels}
    assert counts == {"run": 10, "walk": 1, "sit": 1, "one": 0}
    moved = tmp_path / "moved"
    moved.mkdir()
    for folder in ("run", "walk", "sit", "one"):
        (tmp_path / folder).rename(moved / folder)
    second = read_manifest(moved)  # another place, the same split
    relative = [
        {Path(s.path).relative_to(root) for s in m.split("test").samples}
        for root, m in ((tmp_path, first), (moved, second))
    ]
    assert relative[0] == relative[1]


def test_held_out_part_does_not_tear_a_video_apart() -> None:
    samples = [Sample(f"{v}.mp4", f"c{part % 3}", None, part, part + 1) for v in range(20) for part in range(6)]
    by_path: dict[str, set[str | None]] = {}
    for sample in hold_out(samples, Path()):
        by_path.setdefault(sample.path, set()).add(sample.split)
    assert all(len(splits) == 1 for splits in by_path.values())
    assert sum(splits == {"test"} for splits in by_path.values()) == 4
    kept = [s.path for s in hold_out([Sample(f"{v}.mp4", "a") for v in range(10)], Path()) if s.split == "train"]
    rows = [Sample(f"{v}.mp4", "a") for v in range(10)] + [Sample(path, "b") for path in kept]
    again = hold_out(rows, Path())  # what class a left to training is not taken from it by class b
    assert sorted({s.path for s in again if s.split == "train"}) == sorted(kept)


def test_equal_looking_labels_are_equal(tmp_path: Path) -> None:
    text = "path,label\na.mp4,cafe\u0301\nb.mp4, caf\u00e9 \n"
    assert read_manifest(table(tmp_path, text, "a.mp4", "b.mp4")).labels == ("caf\u00e9",)


def test_flip_map_is_symmetric_and_checked(tmp_path: Path) -> None:
    file = table(tmp_path, "path,label\na.mp4,step left\nb.mp4,step right\n", "a.mp4", "b.mp4")
    flips = tmp_path / "flip_map.json"
    flips.write_text('{"step left": "step right"}')
    assert read_manifest(file).flip_map == {"step left": "step right", "step right": "step left"}
    for text, part in (
        ('{"step left": "step rigt"}', "did you mean 'step right'"),
        ('{"step left": "step right", "step right": "step right"}', "swaps 'step right' with"),
        ("{", "is not JSON"),
        ('["step left"]', "not a JSON object"),
        ('{"step left": 3}', "not a JSON object"),
    ):
        flips.write_text(text)
        refused(file, "flip_map.json", part)


def test_a_file_of_labels_gives_their_order(tmp_path: Path) -> None:
    file = table(tmp_path, "path,label\na.mp4,walk\nb.mp4,cafe\u0301\n", "a.mp4", "b.mp4")
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffwalk\r\n\r\nstand \r\ncaf\u00e9\r\n", encoding="utf-8")
    assert read_manifest(file).labels == ("walk", "stand", "caf\u00e9")
    for text, part in (
        ("walk\ncaf\u00e8\n", "unknown label of the data 'caf\u00e9': did you mean 'caf\u00e8'?"),
        ("walk\ncaf\u00e9\nwalk\n", "lists 'walk' 2 times"),
        ("\n", "contains no label"),
    ):
        labels.write_text(text, encoding="utf-8")
        refused(file, "labels.txt", part)
    labels.write_bytes(b"walk\n\xff\n")
    refused(file, "labels.txt is not UTF-8 (byte 5)")


def test_a_table_of_what_is_absent(tmp_path: Path) -> None:
    file = table(tmp_path, "path,label,split\na.mp4,walk,train\nb.mp4,sit,val\n", "a.mp4", "b.mp4")
    absent = tmp_path / "absent.csv"
    absent.write_text("path,split\n17,train\n4,val\n18,train\n")
    manifest = read_manifest(file)
    assert manifest.absent == {"train": ("17", "18"), "val": ("4",)}
    assert manifest.split("val").all_absent == ("4",)
    (remark,) = manifest.remarks
    assert "2 of the split 'train', 1 of the split 'val' (the first is 17)" in remark
    absent.write_text("path,split\n")
    assert read_manifest(file).absent == {}
    for text, part in (
        (b"path\n17\n", "absent.csv must have the columns path and split"),
        (b"a\0b\n1\n", "absent.csv must have the columns path and split"),
        (b"path,split\n17\n", "absent.csv: the row '17' is not a path and its split"),
        (b"path,split\n,train\n", "absent.csv: the row ',train' is not a path and its split"),
        (b"path,split\n17,train,7\n", "absent.csv: the row '17,train,7' is not a path and its split"),
        (b"path,split\n\xff,train\n", "absent.csv is not UTF-8 (byte 11)"),
        (b"split,path\nval,b.mp4\n", "b.mp4 is listed as absent but is in the split 'val': remove the row"),
    ):
        absent.write_bytes(text)
        refused(file, part)
    absent.write_bytes(b"split, path\r\nval ,9\r\n\r\n")  # as other programs write it
    assert read_manifest(file).absent == {"val": ("9",)}


def test_a_split_of_which_nothing_is_there_is_known(tmp_path: Path) -> None:
    file = table(tmp_path, "path,label,split\na.mp4,walk,train\nb.mp4,sit,train\n", "a.mp4", "b.mp4")
    (tmp_path / "absent.csv").write_text("path,split\n17,val\n4,val\n")
    manifest = read_manifest(file)
    with pytest.raises(KinemaError, match="its split 'val' should have 2 videos, but none exists"):
        manifest.split("val")
    with pytest.raises(KinemaError, match="no split 'test': its splits are train"):
        manifest.split("test")
    assert (manifest.splits, manifest.named_splits) == (("train",), ("train", "val"))
    assert manifest.part("all") is manifest
    assert manifest.part("train") == manifest.split("train") != manifest


def test_the_folder_of_the_disk_itself_is_no_class(tmp_path: Path) -> None:
    for name in ("walk/a.mp4", "sit/b.mp4", "lost+found/c.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert read_manifest(tmp_path).labels == ("sit", "walk")


def test_splits_that_differ_in_capitals_are_refused(tmp_path: Path) -> None:
    file = table(tmp_path, "path,label,split\na.mp4,walk,train\nb.mp4,sit,Train\n", "a.mp4", "b.mp4")
    refused(file, "the splits 'Train' and 'train' differ only in capitals")


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    refused(table(tmp_path, "path,label,label\na.mp4,walk,sit\n", "a.mp4"), "has two columns 'label'")


def test_trainable_needs_two_labels(tmp_path: Path) -> None:
    samples = (Sample("a", "x", "train"), Sample("b", "y", "test"))
    manifest = Manifest("data.csv", samples, ("x", "y"))
    require_trainable(manifest)
    with pytest.raises(KinemaError, match=r"only one class \('x'\)"):
        require_trainable(manifest.split("train"))
    with pytest.raises(KinemaError, match="no video to train on"):
        require_trainable(Manifest("data.csv", (), ()))


def test_a_source_has_one_place_however_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    folder = str(tmp_path / "data")
    for given in (folder, "data", "link", "./link/../data", "data/manifest.csv", Path("data"), f"file://{folder}"):
        assert data_place(given) == folder
    assert data_place("ucf101:link") == data_place(f"ucf101/1:{folder}") == f"ucf101/1:{folder}"
    assert data_place("ucf101/2:data") == f"ucf101/2:{folder}"
    (tmp_path / "circle").symlink_to("circle")
    for given in ("circle", "rtsp://camera", "n" * 300, "nul\0", "ucf101/9:data", "gone"):
        assert data_place(given) != folder
