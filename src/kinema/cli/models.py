"""`kinema models [PATTERN]`."""

from __future__ import annotations

import json
from typing import get_type_hints

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import print_json, print_table, print_text
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError
from kinema.evaluation.zoo import CLASSES, zoo
from kinema.text import matching_names


def add_arguments(parser: ArgumentParser) -> None:
    """Adds PATTERN and the options of the counts."""
    parser.add_argument("pattern", nargs="?", type=str, default="*", help="part of a name, or a shell pattern")
    parser.add_argument("--classes", type=int, default=CLASSES, help="outputs of the classifier")
    parser.add_argument("--options", action="store_true", help="explain the options of one network and of its clips")
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints the table of models, or the options of one network."""
    if args.classes < 1:
        raise KinemaError(f"--classes {args.classes}: give at least 1")
    names = matching_names(zoo(), args.pattern)
    if not names:
        raise KinemaError(f"no model matches {args.pattern!r}: `kinema models` lists all")
    if args.options:
        _explain(args.pattern if args.pattern in names else names[0], len(names), args)
        return
    rows = [zoo()[name].to_dict(args.classes) for name in names]
    if args.json:
        print_json(rows)
        return
    print_table(
        ["model", "paper", "frames", "size", "params", "MACs"],
        [[r["model"], r["paper"], r["frames"], r["size"], f"{r['params'] / 1e6:.2f} M", f"{r['macs'] / 1e9:.2f} G"]
         for r in rows],
        caption=f"{args.classes} classes; MACs of one view (convolutions + linear layers; FLOPs are twice as many)",
    )  # fmt: skip


def _explain(name: str, matches: int, args: Namespace) -> None:
    if name != args.pattern and matches > 1:
        raise KinemaError(f"--options explains one network, but {args.pattern!r} matches {matches}: give the full name")
    # PyTorch takes seconds to import, and the table does not need it.
    import torch

    from kinema.models import create_model, describe, find_model
    from kinema.models.options import argument_texts, type_text

    entry = find_model(name)
    options = {
        option.name: {key: value for key, value in option.to_dict().items() if key != "name"}
        for option in describe(name)
        if option.name not in ("num_classes", "frames")  # these follow from the labels and clip.frames
    }
    with torch.device("meta"):
        spec = create_model(name, num_classes=2).clip_spec
    about, hints = argument_texts(ClipSpec), get_type_hints(ClipSpec)
    clip = {
        key: {"type": type_text(hints[key]), "default": value, "about": about.get(key, "")}
        for key, value in spec.to_dict().items()
    }
    if args.json:
        print_json({"model": name, "options": options, "clip": clip})
        return
    for title, prefix, fields in ((f"{name}: {entry.paper}", "--options.", options), ("Its clips", "--clip.", clip)):
        print(f"{title}\n")
        for key, field in fields.items():
            print_text(f"{prefix}{key} {json.dumps(field['default'])} ({field['type']})", "  ")
            print_text(field["about"], "      ")
        print()
