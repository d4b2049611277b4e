"""Parsing of arguments, shared by all commands."""

from __future__ import annotations

import re
from argparse import Action, ArgumentError
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from kinema.clip_spec import ClipSpec
from kinema.data.loading.limits import ReadLimits
from kinema.errors import KinemaError, near_names, unknown


@dataclass(frozen=True)
class Declared:
    """An argument of a command.

    Attributes:
        options: its names, such as `--optim.lr`; empty for a positional argument.
        hint: its type; None for a group of fields and for an argument without a type.
        default: its value if it is not given.
    """

    options: tuple[str, ...]
    hint: Any
    default: Any


class CommandParser(ArgumentParser):
    """A parser that keeps what was declared, so that an error message can say what an argument takes.

    Attributes:
        declared: name of the field -> its declaration.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.declared: dict[str, Declared] = {}
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> Action:
        """Adds an argument, as `ArgumentParser.add_argument` does."""
        action: Action = super().add_argument(*args, **kwargs)
        declared = getattr(self, "declared", None)  # argument groups share this method, but have no `declared`
        if declared is not None:
            hint = kwargs.get("type")
            declared[action.dest] = Declared(tuple(action.option_strings), hint, action.default)
        return action

    def add_class_arguments(self, theclass: type, nested_key: str | None = None, **kwargs: Any) -> list[str]:
        """Adds the fields of a dataclass, as `ArgumentParser.add_class_arguments` does."""
        added: list[str] = super().add_class_arguments(theclass, nested_key, **kwargs)
        if nested_key:
            self.declared[nested_key] = Declared((f"--{nested_key}",), None, None)
        self.declared |= _declared(theclass, f"{nested_key}." if nested_key else "")
        return added


def _declared(kind: Any, prefix: str) -> dict[str, Declared]:
    """Yields the fields of a dataclass and of nested dataclasses, with their names on the command line."""
    found: dict[str, Declared] = {}
    hints = get_type_hints(kind)
    for field in fields(kind):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if is_dataclass(hint) and isinstance(hint, type):
            found[name] = Declared((f"--{name}",), None, None)
            found |= _declared(hint, f"{name}.")
        else:
            found[name] = Declared((f"--{name}",), hint, None if default is MISSING else default)
    return found


def parse(parser: CommandParser, words: list[str], *, file: Path | None = None) -> Namespace | None:
    """Parses the arguments of a command; returns None if its help was requested and has been printed.

    A list may be written `32,40` or `32 40` as well as `[32,40]`.

    Args:
        parser: the parser of the command.
        words: the arguments after its name.
        file: the file that contains any mistake, if the words cannot.

    Raises:
        KinemaError: bad arguments, in one sentence; for an unknown option with the nearest known one.
    """
    try:
        return parser.parse_args(_with_lists(parser, words))
    except SystemExit as stop:
        if stop.code:
            raise KinemaError(f"bad arguments; see {parser.prog} --help") from stop
        return None
    except ArgumentError as error:
        sentence = _sentence(parser, str(error), "" if file else "--")
        more = "" if sentence.endswith("?") else f"; see {parser.prog} --help"
        raise KinemaError(f"{file}: {sentence}" if file else sentence + more) from error


def _sentence(parser: CommandParser, message: str, dash: str) -> str:
    """Rewrites an error message of the parser in plain words.

    Args:
        parser: the parser, which knows the options and their types.
        message: the message of jsonargparse or argparse.
        dash: the prefix of a field's name: `--`, or empty if the field is in a file.
    """
    actions = {name: one for name, one in parser.declared.items() if one.options}
    options = [o for one in actions.values() for o in one.options if o.startswith("--")]
    found = re.search(r"[Uu]nrecognized arguments: *(.+)", message, re.S)
    if found:
        word = found.group(1).split()[0].split("=")[0]
        group, dot, field = word.rpartition(".")
        inside = [o.removeprefix(f"{group}.") for o in options if dot and o.startswith(f"{group}.")]
        if inside:  # the group exists, so suggest only options of this group
            near = [o for o in inside if o.startswith(field)] or near_names(field, inside)
            offer = f": did you mean {group}.{near[0]}?" if near else f"; choose from {', '.join(sorted(inside))}"
            return f"unknown argument {word}{offer}"
        near = (
            [o for o in options if o.startswith(word)]
            or [o for o in options if o.endswith(f".{word.lstrip('-')}")]
            or _inside(actions, word.lstrip("-"))
            or [f"--{name}" for name in near_names(word.lstrip("-"), [o.removeprefix("--") for o in options])]
        )
        return f"unknown argument {word}" + (f": did you mean {near[0]}?" if near else ": remove it")
    found = re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message)
    if found:
        inside = [name.removeprefix(f"{found[1]}.") for name in actions if name.startswith(f"{found[1]}.")]
        return str(unknown(f"key of {found[1]}", found[2], inside, list_all=True))
    found = re.search(r"[Kk]ey [\"']?([\w.]+)[\"']? is not expected|Option '([\w.]+)' is not accepted", message)
    if found:
        return str(unknown("key", found[1] or found[2], actions))
    found = re.search(r"argument (--[\w.-]+): expected one argument", message)
    if found:
        return f"{found[1]} needs a value: give {_wanted(actions.get(found[1][2:]))}"
    found = re.search(r"arguments are required: (.+)", message)
    if found:
        names = [f"{dash}{name}" if name in actions else name.upper() for name in found[1].split(", ")]
        return f"{' and '.join(names)} must be given"
    found = re.match(r"Parser key \"([\w.]+)\":\s*(.*)", message, re.S)
    if found and found[1] in actions:
        value = re.search(r"(?:Got|Given) value: *(.+)\Z", found[2], re.S)
        name = (
            actions[found[1]].options[-1] if dash else found[1]
        )  # the option is --random-clips, but the key is random_clips
        return _refused(name, actions[found[1]], value[1].strip() if value else None)
    return " ".join(message.split())


def _inside(actions: Mapping[str, Declared], name: str) -> list[str]:
    """Returns the options with their group, such as `--clip.stride`, that a field without its group may mean."""
    found = []
    if "clip" in actions and name in {field.name for field in fields(ClipSpec)}:
        found.append(f"--clip.{name}")
    if "options" in actions and "model" in actions:
        from kinema.models import find_model, list_models

        if any(name in find_model(model).options() for model in list_models()):
            found.append(f"--options.{name}")
    return found


def _refused(name: str, action: Declared, value: str | None) -> str:
    """Returns the message for a rejected value; the value is None if the parser does not report it."""
    hint = action.hint
    choices = [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []
    if value is None or (value in choices and not name.startswith("--")):
        return f"{name} takes {_wanted(action)}" + (
            f": write {value} in quotes, because it is a string" if value else ""
        )
    if choices:
        return str(unknown(name, value, choices))
    wanted = _wanted(action)
    if not name.startswith("--"):
        wanted = re.sub(r",(?! )", ", ", wanted)  # as YAML writes a list
    return f"{name} takes {wanted}, not {value!r}"


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


def _wanted(action: Declared | None) -> str:
    """Describes the values that a field takes."""
    hint = action.hint if action is not None else None
    parts = [part for part in get_args(hint) if part is not type(None)]
    if get_origin(hint) in (tuple, list):
        kind = _KINDS.get(parts[0], "a name").removeprefix("a ")
        number = "" if Ellipsis in parts or len(parts) == 1 else f"{len(parts)} "
        example = ",".join(map(str, (action.default if action is not None else None) or ()))
        return f"{number}{kind}s" + (f" such as {example}" if example else "")
    if get_origin(hint) is Literal:
        return " or ".join(map(str, parts))
    if get_origin(hint) is dict:
        return "names with numbers, {name: 0.1}" if float in parts else "names with values, {name: value}"
    if len(parts) == 1:
        return f"{_KINDS.get(parts[0], 'a string')} or null"
    return "its fields, given one by one" if hint is None else _KINDS.get(hint, "a string")


def _with_lists(parser: CommandParser, words: list[str]) -> list[str]:
    """Rewrites `--x 32,40` and `--x 32 40` as `--x [32,40]` if x takes a list."""
    lists = {
        option for one in parser.declared.values() if get_origin(one.hint) in (tuple, list) for option in one.options
    }
    result: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if option not in lists or (not equals and not rest):
            result.append(word)
            continue
        given = [value if equals else rest.pop(0)]
        while rest and re.fullmatch(r"[\d.]+,?", rest[0]) and re.fullmatch(r"[\d.]+,?", given[-1]):
            given.append(rest.pop(0))
        text = ",".join(part.strip(",") for part in given) if given[1:] else given[0]
        result += [option, text if text.lstrip().startswith("[") else f"[{text}]"]
    return result


def add_json(parser: ArgumentParser) -> None:
    """Adds `--json`: the content of the table, for programs."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_device(parser: ArgumentParser) -> None:
    """Adds `--device`: the device that runs the networks."""
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1 or mps")


def add_precision(parser: ArgumentParser) -> None:
    """Adds `--precision`: the numeric precision of a recognizer."""
    parser.add_argument("--precision", type=Literal["32", "bf16"], default="32", help="32: float32; bf16: convolutions "
                        "and matrix products in bfloat16, on devices that support it")  # fmt: skip


def device(name: str) -> str:
    """Returns the device of a name; `auto` is the accelerator if there is one."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = re.split(r"\n|\. ", str(error))[0]
        raise KinemaError(f"--device {name}: not available here ({reason}); use --device cpu") from error
    return name


def add_reading(parser: ArgumentParser) -> None:
    """Adds `--workers` and `--limits.…`, which control how videos are read."""
    parser.add_argument("--workers", type=int, default=-1, help="processes that read videos; -1: one per core, at most "
                        "16; 0: read in this process, without protection from files that crash or hang")  # fmt: skip
    parser.add_class_arguments(ReadLimits, "limits")


def read_limits(args: Namespace) -> ReadLimits:
    """Returns the `ReadLimits` given by the arguments."""
    return ReadLimits(**args.limits.as_dict())


def check_reading(args: Namespace) -> None:
    """Raises `KinemaError` for an invalid number of readers, limit or batch size."""
    read_limits(args)
    if args.workers < -1:
        raise KinemaError(f"--workers {args.workers}: give 0 or more, or -1 for one per core")
    if args.batch < 1:
        raise KinemaError(f"--batch {args.batch}: give at least 1")


def add_recognizer(parser: ArgumentParser) -> None:
    """Adds the positional RECOGNIZER."""
    parser.add_argument("recognizer", type=str, help="a run folder, a recognizer folder, hf-hub:org/name or, "
                        "for commands that only classify or stream, a file written by kinema export")  # fmt: skip


def existing(path: str | Path, what: str) -> Path:
    """Returns the path, which must exist."""
    if not Path(path).exists():
        raise KinemaError(f"{path}: there is no such {what}; check the path")
    return Path(path)
