"""The program in the documentation runs as it stands there, on one core and without a network."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from kinema.cli import COMMANDS

DOCS = Path(__file__).parent.parent / "docs"


def output(number: int, folder: Path) -> list[str]:
    """The lines that one of the programs in python.md prints."""
    programs = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(encoding="utf-8"), re.S)
    done = subprocess.run(
        [sys.executable, "-c", programs[number]], cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_parts_of_a_network(tmp_path: Path) -> None:
    assert output(1, tmp_path) == [
        "('stem', 'layer1', 'layer2', 'layer3', 'layer4') 256 8",
        "torch.Size([2, 256]) {'layer2': (2, 64, 8, 8, 8), 'layer4': (2, 256, 8, 2, 2)}",
        "['tsm_efficientnet_lite0', 'tsm_r18', 'tsm_r34', 'tsm_r50']",
    ]


def test_the_experiment_from_python_runs(tmp_path: Path) -> None:
    lines = output(0, tmp_path)
    assert [line.split()[0] for line in lines[:2]] == ["tsn_r18", "tsm_r18"]
    assert "32 expected / 32 read / 0 failed" in lines[0]
    assert lines[2].startswith("Difference(difference=")
    assert lines[-1].startswith("torch.Size([1, 10]) torch.Size([1, 2048, 8, 7, 7])")


def test_every_command_has_a_section() -> None:
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.M) == list(COMMANDS)
    assert re.findall(r"\{kinema-help\} (.+)$", text, re.M) == list(COMMANDS)


def test_every_test_that_the_page_on_security_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (DOCS / "security.md").read_text(encoding="utf-8"))
    assert len(named) > 15
    for file, test in named:
        text = (DOCS.parent / file).read_text(encoding="utf-8")
        assert f"def {test}(" in text, f"{file}::{test}"


def test_every_extra_is_explained() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", (DOCS / "installation.md").read_text(encoding="utf-8"), re.M
    )
    assert sorted(listed) == sorted(project["optional-dependencies"])


def test_every_package_stands_in_the_layout() -> None:
    layout = (DOCS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Layout")[2]
    packages = {p.name for p in (DOCS.parent / "src" / "kinema").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert set(re.findall(r"^(\w+)/ ", layout, re.M)) == packages


def test_links_from_page_to_page_lead_somewhere() -> None:
    root = DOCS.parent
    pages = [
        *DOCS.glob("*.md"),
        *(root / name for name in ("README.md", "CONTRIBUTING.md")),
        root / "examples" / "README.md",
    ]
    missing = []
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / link).exists():
                missing.append(f"{page.name}: {link}")
    assert not missing
