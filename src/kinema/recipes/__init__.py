"""Recipes: a YAML file per training of the papers, whose `about` states commands, cost and expected accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_type_hints

from kinema.config_file import CONFIG, read_yaml
from kinema.errors import KinemaError, near_names, unknown

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class About:
    """Description of a recipe, from its block `about`; it has no effect on the training.

    Attributes:
        title: name of the training, with its source.
        command: command that starts the training.
        parallel: command that starts it in several processes.
        test: command that tests it as in the paper.
        views: `CLIPSxCROPS` of that test.
        top1: accuracy in the paper, in per cent.
        figure: the same in words, with the number of the table.
        protocol: frames, views and split.
        hardware: hardware of the paper.
        time: estimated time of the training.
        ours: choices made where the paper leaves something open.
    """

    title: str = ""
    command: str = ""
    parallel: str = ""
    test: str = ""
    views: str = "1x1"
    top1: float | None = None
    figure: str = ""
    protocol: str = ""
    hardware: str = ""
    time: str = ""
    ours: str = ""


def read_about(values: Mapping[str, Any], file: Path) -> About:
    """Reads the block `about` of a recipe; all of its fields are optional.

    Args:
        values: the fields of the recipe.
        file: path of the recipe, for messages.

    Raises:
        KinemaError: it is not a block, has an unknown field, or a field of another type.
    """
    block = values.get("about", {})
    known = get_type_hints(About)
    if not isinstance(block, Mapping):
        raise KinemaError(f"{file}: about is {block!r}; give its fields, {', '.join(known)}")
    for key, value in block.items():
        if key not in known:
            raise KinemaError(f"{file}: {unknown('key of about', str(key), known, list_all=True)}")
        if key == "top1":
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise KinemaError(f"{file}: about.top1 is {value!r}; give a percentage, or remove the line")
        elif not isinstance(value, str):
            raise KinemaError(
                f"{file}: about.{key} is {value!r}; give a string, in quotes if YAML reads it as another type"
            )
    return About(**block)


@dataclass(frozen=True)
class Recipe:
    """A recipe that comes with Kinema.

    Attributes:
        name: its name for `kinema train`.
        path: path of the file.
        about: its description.
        values: the fields that it sets.
    """

    name: str
    path: Path
    about: About
    values: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `--json`."""
        return {
            "name": self.name,
            "model": self.values["model"],
            "data": self.values["data"].partition(":")[0],
            "weights": self.values.get("weights"),
            **asdict(self.about),
            "path": str(self.path),
        }


def names(pattern: str = "*") -> list[str]:
    """Returns the sorted names that match a shell pattern (`stm_*`) or, without a wildcard, contain it."""
    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    return sorted(path.stem for path in _FOLDER.glob("*.yaml") if fnmatchcase(path.stem, wanted))


def load(name: str) -> Recipe:
    """Loads a recipe by its name; an unknown name raises `KinemaError` with the nearest one."""
    if name not in names():
        raise unknown("recipe", name, names())
    path = _FOLDER / f"{name}.yaml"
    values = read_yaml(path)
    return Recipe(name, path, read_about(values, path), {k: v for k, v in values.items() if k != "about"})


def find(word: str) -> Path:
    """Returns the file that a word names: a file, a run folder (its `config.yaml`), or a recipe of Kinema.

    Raises:
        KinemaError: the word is none of these; the nearest name is suggested.
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
        f"weights is {word}, a recipe whose run {state}: train it first with `{recipe.about.command}`, or give the "
        "folder of its run as --weights"
    )


def views_of_test(file: Path) -> str | None:
    """The views with which a recipe is tested, by its `about`; None for a file that does not come with Kinema."""
    if file.stem not in names() or file.resolve() != (_FOLDER / f"{file.stem}.yaml").resolve():
        return None
    return load(file.stem).about.views
