"""`kinema train RECIPE | --model M --data D`."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import CommandParser, device, parse
from kinema.cli.output import say
from kinema.clip_spec import ClipSpec
from kinema.config_file import read_yaml
from kinema.data.loading.limits import ReadLimits
from kinema.data.manifest import read_manifest
from kinema.data.photometric import Photometric
from kinema.data.transforms import Augment
from kinema.errors import KinemaError, unknown
from kinema.recipes import find, read_about, weights_of
from kinema.training.config import Optim, TrainConfig
from kinema.training.distil import Distil
from kinema.training.multigrid import Multigrid
from kinema.training.twins import Twins

_GROUPS = {
    "optim": Optim, "augment": Augment, "photometric": Photometric, "twins": Twins, "distil": Distil,
    "multigrid": Multigrid, "limits": ReadLimits,
}  # fmt: skip


# The parser reads `--optim.lr_mult.layer4.1` as a nested mapping, but the dots are part of the name.
_BY_PART, _DOT = "--optim.lr_mult.", "/"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds a recipe, and every field of `TrainConfig` to override it."""
    parser.add_argument(
        "--recipe",
        action="config",
        help="a YAML file with the fields below, a run folder, or a name of `kinema recipes`; --recipe may be omitted",
    )
    parser.add_argument(
        "--about", type=dict | None, default=None, help="description of a recipe; it has no effect on the training"
    )
    parser.add_class_arguments(TrainConfig, as_group=False)


def rewrite(words: list[str]) -> list[str]:
    """Accepts the recipe as the first word without its option, finds its file, and marks dots in names of parts."""
    words = ["--recipe", *words] if words and not words[0].startswith("-") else list(words)
    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option.startswith(_BY_PART):
            words[i] = _BY_PART + option.removeprefix(_BY_PART).replace(".", _DOT) + equals + value
        if option == "--recipe" and equals:
            words[i] = f"--recipe={_checked(value)}"
        elif option == "--recipe" and i + 1 < len(words):
            words[i + 1] = str(_checked(words[i + 1]))
    return words


def run(args: Namespace) -> None:
    """Starts or resumes a training."""
    from kinema.training.run import train  # Lightning takes seconds to import, which --help should not wait for

    config = configuration(args)
    device(config.device)
    train(with_weights(config), say=say)


def with_weights(config: TrainConfig) -> TrainConfig:
    """Returns the configuration with the run folder of a recipe in place of the recipe's name.

    Raises:
        KinemaError: the data cannot be read, or that run does not exist.
    """
    try:
        return replace(config, weights=weights_of(config.weights))
    except KinemaError:
        read_manifest(config.data)  # errors in the data are reported first: the other training may take days
        raise


def _checked(word: str) -> Path:
    """Reads the file of a recipe; mistakes are reported here, where they are known to be in the file."""
    file = find(word)
    read_about(read_yaml(file), file)
    parser = CommandParser(prog="kinema train", exit_on_error=False, allow_abbrev=False)
    add_arguments(parser)
    # Required fields may follow on the command line.
    args = parse(parser, ["--model", "-", "--data", "-", "--recipe", str(file)], file=file)
    if args is not None:
        try:
            configuration(args)
        except KinemaError as error:
            raise KinemaError(f"{file}: {error}") from error
    return file


def configuration(args: Namespace) -> TrainConfig:
    """Returns the `TrainConfig` given by the arguments.

    Raises:
        KinemaError: a field has an invalid value.
    """
    values: dict[str, Any] = {k: v for k, v in args.as_dict().items() if k not in ("recipe", "about")}
    _require_values(TrainConfig, values, "")
    for name, group in _GROUPS.items():
        if not isinstance(values[name], dict):
            raise KinemaError(
                f"{name} is {values[name]!r}: give its fields, {', '.join(f.name for f in fields(group))}"
            )
        _require_values(group, values[name], f"{name}.")
        if name == "optim":
            factors = values[name]["lr_mult"].items()
            values[name]["lr_mult"] = {k.replace(_DOT, ".") if isinstance(k, str) else k: v for k, v in factors}
        values[name] = group(**values[name])
    known = [f.name for f in fields(ClipSpec)]
    for key in values["clip"]:
        if key not in known:
            raise unknown("key of clip", key, known)
    return TrainConfig(**values)


def _require_values(kind: type, values: dict[str, Any], prefix: str) -> None:
    """Rejects a line without a value, which is read as None, if the field may not be None."""
    for field in fields(kind):
        if field.default is not None and values[field.name] is None:
            fix = "fill it in" if field.default is MISSING and field.default_factory is MISSING else "remove the line"
            raise KinemaError(f"{prefix}{field.name} has no value: {fix}")
