"""`kinema models [PATTERN]`."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import print_json, print_table
from kinema.errors import KinemaError
from kinema.evaluation.cost import count
from kinema.models import find, list_models


def add_arguments(parser: ArgumentParser) -> None:
    """PATTERN and the input that the counts are for."""
    parser.add_argument("pattern", nargs="?", type=str, default="*", help="part of a name, or a shell pattern")
    parser.add_argument("--classes", type=int, default=400, help="outputs of the classifier")
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints the zoo."""
    names = list_models(args.pattern)
    if not names:
        raise KinemaError(f"no model matches {args.pattern!r}: `kinema models` lists all")
    rows: list[dict[str, Any]] = []
    for name in names:
        cost = count(name, num_classes=args.classes)
        rows.append({"model": name, "paper": find(name).paper, **cost.to_dict()})
    if args.json:
        print_json(rows)
        return
    print_table(
        ["model", "paper", "frames", "size", "params", "MACs"],
        [[r["model"], r["paper"], r["frames"], r["size"], f"{r['params'] / 1e6:.2f} M", f"{r['macs'] / 1e9:.2f} G"]
         for r in rows],
        caption=f"{args.classes} classes; MACs of one view (convolutions + linear layers; FLOPs are twice as many)",
    )  # fmt: skip
