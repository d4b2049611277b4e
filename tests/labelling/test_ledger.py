from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinema.errors import KinemaError
from kinema.files import replace_file
from kinema.labelling import ledger as ledger_module
from kinema.labelling import read_labels
from kinema.labelling.ledger import MANIFEST, Ledger
from kinema.labelling.rows import Row

PART = 3
SETTINGS = {"card_hash": "c", "views": "1x1", "features": False}


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """Lets a number of writes and removals through, and nothing after them.

    Args:
        lives: operations on files until the end.
        how: of the last one: not done, half done or done.
    """

    def __init__(self, lives: int, how: str) -> None:
        self.lives, self.how = lives, how

    def _spend(self) -> bool:
        if self.lives == 0:
            raise Killed
        self.lives -= 1
        return self.lives == 0

    def write(self, path: Path, write: Any) -> None:
        if not self._spend():
            replace_file(path, write)
            return
        if self.how == "after":
            replace_file(path, write)
        elif self.how == "half":
            path.parent.mkdir(exist_ok=True)
            part = path.parent / f".{path.name}.x.part"
            write(part)
            part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
        raise Killed

    def remove(self, path: Path) -> None:
        last = self._spend()
        if not last or self.how == "after":
            path.unlink(missing_ok=True)
        if last:
            raise Killed


def mortal(patch: pytest.MonkeyPatch, lives: int, how: str) -> None:
    death = Mortal(lives, how)
    patch.setattr(ledger_module, "replace_file", death.write)
    patch.setattr(ledger_module, "_remove", death.remove)


def row(i: int, digest: str = "h") -> Row:
    return Row(f"video {i}", None, None, 0, digest, "c", "jump", 0.5 + i / 1000, ("jump",), (0.5,), 0.0, 1.0, 4, 4)


def run(folder: Path, total: int, digest: str = "h") -> None:
    """What `label` does with a ledger: drops rows of other contents, and adds those that are missing."""
    ledger = Ledger(folder, SETTINGS, features=False, part_rows=PART)
    there = [
        (path, found)
        for columns in ledger.done(["path", "content_hash"])
        for path, found in zip(*columns.values(), strict=True)
    ]
    assert len({path for path, _ in there}) == len(there)
    ledger.drop(lambda columns: [found != digest for found in columns["content_hash"]], ["content_hash"])
    kept = {path for path, found in there if found == digest}
    for i in range(total):
        if row(i).path not in kept:
            ledger.add(row(i, digest))
    ledger.finish({})


def listed(folder: Path) -> set[str]:
    return {part["file"] for part in json.loads((folder / MANIFEST).read_text())["parts"]}


def test_a_kill_at_any_write_costs_no_row_and_doubles_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "whole", 8)
    whole = read_labels(tmp_path / "whole")
    assert whole["path"].to_pylist() == sorted(f"video {i}" for i in range(8))
    for how in ("before", "half", "after"):
        kills = 0
        while True:
            folder = tmp_path / f"{how} {kills}"
            run(folder, 4)  # leaves a part that is not full, for the merge
            with monkeypatch.context() as patch:
                mortal(patch, kills + 1, how)
                try:
                    run(folder, 8)
                except Killed:
                    kills += 1
                else:
                    break
            run(folder, 8)
            assert read_labels(folder).equals(whole)
            assert {p.name for p in folder.iterdir()} == listed(folder) | {MANIFEST}
        assert kills >= 8


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kills=st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["before", "half", "after"])), max_size=4),
    total=st.integers(0, 9),
    changed=st.booleans(),
)
def test_any_number_of_kills_gives_the_same_table(
    kills: list[tuple[int, str]], total: int, changed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    if changed:
        run(folder / "table", total, "before the change")
    for lives, how in kills:
        with pytest.MonkeyPatch.context() as patch:
            mortal(patch, lives, how)
            try:
                run(folder / "table", total)
            except Killed:
                continue
    run(folder / "table", total)
    run(folder / "straight", total)
    assert read_labels(folder / "table").equals(read_labels(folder / "straight"))
    rows = [pq.read_table(p).num_rows for p in sorted((folder / "table").glob("*.parquet"))]
    assert sum(rows) == total
    assert all(count <= 5 for count in rows)


def test_parts_are_of_bounded_size(tmp_path: Path) -> None:
    run(tmp_path, 50)
    counts = [pq.read_table(p).num_rows for p in tmp_path.glob("*.parquet")]
    assert max(counts) == 3
    assert len(counts) == 17


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_rows_of_a_damaged_part_are_labelled_anew(damage: str, tmp_path: Path) -> None:
    run(tmp_path, 9)
    whole = read_labels(tmp_path)
    part = next(tmp_path.glob("*.parquet"))
    if damage == "missing":
        part.unlink()
    elif damage == "cut":
        part.write_bytes(part.read_bytes()[:-20])
    else:
        part.write_bytes(part.read_bytes().replace(b"video", b"vedio"))
    with pytest.raises(KinemaError, match=part.name):
        read_labels(tmp_path)
    run(tmp_path, 9)
    assert read_labels(tmp_path).equals(whole)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": "1"}', '{"format": 99}', '{"format": 1, "settings": [], "parts": [], "next": 1}',
     '{"format": 1, "settings": {}, "parts": [{"file": "../x", "rows": 1, "sha256": ""}], "next": 1}',
     '{"format": 1, "settings": {}, "parts": [7], "next": 1}'],
)  # fmt: skip
def test_a_manifest_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    for use in (lambda: read_labels(tmp_path), lambda: Ledger(tmp_path, SETTINGS, features=False)):
        with pytest.raises(KinemaError, match=MANIFEST):
            use()


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(KinemaError, match=r"holiday\.txt"):
        Ledger(tmp_path, SETTINGS, features=False)
    with pytest.raises(KinemaError, match="is a file"):
        Ledger(tmp_path / "holiday.txt", SETTINGS, features=False)
    with pytest.raises(KinemaError, match="manifest"):
        read_labels(tmp_path / "nothing")


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    run(tmp_path, 2)
    assert read_labels(tmp_path, ["label", "path"]).column_names == ["label", "path"]
    with pytest.raises(KinemaError, match="lable"):
        read_labels(tmp_path, ["lable"])
