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
from kinema.weights.importing import import_weights, read_tensors


def add_arguments(parser: ArgumentParser) -> None:
    """FILE, the network, and where the recognizer goes."""
    parser.add_argument("file", type=str, help="safetensors or PyTorch file of another release, or hf-hub:org/name")
    parser.add_argument("--model", type=str, required=True, help="a name of the zoo")
    parser.add_argument("--labels", type=str, default=None, help="text file with one label a line, for the recognizer")
    parser.add_argument("--classes", type=int, default=None, help="outputs, where no labels are given")
    parser.add_argument("--options", type=dict[str, Any], default={}, help="further options of the model")
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
    tensors = read_tensors(args.file)
    classes = len(labels) if labels else args.classes or 400
    model = create_model(args.model, num_classes=classes, **args.options)
    report = import_weights(model, tensors)
    if args.json:
        print_json({**asdict(report), "complete": report.complete})
    else:
        print("\n".join(report.lines()))
    if not report.complete:
        raise RunError(f"{args.file}: does not fit {args.model} completely; nothing was saved")
    if args.out is not None and labels is not None:
        card = {"weights": {"source": str(args.file), "classifier": "imported" if report.classifier else "random"}}
        Recognizer(model.eval(), labels, model.clip_spec, card).save(args.out)
        if not args.json:
            print(f"recognizer saved in {args.out}")
