"""The counts that are kept on disk: read when nothing has changed, counted anew whenever in doubt."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from kinema.evaluation import counted as module
from kinema.evaluation.cost import Cost, count
from kinema.evaluation.counted import counted


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The names and classes that were really counted; the counts are made up."""
    names: list[tuple[str, int]] = []

    def made_up(name: str, *, num_classes: int) -> Cost:
        names.append((name, num_classes))
        return Cost(8, 224, len(name), num_classes, 2 * num_classes, 0)

    monkeypatch.setattr(module, "count", made_up)
    return names


def test_a_second_call_reads_what_the_first_counted(cache: Path, asked: list[tuple[str, int]]) -> None:
    first = counted(["a", "bb"])
    assert asked == [("a", 400), ("bb", 400)]
    assert counted(["bb", "a"]) == first
    assert [*counted(["bb", "a"])] == ["bb", "a"]
    assert len(asked) == 2
    assert counted(["a", "ccc"])["a"] == first["a"]
    assert asked[2:] == [("ccc", 400)]  # only what is new, and the old is kept
    counted(["a", "bb", "ccc"])
    assert len(asked) == 3
    assert len([*cache.iterdir()]) == 1


def test_other_classes_are_counted_of_their_own(cache: Path, asked: list[tuple[str, int]]) -> None:
    counted(["a"])
    assert counted(["a"], num_classes=7)["a"].macs == 7
    assert asked == [("a", 400), ("a", 7)]
    assert counted(["a"])["a"].macs == 400
    assert len([*cache.iterdir()]) == 2


def test_changed_code_is_counted_anew(
    cache: Path, asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    files = [package / name for name in ("models/a.py", "models/inner/a.py", "ops/a.py", "evaluation/cost.py")]
    others = [package / name for name in ("data/a.py", "evaluation/views.py")]
    for file in files + others:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x = 1\n")
    monkeypatch.setattr(module.kinema, "__file__", str(package / "__init__.py"))
    counted(["a"])
    for file in others:  # no count depends on these
        file.write_text("x = 2\n")
    counted(["a"])
    assert len(asked) == 1
    for i, file in enumerate(files):
        file.write_text("x = 2\n")
        counted(["a"])
        assert len(asked) == 2 + i
    (package / "ops" / "a.py").rename(package / "ops" / "b.py")
    counted(["a"])
    monkeypatch.setattr(module.torch, "__version__", "99.0")
    counted(["a"])
    assert len(asked) == 7


def test_a_network_from_outside_is_counted_anew_when_its_file_changes(
    cache: Path, asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "family_of_mine.py"
    file.write_text("def mine():\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    builder = importlib.import_module("family_of_mine").mine
    made: dict[str, object] = {"mine": builder}
    exec("def typed():\n    pass", made)  # as in a notebook: no file holds its code
    monkeypatch.setattr(module, "find_model", lambda name: SimpleNamespace(build=made[name]))
    for _ in range(2):
        counted(["mine"])
    assert len(asked) == 1
    file.write_text("def mine():\n    return\n")
    for _ in range(2):
        counted(["mine"])
    assert len(asked) == 2
    for _ in range(2):
        counted(["typed", "mine"])
    assert asked[2:] == [("typed", 400), ("typed", 400)]


ODD = '{"a": {"frames": 8, "size": 1, "params": "x", "macs": 1, "flops": 2, "normalised": null}}'


@pytest.mark.parametrize("damage", ["", '{"a": {"frames": 8', "[1]", '{"a": {"frames": 8}}', '{"a": 3}', "\xff", ODD])
def test_a_damaged_file_is_counted_anew_and_mended(cache: Path, asked: list[tuple[str, int]], damage: str) -> None:
    first = counted(["a"])
    (file,) = cache.iterdir()
    file.write_bytes(damage.encode("latin-1"))
    assert counted(["a"]) == first
    assert len(asked) == 2
    assert json.loads(file.read_text())["a"]["frames"] == 8
    assert counted(["a"]) == first
    assert len(asked) == 2


def test_a_folder_that_cannot_be_written_makes_it_slow_and_not_wrong(
    asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "file"))
    assert counted(["a"]) == counted(["a"])
    assert len(asked) == 2


@pytest.mark.usefixtures("cache")
def test_progress_is_told_of_what_is_counted(asked: list[tuple[str, int]]) -> None:
    told: list[tuple[int, int]] = []
    counted(["a"])
    counted(["a", "b", "c"], progress=lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]
    assert len(asked) == 3


@pytest.mark.usefixtures("cache")
def test_what_is_kept_is_what_count_gives() -> None:
    assert [counted(["tsn_r18"], num_classes=5)["tsn_r18"] for _ in range(2)] == [count("tsn_r18", num_classes=5)] * 2
