"""Recipes: a YAML file for each training of the papers. Its header says how to start it, what it needs and gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kinema.config_file import CONFIG, read_yaml
from kinema.errors import KinemaError, near_names, unknown

_FOLDER = Path(__file__).parent

# What every header says, in this order.
HEADER = ("command", "parallel", "test", "figure", "protocol", "hardware", "time", "ours")


@dataclass(frozen=True)
class Recipe:
    """A recipe that comes with Kinema.

    Attributes:
        name: as `kinema train` takes it.
        path: of the file.
        title: its first line.
        header: the entries of its header, `HEADER` at least.
        values: the fields that it sets.
    """

    name: str
    path: Path
    title: str
    header: Mapping[str, str]
    values: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "name": self.name,
            "title": self.title,
            "model": self.values["model"],
            "data": self.values["data"].partition(":")[0],
            "weights": self.values.get("weights"),
            **self.header,
            "path": str(self.path),
        }


def names(pattern: str = "*") -> list[str]:
    """The recipes that match a shell pattern (`stm_*`), sorted; without a wildcard, those that contain it."""
    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return sorted(path.stem for path in _FOLDER.glob("*.yaml") if fnmatchcase(path.stem, wanted))


def load(name: str) -> Recipe:
    """A recipe by its name; an unknown one raises `KinemaError` with the nearest."""
    if name not in names():
        raise unknown("recipe", name, names())
    path = _FOLDER / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    comments = [line[1:] for line in text.splitlines() if line.startswith("#")]
    header: dict[str, str] = {}
    key = ""
    for line in comments[1:]:
        found = re.match(r" (\w+)  +(.*)", line)
        if found:
            key = found[1]
            header[key] = found[2].strip()
        elif line.strip():
            header[key] += f" {line.strip()}"
    return Recipe(name, path, comments[0].strip(), header, read_yaml(path))


def find(word: str) -> Path:
    """The file that a word means: a file, a run folder (its `config.yaml`), or a recipe that comes with Kinema.

    Raises:
        KinemaError: it is none of these; the nearest is offered.
    """
    path = Path(word)
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise KinemaError(f"{word} is a folder without {CONFIG}: give a recipe or a run folder")
        return path / CONFIG
    if path.is_file():
        return path
    if word in names():
        return _FOLDER / f"{word}.yaml"
    if not path.suffix and path.name == word:
        raise KinemaError(f"{unknown('recipe', word, names())} (`kinema recipes` lists all)")
    if path.stem in names():
        raise KinemaError(f"no recipe at {word!r}: write {path.stem}, which comes with Kinema")
    there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = near_names(path.name, there)
    fix = f"did you mean {str(path.parent / near[0])!r}?" if near else "correct the path"
    raise KinemaError(f"no recipe at {word!r}: {fix}")


def weights_of(word: str | None) -> str | None:
    """What `weights` of a configuration means: where it names a recipe, the folder of that recipe's run.

    Args:
        word: a run, a release, a file, or a recipe; None starts without weights.

    Raises:
        KinemaError: the run of the recipe is not there, or not finished; the command that makes it is named.
    """
    if word is None or word not in names() or Path(word).exists():
        return word
    recipe = load(word)
    run = Path(recipe.values["out"])
    if (run / "recognizer").is_dir():
        return str(run)
    state = "is not finished" if (run / CONFIG).is_file() else f"is not in {run}"
    raise KinemaError(
        f"weights is {word}, a recipe whose run {state}: train it first with `{recipe.header['command']}`, or give the "
        "folder of its run as --weights"
    )


def views_of_test(file: Path) -> str | None:
    """The views with which a recipe is tested, by its header; None for a file that does not come with Kinema."""
    if file.stem not in names() or file.resolve() != (_FOLDER / f"{file.stem}.yaml").resolve():
        return None
    found = re.search(r"--views (\S+)", load(file.stem).header["test"])
    return found[1] if found else None
