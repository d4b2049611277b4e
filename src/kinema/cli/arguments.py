"""What the commands share in reading their arguments."""

from __future__ import annotations

import re
from argparse import ArgumentError
from difflib import get_close_matches
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from kinema.errors import KinemaError


def parse(parser: ArgumentParser, words: list[str]) -> Namespace | None:
    """Parses the words of a command; None when its help was asked for and has been printed.

    Raises:
        KinemaError: bad arguments, in one sentence, with the nearest known option where one is unknown.
    """
    try:
        return parser.parse_args(words)
    except SystemExit as stop:
        if stop.code:
            raise KinemaError(f"{parser.prog}: bad arguments; see {parser.prog} --help") from stop
        return None
    except ArgumentError as error:
        raise KinemaError(_sentence(parser, str(error))) from error


def _sentence(parser: ArgumentParser, message: str) -> str:
    """The first sentence of the parser's message; for an unknown option, the nearest known one."""
    options = [o for action in parser._actions for o in action.option_strings if o.startswith("--")]
    found = re.search(r"[Uu]nrecognized arguments: *(.+)", message, re.S)
    if found:
        word = found.group(1).split()[0].split("=")[0]
        near = get_close_matches(word, options, n=1, cutoff=0.5)
        mend = f"did you mean {near[0]}?" if near else f"see {parser.prog} --help"
        return f"{parser.prog}: unknown argument {word}: {mend}"
    found = re.search(r"[Kk]ey [\"']?([\w.]+)[\"']? is not expected|Option '([\w.]+)' is not accepted", message)
    if found:
        key = found.group(1) or found.group(2)
        near = get_close_matches(key, [o[2:] for o in options], n=1, cutoff=0.5)
        mend = f"did you mean {near[0]!r}?" if near else f"see {parser.prog} --help"
        return f"{parser.prog}: unknown key {key!r}: {mend}"
    message = re.sub(r"<class '(\w+)'>", r"\1", message)
    message = re.sub(r'^Parser key "([\w.]+)"', r"--\1", message)
    return f"{parser.prog}: {' '.join(message.split())}; see {parser.prog} --help"


def add_json(parser: ArgumentParser) -> None:
    """`--json`: the same as the table, for programs."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_device(parser: ArgumentParser) -> None:
    """`--device`: where networks run."""
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, mps")


def device(name: str) -> str:
    """The device that a name asks for; `auto` is the accelerator if there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise KinemaError(f"--device {name}: not to be had here ({reason}); use --device cpu") from error
    return name


def add_recognizer(parser: ArgumentParser) -> None:
    """The positional RECOGNIZER."""
    parser.add_argument("recognizer", type=str, help="a run folder, a recognizer folder or hf-hub:org/name")


def existing(path: str | Path, what: str) -> Path:
    """The path, which must exist."""
    if not Path(path).exists():
        raise KinemaError(f"{path}: there is no such {what}; check the path")
    return Path(path)
