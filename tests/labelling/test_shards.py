"""Labelling from shards gives the rows of the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fsspec
import pytest
from data.shards.moving import to_be_sharded
from labelling.small import assert_same, label_quietly, plain, small_input

from kinema.data.packing.pack import pack
from kinema.errors import KinemaError
from kinema.labelling import read_labels
from kinema.labelling.inputs import find_entries


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same videos as files and as shards."""
    home = tmp_path_factory.mktemp("home")
    small_input(home / "data" / "some")
    shutil.copytree(home / "data" / "some", home / "data" / "others")
    pack(home / "data", home / "files", short_side=40, workers=1)
    pack(home / "data", to_be_sharded(home / "files", home / "shards"), short_side=40, shards=True, workers=1)
    return home / "files", home / "shards"


def test_shards_give_the_rows_of_the_files(packed: tuple[Path, Path], tmp_path: Path) -> None:
    files, shards = packed
    label_quietly(files, tmp_path / "files")
    wanted = plain(tmp_path / "files").drop_columns(["path", "stage"])
    memory = fsspec.filesystem("memory")
    for path in shards.iterdir():
        memory.pipe_file(f"/label shards/{path.name}", path.read_bytes())
    inputs = (shards, shards / "0000.tar", "memory://label shards", "memory://label shards/0000.tar")
    for number, given in enumerate(inputs):
        table = tmp_path / str(number)
        label_quietly(given, table, workers=number % 2)
        assert_same(plain(table).drop_columns(["path", "stage"]), wanted)
        assert all(path.endswith((".mp4", ".mkv")) for path in read_labels(table)["path"].to_pylist())
        assert label_quietly(given, table).before == len(wanted)  # type: ignore[attr-defined]


def test_a_changed_sample_is_labelled_anew_and_a_damaged_one_costs_its_row(
    packed: tuple[Path, Path], tmp_path: Path
) -> None:
    shards = Path(shutil.copytree(packed[1], tmp_path / "shards"))
    label_quietly(shards, tmp_path / "table")
    before = plain(tmp_path / "table")
    index = json.loads((shards / "0000.index.json").read_text())
    good = next(i for i, error in enumerate(before["error"].to_pylist()) if error is None)
    with (shards / "0000.tar").open("r+b") as file:
        file.seek(index["samples"][good]["offset"] + 200)
        file.write(b"damage")
    label_quietly(shards, tmp_path / "again")
    after = read_labels(tmp_path / "again").to_pylist()
    assert "SHA-256" in after[good]["error"]
    assert [row["label"] for i, row in enumerate(after) if i != good] == [
        label for i, label in enumerate(before["label"].to_pylist()) if i != good
    ]
    shutil.copy(packed[1] / "0000.tar", shards / "0000.tar")
    done = label_quietly(shards, tmp_path / "again", retry="failed")
    assert done.failed == sum(error is not None for error in before["error"].to_pylist())  # type: ignore[attr-defined]
    assert_same(plain(tmp_path / "again"), before)


def test_what_is_no_shard_is_named(packed: tuple[Path, Path], tmp_path: Path) -> None:
    shards = Path(shutil.copytree(packed[1], tmp_path / "shards"))
    (shards / "0000.index.json").unlink()
    with pytest.raises(KinemaError, match="index of a shard is missing"):
        find_entries(shards / "0000.tar")
    with pytest.raises(KinemaError, match="0007"):
        find_entries(tmp_path / "0007.tar")
    (entry,) = find_entries(f"{packed[1]}/0000.tar#gone.mp4")
    label_quietly(entry.place, tmp_path / "table")
    (row,) = read_labels(tmp_path / "table").to_pylist()
    assert "no such sample" in row["error"]
