"""`kinema weights import FILE --model M`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json, existing
from kinema.cli.output import print_json
from kinema.data.label_order import numbers_as_text
from kinema.data.labels import read_label_file
from kinema.errors import KinemaError, RunError
from kinema.models import create_model
from kinema.recognizer import Recognizer
from kinema.weights.implied import implied
from kinema.weights.importing import import_weights, read_tensors


def add_arguments(parser: ArgumentParser) -> None:
    """FILE, the network, and where the recognizer goes."""
    parser.add_argument("file", type=str, help="safetensors or PyTorch file of another release, or hf-hub:org/name")
    parser.add_argument("--model", type=str, required=True, help="a name of the zoo")
    parser.add_argument("--labels", type=str, default=None, help="text file with one label a line, for the recognizer")
    parser.add_argument("--classes", type=int, default=None, help="outputs, where no labels are given")
    parser.add_argument(
        "--options", type=dict[str, Any], default={}, help="options of the model that the file does not imply"
    )
    parser.add_argument("--clip", type=dict[str, Any], default={}, help="fields of the ClipSpec to set, such as stride")
    parser.add_argument("--out", type=str, default=None, help="save a recognizer in this folder")
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints the report; saves only what is complete."""
    labels = None
    if args.labels is not None:
        labels = read_label_file(existing(args.labels, "file of labels"))
        odd = numbers_as_text(labels)
        if odd is not None:
            message = f"warning: {args.labels} orders numbers as text: output {labels.index(odd)} is called {odd!r}"
            print(message, file=sys.stderr)
    if args.out is not None and labels is None:
        raise KinemaError("--out needs --labels FILE: a recognizer must know what its outputs are called")
    if "num_classes" in args.options:
        raise KinemaError("--options.num_classes cannot be given: give --labels or --classes")
    tensors = read_tensors(args.file)
    classes = len(labels) if labels else args.classes or 400
    found = implied(args.model, args.options, tensors, args.file)
    try:
        options = found.complete(args.options)
    except KinemaError as error:
        raise KinemaError(f"{args.file}: {error}") from error
    model = create_model(args.model, **{**options, "num_classes": classes})
    spec = found.spec(model, args.clip)
    report = import_weights(model, tensors)
    if args.json:
        print_json({**asdict(report), "complete": report.complete, **found.to_dict()})
    else:
        print("\n".join([*found.lines(args.options), *report.lines()]))
    if not report.complete:
        raise RunError(f"{args.file}: does not fit {args.model} completely; nothing was saved")
    if args.out is not None and labels is not None:
        card = {
            "weights": {
                "source": str(args.file),
                "classifier": "imported" if report.classifier else "random",
                "format": found.format,
                "implied": found.to_dict(),
            }
        }
        Recognizer(model.eval(), labels, spec, card).save(args.out)
        if not args.json:
            print(f"recognizer saved in {args.out}")
