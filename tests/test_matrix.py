"""`make matrix`: what it pins, which Pythons it finds, and that nothing it could not do looks like a success."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


matrix = load("matrix")


def project(folder: Path, *requirements: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(f"[project]\nname = 'x'\ndependencies = {list(requirements)!r}\n", encoding="utf-8")
    return path


def test_oldest_is_the_lower_bound_of_each_dependency() -> None:
    bounds = matrix.lower_bounds(ROOT / "pyproject.toml")
    assert bounds["torch"] == "2.6" and bounds["av"] == "14"
    assert {"numpy", "scikit-learn", "jsonargparse"} <= set(bounds)  # extras of users too, without their brackets
    assert not {"pytest", "ruff", "kinema"} & set(bounds)


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [("a>=1.2", {"a": "1.2"}), ("a_b-c[x,y] >= 3.0.1", {"a_b-c": "3.0.1"}), ("a>=1.0rc1", {"a": "1.0rc1"})],
)
def test_requirements_with_a_lower_bound(tmp_path: Path, requirement: str, expected: dict[str, str]) -> None:
    assert matrix.lower_bounds(project(tmp_path, requirement)) == expected


@pytest.mark.parametrize("requirement", ["a", "a<2", "a>=1,<2", "a==1", "a>=1; python_version > '3'"])
def test_a_requirement_that_cannot_be_pinned_is_refused(tmp_path: Path, requirement: str) -> None:
    with pytest.raises(ValueError, match="must have the form"):
        matrix.lower_bounds(project(tmp_path, requirement))


def test_a_python_is_found_only_if_it_runs_and_is_the_one() -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = matrix.find_python(here)
    said = subprocess.run([found, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], capture_output=True)
    assert said.stdout.decode().strip() == here
    assert matrix.find_python("3.99") is None


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--work", str(tmp_path), *words])
    status = matrix.main()
    return status, capsys.readouterr().out


def test_a_python_that_is_not_there_is_said_to_be_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(matrix, "find_python", lambda version: sys.executable if version == "3.12" else None)
    monkeypatch.setattr(matrix, "build_wheel", lambda python, folder: tmp_path / "kinema-1-py3-none-any.whl")
    tried = []
    monkeypatch.setattr(matrix, "examine", lambda row, *rest: tried.append((row.python, row.dependencies)))
    status, out = run(monkeypatch, capsys, tmp_path, "--pythons", "3.12 3.13", "--deps", "oldest newest")
    assert (status, tried) == (0, [("3.12", "oldest"), ("3.12", "newest")])
    assert out.count("passed") == 2
    assert sum(line.startswith("3.13") and "SKIPPED" in line for line in out.splitlines()) == 2


def test_one_failure_fails_the_whole_and_the_rest_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def examine(row: object, *rest: object) -> None:
        if row.dependencies == "oldest":  # type: ignore[attr-defined]
            raise matrix.Failed("FAILED: install: no wheel of it")

    monkeypatch.setattr(matrix, "find_python", lambda version: sys.executable)
    monkeypatch.setattr(matrix, "build_wheel", lambda python, folder: tmp_path / "kinema-1-py3-none-any.whl")
    monkeypatch.setattr(matrix, "examine", examine)
    status, out = run(monkeypatch, capsys, tmp_path, "--pythons", "3.13")
    assert status == 1
    last = out.splitlines()[-2:]
    assert "FAILED: install: no wheel of it" in last[0] and "passed" in last[1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--pythons", "3.99"], "3.99"),
        (["--pythons", "python3"], "python3"),
        (["--deps", "old"], "old"),
        (["--tests", "tests/none.py"], "tests/none.py"),
    ],
)
def test_what_cannot_be_done_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], named: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--work", str(tmp_path), *words])
    with pytest.raises(SystemExit) as stop:
        matrix.main()
    assert stop.value.code == 2
    assert named in capsys.readouterr().err


def test_an_environment_hides_what_would_put_other_code_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    here = matrix.Environment(tmp_path / "bare", sys.executable)
    with pytest.raises(matrix.Failed, match="FAILED: look: ModuleNotFoundError: No module named 'kinema'"):
        here.run("look", [here.python, "-c", "import kinema"], cwd=ROOT)
