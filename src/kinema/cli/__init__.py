"""The command line: `kinema COMMAND`. Each command is a module with `add_arguments(parser)` and `run(args)`.

Only the module of the requested command is imported, so that `kinema --help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TextIO

from kinema import __version__
from kinema.errors import KinemaError, KinemaWarning, RunError, unknown
from kinema.files import describe
from kinema.memory import keep_freed_memory

if TYPE_CHECKING:
    from kinema.cli.arguments import CommandParser

_WAIT = 5  # seconds
# The words of a command -> (module, one line of help). Two words are a group and its command.
COMMANDS = {
    "demo": ("demo", "run the whole workflow on generated clips, offline, on a CPU"),
    "models": ("models", "list the networks: paper, frames, size, parameters, MACs"),
    "cost": ("cost", "count parameters, MACs and FLOPs of networks; with --latency also time them on this machine"),
    "data puppets": ("data_puppets", "generate the built-in synthetic data set"),
    "data doctor": ("data_doctor", "check labels, splits, leaks and unusual files before training"),
    "data pack": (
        "data_pack",
        "re-encode videos at a smaller size for fast decoding; list the unreadable ones",
    ),
    "recipes": ("recipes", "list the papers' training recipes: network, data, accuracy in the paper"),
    "train": ("train", "train a network; repeat the command to resume an interrupted training"),
    "splits": ("splits", "train and test on every official split of a data set, and print the mean"),
    "test": ("test", "test a recognizer: accuracy, coverage and the scores of every video"),
    "compare": (
        "compare",
        "compare tests video by video: McNemar's test, intervals, gains per class, means over seeds",
    ),
    "report": ("report", "show runs on one page: curves, confusion, classes, comparison, calibration, cost, coverage"),
    "predict": ("predict", "recognise actions in files, folders and glob patterns"),
    "explain": ("explain", "show where and when a network saw the evidence for a class: MP4, GIF, PNG, SVG, JSON"),
    "stream": ("stream", "recognise actions in a camera, an address or a file as frames arrive, one line per decision"),
    "label": ("label", "label many videos into a Parquet table, on one machine or a Ray cluster; resumable"),
    "timeline": ("timeline", "find the actions in long videos: segments with start and end"),
    "export": ("export", "export a recognizer for other programs: ONNX, OpenVINO or torch.export, with a parity check"),
    "app": ("app", "serve a web page on this machine: recognise uploads, see why, check a data set"),
    "weights list": ("weights_list", "list public releases of weights: data, accuracy, licence, address"),
    "weights get": ("weights_get", "download a release, check every name and shape, save a recognizer"),
    "weights import": ("weights_import", "load a weights file from elsewhere into a network, and report every name"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments after `kinema`; None uses those of the process.

    Returns:
        The exit status: 0, 2 for bad input, 1 for a failed run, 130 when interrupted.
    """
    _print_any_name()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [w for w in words if w != "--debug"]
    try:
        with _notes():
            return _dispatch(words)
    except KinemaError as error:
        if debug:
            raise
        if os.environ.get("RANK", "0") != "0":
            # All processes of torchrun find the same mistake: the first one prints it, and torchrun ends the others.
            time.sleep(_WAIT)
        _complain(str(error))
        return error.exit_status
    except BrokenPipeError:
        # The reader of the pipe (`| head`) has closed it. Python would report the error again when it closes stdout.
        sys.stderr.close()
        return 0
    except OSError as error:  # any file or folder, wherever it was opened
        if debug:
            raise
        _complain(describe(error, " ".join(["kinema", *_command(words)])))
        return KinemaError.exit_status if isinstance(error, PermissionError) else RunError.exit_status
    except KeyboardInterrupt:
        print("kinema: interrupted", file=sys.stderr)
        return 130


def _print_any_name() -> None:
    """Prints characters that stdout and stderr cannot encode as escapes such as `\\udce9`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _command(words: list[str]) -> list[str]:
    """Returns the leading words that name a command."""
    return next((words[:n] for n in (2, 1) if " ".join(words[:n]) in COMMANDS), [])


@contextmanager
def _notes() -> Iterator[None]:
    """Prints a `KinemaWarning` as one line on stderr, without the source location that Python adds."""
    plain = warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
        line: str | None = None,
    ) -> None:  # fmt: skip
        if issubclass(category, KinemaWarning):
            _complain(f"note: {message}")
        else:
            plain(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = plain


def _complain(sentence: str) -> None:
    print(f"kinema: {sentence}", file=sys.stderr)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(__version__)
        return 0
    name, rest = words[0], words[1:]
    groups = {c.split()[0] for c in COMMANDS if " " in c}
    if name in groups:
        inside = [c for c in COMMANDS if c.startswith(f"{name} ")]
        if not rest or rest[0] in ("-h", "--help"):
            print("\n".join(_line(c) for c in inside))
            return 0
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    module = import_module(f"kinema.cli.{COMMANDS[name][0]}")
    parser = build_parser(name)
    from kinema.cli.arguments import parse

    if hasattr(module, "rewrite"):
        rest = module.rewrite(rest)
    args = parse(parser, rest)
    if args is None:  # the help text was requested and has been printed
        return 0
    keep_freed_memory()
    return int(module.run(args) or 0)


def build_parser(name: str) -> CommandParser:
    """Returns the parser of one command, a key of `COMMANDS`. The documentation prints its help."""
    from kinema.cli.arguments import CommandParser

    module_name, about = COMMANDS[name]
    parser = CommandParser(
        prog=f"kinema {name}",
        description=about[0].upper() + about[1:] + ".",
        exit_on_error=False,
        allow_abbrev=False,
    )
    import_module(f"kinema.cli.{module_name}").add_arguments(parser)
    return parser


def _line(name: str) -> str:
    return f"  kinema {name:<16} {COMMANDS[name][1]}"


def _overview() -> str:
    lines = [f"Kinema {__version__}: recognise human actions in video, and show why.", "", "Commands:"]
    lines += [_line(name) for name in COMMANDS]
    return "\n".join(
        [*lines, "", "`kinema COMMAND --help` explains a command; `--debug` shows the traceback of an error."]
    )
