from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelling.small import GOOD, assert_same, label_quietly, plain, small_input

from kinema.errors import KinemaError
from kinema.labelling import read_labels
from kinema.labelling import reading as reading_module
from kinema.labelling.inputs import Entry, find_entries


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_input(tmp_path_factory.mktemp("inputs") / "clips")


def test_folders_patterns_and_videos(clips: Path) -> None:
    every = [str(p) for p in sorted(clips.iterdir())]
    assert [entry.place for entry in find_entries(clips)] == every
    assert [entry.place for entry in find_entries(str(clips / "clip*.mp4"))] == every[:GOOD]
    assert [entry.place for entry in find_entries(f"file://{clips}/half.mp4")] == [str(clips / "half.mp4")]
    twice = find_entries([clips / "clip 1.mp4", clips])
    assert [(e.place, e.repeat) for e in twice if e.place.endswith("1.mp4")] == [(every[1], 0), (every[1], 1)]


def test_a_list_gives_an_entry_for_every_line(clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(
        f"path,start,end,label\n{clips}/clip 4.mp4,0.5,1,x\n{clips}/clip 4.mp4,,,x\nnear.mp4,,0.5,x\n"
        f"{clips}/clip 4.mp4,2,1,x\n{clips}/clip 3.mp4,soon,,x\n,,,x\n{clips}/clip 2.mp4,1,x\n"
        f"{clips}/clip 4.mp4,0.5,1,x\nmemory://b/c.mp4,-1,,x\n"
    )
    found = find_entries(file)
    assert found[0] == Entry(f"{clips}/clip 4.mp4", 0.5, 1.0)
    assert found[1] == Entry(f"{clips}/clip 4.mp4")
    assert found[2] == Entry(str(tmp_path / "near.mp4"), None, 0.5)
    assert found[7].repeat == 1
    for number, word in ((3, "start 2"), (4, "soon"), (5, "no path"), (6, "fields"), (8, "-1")):
        error = found[number].error
        assert error is not None
        assert word in error
        assert f"line {number + 2} of {file}" in error


def test_a_list_in_parquet(clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.parquet"
    rows = {"path": [f"{clips}/clip 1.mp4", None, "x.mp4"], "start": [0.25, None, 3.0], "end": [None, None, 2.0]}
    pq.write_table(pa.table(rows), file)
    found = find_entries(file)
    assert found[0] == Entry(f"{clips}/clip 1.mp4", 0.25, None)
    assert "row 2" in str(found[1].error)
    assert "start 3" in str(found[2].error)


def test_bad_lines_get_rows_like_all_others(clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    clip = clips / "clip 4.mp4"
    file.write_text(f"path,start,end\n{clip},0.2,1\n{clip},0.2,1\n{clip},9,10\nx,5,1\n")
    done = label_quietly(file, tmp_path / "table")
    assert done.stages == {"decode": 1, "list": 1}  # type: ignore[attr-defined]
    rows = read_labels(tmp_path / "table").to_pylist()
    assert len(rows) == 4
    same = [row for row in rows if row["start"] == 0.2]
    assert same[0]["label"] == same[1]["label"] is not None
    assert (same[0]["t_start"], same[0]["t_end"]) == (0.2, 1.0)
    assert label_quietly(file, tmp_path / "table").before == 4  # type: ignore[attr-defined]
    file.write_text("path,start,end\nx,5,6\n")  # the line is corrected: another entry
    assert label_quietly(file, tmp_path / "table").before == 0  # type: ignore[attr-defined]


def test_addresses_give_the_same_rows(clips: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in clips.iterdir():
        memory.pipe_file(f"/labelling/{path.name}", path.read_bytes())
    memory.pipe_file("/labelling/list.csv", b"path,start\nclip 1.mp4,0.1\ngone.mp4,\n")
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        for path in clips.iterdir():
            archive.write(path, f"inside/{path.name}")
    label_quietly(clips, tmp_path / "files")
    wanted = plain(tmp_path / "files").drop_columns(["path"])
    for number, address in enumerate(
        ("memory://labelling", "memory://labelling/*.m*", f"zip://inside::{tmp_path}/clips.zip")
    ):
        found = find_entries(address)
        assert len(found) == 8
        label_quietly(address, tmp_path / str(number), workers=number)
        assert_same(plain(tmp_path / str(number)).drop_columns(["path"]), wanted)
        again = label_quietly(address, tmp_path / str(number), workers=number)
        assert again.before == 8  # type: ignore[attr-defined]
    done = label_quietly("memory://labelling/list.csv", tmp_path / "list")
    assert done.stages == {"fetch": 1}  # type: ignore[attr-defined]
    rows = read_labels(tmp_path / "list").to_pylist()
    assert [row["path"] for row in rows] == ["memory://labelling/clip 1.mp4", "memory://labelling/gone.mp4"]
    memory.pipe_file("/labelling/gone.mp4", (clips / "clip 0.mp4").read_bytes())
    kept = label_quietly("memory://labelling/list.csv", tmp_path / "list")
    assert kept.failed == 1  # type: ignore[attr-defined]
    anew = label_quietly("memory://labelling/list.csv", tmp_path / "list", retry="missing")
    assert anew.failed == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""), ("header.csv", b"path,start\n"), ("other.csv", b"file,start\nx,1\n"),
        ("twice.csv", b"path,path\nx,y\n"), ("bytes.csv", b"\xff\xfe\xfa\x00path\xd8"), ("quote.csv", b'path\n"x\n'),
        ("text.parquet", b"path\nx\n"), ("cut.parquet", b"PAR1 and no more"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KinemaError, match=name):
        find_entries(tmp_path / name)
    fsspec.filesystem("memory").pipe_file(f"/lists/{name}", content)
    with pytest.raises(KinemaError, match=f"memory://lists/{name}"):
        find_entries(f"memory://lists/{name}")


@pytest.mark.parametrize(
    "address", ["memory://nothing/*.mp4", "nokind://x/y.csv", "nokind://x/*.mp4", "memory://nothing/list.csv"]
)
def test_an_address_without_videos_is_named(address: str) -> None:
    with pytest.raises(KinemaError, match=address.split("/")[2]):
        find_entries(address)


def test_nothing_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match="INPUT"):
        find_entries([])
    with pytest.raises(KinemaError, match=tmp_path.name):
        find_entries(tmp_path)
    (tmp_path / "columns.parquet").write_bytes(b"")
    pq.write_table(pa.table({"paht": ["x"]}), tmp_path / "columns.parquet")
    with pytest.raises(KinemaError, match="'path'"):
        find_entries(tmp_path / "columns.parquet")


def test_what_a_store_says_of_a_file_spares_fetching_it(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    for name in ("clip 0.mp4", "clip 1.mp4"):
        memory.pipe_file(f"/store/{name}", (clips / name).read_bytes())
    real, tags = type(memory).info, {"/store/clip 0.mp4": "a", "/store/clip 1.mp4": "b"}
    monkeypatch.setattr(type(memory), "info", lambda self, path, **k: {**real(self, path, **k), "ETag": tags.get(path)})
    fetched: list[str] = []
    fetch = reading_module.fetch
    monkeypatch.setattr(reading_module, "fetch", lambda place, folder: fetched.append(place) or fetch(place, folder))
    label_quietly("memory://store", tmp_path / "table")
    assert len(fetched) == 2
    assert label_quietly("memory://store", tmp_path / "table").before == 2  # type: ignore[attr-defined]
    assert len(fetched) == 2
    memory.pipe_file("/store/clip 1.mp4", (clips / "clip 2.mp4").read_bytes())
    tags["/store/clip 1.mp4"] = "c"
    assert label_quietly("memory://store", tmp_path / "table").before == 1  # type: ignore[attr-defined]


def test_names_that_are_not_utf8_get_a_row(clips: Path, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "odd")
    os.mkdir(folder)  # noqa: PTH102 - pathlib takes no bytes
    try:
        for name in (b"caf\xe9.mp4", b"new\nline.mp4", b"\xff.mp4"):
            shutil.copy(clips / "clip 1.mp4", folder + b"/" + name)
    except OSError:
        pytest.skip("a file system of Unicode names only")
    (tmp_path / "odd" / "none.mp4").write_bytes(b"")
    done = label_quietly(tmp_path / "odd", tmp_path / "table")
    assert (done.labelled, done.failed) == (3, 1)  # type: ignore[attr-defined]
    assert label_quietly(tmp_path / "odd", tmp_path / "table").before == 4  # type: ignore[attr-defined]
