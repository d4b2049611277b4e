"""`kinema recipes [PATTERN]`."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import print_json, print_table
from kinema.errors import KinemaError
from kinema.recipes import load, names


def add_arguments(parser: ArgumentParser) -> None:
    """Adds PATTERN."""
    parser.add_argument("pattern", nargs="?", type=str, default="*", help="part of a name, or a shell pattern")
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints the list of recipes, or the whole file if only one matches."""
    found = names(args.pattern)
    if not found:
        raise KinemaError(f"no recipe matches {args.pattern!r}: `kinema recipes` lists all")
    if args.pattern in found:  # a full name means that recipe, even if other names contain it
        found = [args.pattern]
    rows = [load(name).to_dict() for name in found]
    if args.json:
        print_json(rows)
        return
    if len(rows) == 1:
        print(load(found[0]).path.read_text(encoding="utf-8"), end="")
        return
    print_table(
        ["recipe", "model", "data", "figure of the paper"],
        [[row["name"], row["model"], row["data"], row["figure"]] for row in rows],
        caption="kinema train RECIPE --data CATALOGUE:FOLDER trains one; kinema recipes RECIPE shows the whole file",
    )
