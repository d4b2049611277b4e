"""`kinema explain RECOGNIZER --check DATA`: how far the methods can be trusted on this network."""

from __future__ import annotations

import sys

from jsonargparse import Namespace

from kinema.cli.output import print_json, print_table, print_text
from kinema.errors import KinemaError
from kinema.text import printable


def check_methods(args: Namespace, methods: tuple[str, ...], device: str) -> int:
    """Measures, prints the tables and stores the verdicts; returns 1 if a video could not be read."""
    from kinema.explain.checks import check, named_methods
    from kinema.explain.methods import read_layers
    from kinema.explain.verdicts import require_own_card, store
    from kinema.recognizer import Recognizer

    if args.videos:
        raise KinemaError(
            f"VIDEO {args.videos[0]}: --check takes its videos from DATA; explain other videos with a second command"
        )
    layers = read_layers(args.layer, methods)
    require_own_card(args.recognizer)  # before measurements that may take an hour
    recognizer = Recognizer.load(args.recognizer, device)
    found = check(recognizer, args.check, named_methods(recognizer, methods, layers), clips=args.clips)
    card = store(args.recognizer, found.verdicts)
    if args.json:
        print_json(found.to_dict())
    else:
        print_table(*found.faithfulness.table())
        parts = list(next(iter(found.sanity.values())).randomised)
        rows = [
            [name, *(f"{one.randomised[part].mean:.2f}" for part in parts), f"{one.other_class.mean:.2f}"]
            for name, one in found.sanity.items()
        ]
        print_table(["rank correlation", *parts, "other class"], rows)
        for name, verdict in found.verdicts.items():
            print_text(printable(f"{name}: {verdict.text}"))
        print_text(printable(f"stored in {card}"))
    for failure in found.failures:
        print(printable(f"unreadable: {failure.path}: {failure.reason}"), file=sys.stderr)
    return 1 if found.failures else 0
