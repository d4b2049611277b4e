"""Installs Kinema from a built wheel into bare environments and checks that it works there (`make matrix`).

For every requested Python and set of dependencies, it creates a virtual environment, installs the wheel with its
dependencies, and runs the checks of `matrix_checks.py`. At the end it prints a table with one row per environment.
`oldest` pins each direct dependency to its lower bound in pyproject.toml, `newest` takes the newest that pip finds. The
source tree is never on the path of an environment. A Python that this machine does not have is skipped, and the table
says so.

It needs only Python 3.11 or newer, and a package index that pip can reach.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = Path(__file__).resolve().with_name("matrix_checks.py")
# Programs that write the odd video files for the checks; they need only numpy and av.
MAKERS = ("odd_videos.py", "odd_containers.py", "odd_streams.py", "plain_videos.py", "full_decode.py")
PYTHONS = ("3.11", "3.12", "3.13")
DEPENDENCIES = ("oldest", "newest")
SHOWN = ("torch", "numpy", "av", "pytorch-lightning", "kornia", "pyarrow")  # versions in the table
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^]]*])?>=(?P<version>[0-9][0-9a-z.]*)")


@dataclass
class Row:
    """One environment and its result; `seconds` are those of installing and checking."""

    python: str
    dependencies: str
    result: str
    seconds: float = 0
    versions: dict[str, str] = field(default_factory=dict)


def lower_bounds(pyproject: Path) -> dict[str, str]:
    """Returns the oldest release that each dependency and each extra allows, by the name of the distribution.

    Raises:
        ValueError: a requirement does not have the form `name>=version`; extras of this project itself, and those that
            only its developers install, are left out.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = {name: listed for name, listed in project.get("optional-dependencies", {}).items() if name != "dev"}
    bounds: dict[str, str] = {}
    for requirement in [*project["dependencies"], *(r for listed in extras.values() for r in listed)]:
        match = REQUIREMENT.fullmatch(requirement.replace(" ", ""))
        if match is None:
            raise ValueError(f"{pyproject.name}: {requirement!r} must have the form 'name>=version'")
        bounds[match["name"]] = match["version"]
    return bounds


def find_python(version: str) -> str | None:
    """Returns the command of a working Python such as `3.12`: this one, on PATH, of pyenv, or of the `py` launcher."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = sorted(pyenv.glob(f"{version}.*/bin/python"), key=lambda p: int(p.parts[-3].rpartition(".")[2]))
    candidates = [[sys.executable], [f"python{version}"], *([str(p)] for p in reversed(installed))]
    candidates.append(["py", f"-{version}"])
    program = "import sys, venv, ensurepip; print(*sys.version_info[:2], sep='.'); print(sys.executable)"
    for command in candidates:
        try:
            said = subprocess.run([*command, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            continue  # not there, a shim of pyenv without its Python, or a Python without venv
        found, executable = said.stdout.splitlines()
        if found == version:
            return executable
    return None


class Failed(Exception):
    """A step failed; the message is printed in the table."""


class Environment:
    """A bare virtual environment in a separate folder, with a log of all commands run in it."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.log = folder / "log.txt"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.run("venv", [python, "-m", "venv", folder / "venv"])

    def run(self, step: str, command: Sequence[str | Path], *, cwd: Path | None = None, show: bool = False) -> str:
        """Runs a command without the variables that would put other code on the path; returns its output.

        Raises:
            Failed: the exit status is not 0.
        """
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV")
        environ = {k: v for k, v in os.environ.items() if k not in hidden}
        environ |= {"KINEMA_CACHE": str(self.folder / "cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        environ["PYTHONIOENCODING"] = "utf-8"  # so that the output can be decoded on every system
        words = [str(word) for word in command]
        lines = []
        with (
            self.log.open("a", encoding="utf-8") as log,
            subprocess.Popen(
                words, cwd=cwd or self.folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, encoding="utf-8", errors="replace",
            ) as process,
        ):  # fmt: skip
            print(f"$ {' '.join(words)}", file=log, flush=True)
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                log.write(line)
                log.flush()
                if show:
                    print(f"  {line}", end="", flush=True)
        if process.returncode != 0:
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
            raise Failed(f"FAILED: {step}: {last[:160]}")
        return "".join(lines)

    def pip(self, step: str, *words: str | Path) -> None:
        """Runs pip in the environment."""
        self.run(step, [self.python, "-m", "pip", *words])

    def versions(self) -> dict[str, str]:
        """Returns all installed distributions."""
        listed = self.run("versions", [self.python, "-m", "pip", "list", "--format", "json"]).splitlines()
        found = json.loads(next(line for line in listed if line.startswith("[")))
        return {one["name"].lower().replace("_", "-"): one["version"] for one in found}


def build_wheel(python: str, folder: Path) -> Path:
    """Builds the wheel of the source tree in a separate environment.

    Raises:
        Failed: the wheel cannot be built.
    """
    builder = Environment(folder, python)
    builder.pip("build the wheel", "wheel", ROOT, "--no-deps", "--wheel-dir", folder / "wheel")
    (wheel,) = (folder / "wheel").glob("kinema-*.whl")
    return wheel


def examine(row: Row, python: str, wheel: Path, work: Path, tests: Sequence[str]) -> None:
    """Fills a row: installs the wheel into a bare environment and runs the checks, then the requested test files.

    Raises:
        Failed: a step failed; the row has the results up to that step.
    """
    here = Environment(work / f"{row.python}-{row.dependencies}", python)
    constraints = here.folder / "constraints.txt"
    oldest = lower_bounds(ROOT / "pyproject.toml") if row.dependencies == "oldest" else {}
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in oldest.items()), encoding="utf-8")
    here.pip("install", "install", "--constraint", constraints, wheel)
    row.versions = here.versions()
    makers = here.folder / "makers" / "data"
    makers.mkdir(parents=True)
    for name in MAKERS:
        shutil.copy(ROOT / "tests" / "data" / name, makers)
    shutil.copy(CHECKS, here.folder)
    # -I: neither the current folder nor environment variables add anything to the path.
    here.run("checks", [here.python, "-I", CHECKS.name, "makers"], show=True)
    if tests:
        extras = f"{wheel}[analysis,pretrained]"
        here.pip("install the tests' tools", "install", "--constraint", constraints, extras, "pytest", "hypothesis")
        words = ["-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        here.run("tests", [here.python, *words], cwd=ROOT, show=True)


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Returns the lines of the table at the end."""
    heads = ["Python", "dependencies", "result", "minutes", *SHOWN]
    cells = [
        [r.python, r.dependencies, r.result, f"{r.seconds / 60:.1f}" if r.seconds else "",
         *(r.versions.get(name, "") for name in SHOWN)]
        for r in rows
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for line in [heads, ["-" * width for width in widths], *cells]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def main() -> int:
    """Runs the matrix; returns 0 if at least one environment could be tried and all of those work."""
    parser = argparse.ArgumentParser(description="Checks the built wheel in bare environments.")
    parser.add_argument("--pythons", default=" ".join(PYTHONS), help="such as '3.11 3.13'")
    parser.add_argument("--deps", default=" ".join(DEPENDENCIES), help="oldest, newest or both")
    parser.add_argument("--tests", default="", help="test files to run in each environment after the checks")
    parser.add_argument("--keep", action="store_true", help="keep the environments; otherwise only the logs stay")
    parser.add_argument("--work", type=Path, default=ROOT / ".matrix", help="folder of the environments and logs")
    asked = parser.parse_args()
    pythons, dependencies, tests = asked.pythons.split(), asked.deps.split(), asked.tests.split()
    if unknown := [name for name in dependencies if name not in DEPENDENCIES]:
        parser.error(f"--deps {unknown[0]}: choose from {', '.join(DEPENDENCIES)}")
    if unknown := [name for name in pythons if not re.fullmatch(r"3\.\d+", name)]:
        parser.error(f"--pythons {unknown[0]}: give versions such as 3.12")
    if missing := [name for name in tests if not (ROOT / name.partition("::")[0]).exists()]:
        parser.error(f"--tests {missing[0]}: there is no such file")
    work = asked.work.resolve()
    found = {version: find_python(version) for version in pythons}
    builder = next((python for python in found.values() if python is not None), None)
    if builder is None:
        parser.error(f"--pythons {asked.pythons}: none of them is on PATH or in pyenv")
    try:
        wheel = build_wheel(builder, work / "build")
    except Failed as failure:
        print(failure, f"(log: {work / 'build' / 'log.txt'})")
        return 1
    print(f"{wheel.name}: built with {builder}", flush=True)
    rows = []
    for version, python in found.items():
        for chosen in dependencies:
            row = Row(version, chosen, "passed")
            rows.append(row)
            if python is None:
                row.result = "SKIPPED: this Python is not on PATH or in pyenv"
                continue
            print(f"\nPython {version}, {chosen} dependencies ({python})", flush=True)
            start = time.monotonic()
            try:
                examine(row, python, wheel, work, tests)
            except Failed as failure:
                row.result = str(failure)
                print(f"  {failure}\n  log: {work / f'{version}-{chosen}' / 'log.txt'}", flush=True)
            row.seconds = time.monotonic() - start
            if not asked.keep:
                for name in ("venv", "run", "cache"):
                    shutil.rmtree(work / f"{version}-{chosen}" / name, ignore_errors=True)
    print("", *table(rows), sep="\n")
    return int(any(row.result.startswith("FAILED") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
