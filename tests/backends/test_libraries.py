"""Compiled networks that are stored with the choice and loaded by later runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kinema.backends import pytorch, stored
from kinema.backends.choose import Choice, choose
from kinema.backends.pytorch import Compiled, no_compiler
from kinema.errors import KinemaWarning

compiler = pytest.mark.skipif(no_compiler() is not None, reason="there is no C++ compiler")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path))
    monkeypatch.setattr("kinema.backends.choose._GAIN", 0.0)
    monkeypatch.setattr("kinema.backends.choose.convolution_faults", lambda *args: [])  # compiles eight programs
    return tmp_path / "optimize"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Has an entry for each network that was compiled."""
    found: list[object] = []
    compile_ = pytorch.compiled

    def counted(*args: object) -> object:
        found.append(args)
        return compile_(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pytorch, "compiled", counted)
    return found


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    pool = nn.AdaptiveAvgPool3d(1)
    return nn.Sequential(nn.Conv3d(3, 8, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(8, 5)).eval()


def chosen(seed: int, clips: Tensor) -> Choice:
    found = choose(network(seed), clips, backends={"compile": Compiled()}, budget=600)
    assert found.report.chosen == "compile"
    assert found.runner is not None
    with torch.no_grad():
        torch.testing.assert_close(found.runner(clips), network(seed)(clips), rtol=1e-4, atol=1e-4)
    return found


@compiler
def test_a_later_run_loads_the_compiled_network(folder: Path, built: list[object]) -> None:
    clips = torch.randn(2, 3, 4, 8, 8)
    assert not chosen(0, clips).report.stored
    before = len(built)
    assert chosen(0, clips).report.stored
    assert len(built) == before
    assert chosen(1, clips).report.stored
    assert len(built) == before + 1  # other weights
    assert len(list(folder.glob("*.pt2"))) == 2

    newest = max(folder.glob("*.pt2"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:10000])
    with pytest.warns(KinemaWarning, match=newest.name):
        chosen(1, clips)
    assert len(built) == before + 2
    chosen(1, clips)
    assert len(built) == before + 2
    assert not [path for path in folder.iterdir() if path.suffix not in (".json", ".pt2")]


@compiler
def test_without_store_no_file_is_written(folder: Path) -> None:
    choose(network(0), torch.randn(2, 3, 4, 8, 8), backends={"compile": Compiled()}, budget=600, store=False)
    assert not folder.exists()


def test_only_the_newest_are_kept(tmp_path: Path, folder: Path) -> None:
    made = tmp_path / "made.pt2"
    made.write_bytes(b"program")
    for i in range(10):
        stored.store_library(made, folder / f"{i}.pt2")
        os.utime(folder / f"{i}.pt2", (i, i))
    stored.store_library(made, folder / "last.pt2")
    assert {path.stem for path in folder.iterdir()} == {"3", "4", "5", "6", "7", "8", "9", "last"}


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    (tmp_path / "optimize").write_bytes(b"")
    with pytest.warns(KinemaWarning, match="not stored for later runs"):
        stored.store_library(tmp_path / "optimize", tmp_path / "optimize" / "x.pt2")


def test_the_file_depends_on_weights_place_and_backend() -> None:
    places = {"network": "own", "threads": 1}, {"network": "own", "threads": 2}
    files = {
        stored.library_of(network(seed), place, backend)
        for seed in (0, 1)
        for place in places
        for backend in ("compile", "compile+bfloat16")
    }
    assert len(files) == 8
    assert stored.library_of(network(0), places[0], "compile") in files
