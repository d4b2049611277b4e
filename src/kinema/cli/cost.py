"""`kinema cost MODEL...`."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, add_json, device
from kinema.cli.output import print_json, print_table, print_text
from kinema.errors import KinemaError
from kinema.evaluation.cost import count, environment
from kinema.evaluation.latency import WARM_UP, latency
from kinema.evaluation.papers import PaperRow, paper_rows, tables


def add_arguments(parser: ArgumentParser) -> None:
    """MODEL... and the input."""
    parser.add_argument("models", nargs="*", type=str, help="names of the zoo")
    parser.add_argument(
        "--paper",
        type=str,
        default=None,
        help=f"instead: a paper's table beside our counts; {', '.join(tables())}, all",
    )
    parser.add_argument("--classes", type=int, default=400, help="outputs of the classifier")
    parser.add_argument("--frames", type=int, default=None, help="T; default: what the network is meant for")
    parser.add_argument(
        "--size", type=int, default=None, help="height and width in pixels; default: the network's crop"
    )
    parser.add_argument(
        "--options", type=dict[str, Any], default={}, help="further options of the models, JSON or --options.width 0.5"
    )
    parser.add_argument(
        "--latency", action="store_true", help="also run the networks: p50, p95, throughput, peak memory"
    )
    parser.add_argument("--batch", type=int, default=1, help="clips at a time for --latency")
    parser.add_argument("--repeats", type=int, default=20, help="timed runs for --latency")
    add_device(parser)
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints one row a network, or one a row of a paper."""
    if args.paper is not None:
        _paper(args)
    else:
        _models(args)


def _models(args: Namespace) -> None:
    if not args.models:
        raise KinemaError("name at least one model (`kinema models` lists them), or give --paper TABLE")
    for key in ("classes", "batch", "repeats"):
        if args[key] < 1:
            raise KinemaError(f"--{key} {args[key]}: give at least 1")
    options = dict(args.options)
    costs = [
        count(m, num_classes=args.classes, frames=args.frames, size=args.size, options=options) for m in args.models
    ]
    rows: list[dict[str, Any]] = [
        {"model": m, "classes": args.classes, **c.to_dict()} for m, c in zip(args.models, costs, strict=True)
    ]
    if args.latency:
        where = device(args.device)
        for row in rows:
            timing = latency(
                row["model"], num_classes=args.classes, frames=row["frames"], size=row["size"], options=options,
                batch=args.batch, repeats=args.repeats, device=where,
            )  # fmt: skip
            row["latency"] = timing.to_dict()
    if args.json:
        print_json({"rows": rows, "environment": environment()})
        return
    columns = ["model", "classes", "frames", "size", "params", "MACs", "FLOPs"]
    table = [
        [r["model"], r["classes"], r["frames"], r["size"], f"{r['params'] / 1e6:.2f} M", f"{r['macs'] / 1e9:.2f} G",
         f"{r['flops'] / 1e9:.2f} G"]
        for r in rows
    ]  # fmt: skip
    extra = f" Options: {json.dumps(options)}." if options else ""
    counted = (
        "One view of one clip. 1 MAC = 2 FLOPs; counted: convolutions, linear layers and other matrix products; "
        "not counted: normalisation, activations, pooling, sums."
    )
    print_table(columns, table, caption=counted + extra)
    if args.latency:
        table = [[r["model"], *_timing(r["latency"])] for r in rows]
        caption = f"Latency: batch {args.batch}, {args.repeats} runs after {WARM_UP}, {json.dumps(environment())}"
        print_table(["model", "p50 ms", "p95 ms", "clips/s", "peak MiB"], table, caption=caption)


def _timing(timing: dict[str, float]) -> list[str]:
    return [
        f"{timing['p50_ms']:.1f}", f"{timing['p95_ms']:.1f}", f"{timing['clips_per_s']:.2f}",
        f"{timing['peak_mib']:.0f}",
    ]  # fmt: skip


def _paper(args: Namespace) -> None:
    if args.models:
        raise KinemaError("--paper takes its models from the table: give either models or --paper")
    rows = paper_rows(args.paper)
    if args.json:
        print_json([row.to_dict() for row in rows])
        return
    for name, group in groupby(rows, lambda row: row.table):
        found = list(group)
        print(name)
        print_table(
            ["row", "input", "params", "ours", "off", "ops", "ours", "off"],
            [[r.row, f"{r.frames}x{r.size}²",
              _figure(r.paper_params), f"{r.params:.2f}", _off(r.params_off),
              _figure(r.paper_operations), "" if r.operations is None else f"{r.operations:.2f}",
              _off(r.operations_off)]
             for r in found],
            notes=[_note(r) for r in found],
        )  # fmt: skip
    print_text(
        "params: the paper's, in millions; ops: the paper's, in thousands of millions of the unit that is named under "
        "the row. MAC: multiply-accumulates; FLOP: 2 x MAC; MAC+BN: MAC + 2 for each number that a BatchNorm gives "
        "out. Classes as the paper's data set has them unless noted."
    )


def _note(row: PaperRow) -> str:
    """The network with its options, the unit, and why it is off."""
    options = (f"{key}={json.dumps(value).strip(chr(34))}" for key, value in row.options.items())
    return ", ".join([" ".join([row.model, *options]), *filter(None, [row.unit])]) + (f": {row.why}" if row.why else "")


def _figure(value: float | None) -> str:
    """As the paper prints it."""
    return "" if value is None else f"{value:g}"


def _off(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+z.1f}%"
