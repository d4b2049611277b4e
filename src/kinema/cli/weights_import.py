"""`kinema weights import FILE --model M`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import print_json
from kinema.weights.get import Imported, IncompleteWeights, import_file


def add_arguments(parser: ArgumentParser) -> None:
    """Adds FILE, the network and the output folder."""
    parser.add_argument("file", type=str, help="safetensors or PyTorch file of another release, or hf-hub:org/name")
    parser.add_argument("--model", type=str, required=True, help="name of a network; see kinema models")
    parser.add_argument(
        "--labels", type=str, default=None, help="text file with one label per line, for the recognizer"
    )
    parser.add_argument("--classes", type=int, default=None, help="number of outputs, if no labels are given")
    parser.add_argument(
        "--options", type=dict[str, Any], default={}, help="options of the model that cannot be inferred from the file"
    )
    parser.add_argument("--clip", type=dict[str, Any], default={}, help="fields of the ClipSpec to set, such as stride")
    parser.add_argument("--out", type=str, default=None, help="save a recognizer in this folder")
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints the report of the conversion, and the output folder."""
    try:
        found = import_file(
            args.file, args.model, args.out, labels=args.labels, classes=args.classes, options=args.options,
            clip=args.clip,
        )  # fmt: skip
    except IncompleteWeights as error:
        _report(error.imported, args)
        raise
    _report(found, args)
    if found.saved is not None and not args.json:
        print(f"recognizer saved in {args.out}")


def _report(found: Imported, args: Namespace) -> None:
    if args.json:
        print_json({**asdict(found.report), "complete": found.complete, **found.implied.to_dict()})
    else:
        print("\n".join([*found.implied.lines(args.options), *found.report.lines()]))
