"""`kinema cost MODEL...`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_device, add_json, device
from kinema.cli.output import print_json, print_table, print_text
from kinema.errors import KinemaError
from kinema.evaluation.cost import environment
from kinema.evaluation.cost_rows import CostRow, Timed, cost_rows
from kinema.evaluation.latency import WARM_UP, Latency, Pass
from kinema.evaluation.papers import PaperRow, paper_rows, tables


def add_arguments(parser: ArgumentParser) -> None:
    """Adds MODEL... and the size of the input."""
    parser.add_argument("models", nargs="*", type=str, help="names of networks, see kinema models")
    parser.add_argument(
        "--paper",
        type=str,
        default=None,
        help=f"compare the table of a paper with our counts, instead of naming models: {', '.join(tables())} or all",
    )
    parser.add_argument("--classes", type=int, default=400, help="outputs of the classifier")
    parser.add_argument("--frames", type=int, default=None, help="frames per clip; default: the network's own")
    parser.add_argument(
        "--size", type=int, default=None, help="height and width in pixels; default: the network's crop"
    )
    parser.add_argument(
        "--options", type=dict[str, Any], default={}, help="further options of the models, JSON or --options.width 0.5"
    )
    parser.add_argument(
        "--views",
        type=str,
        default="1x1",
        help="CLIPSxCROPS per video in a test, such as 10x3: also print the operations for all views",
    )
    parser.add_argument(
        "--latency",
        action="store_true",
        help="also time the networks in interleaved rounds: quartiles, throughput, peak memory",
    )
    parser.add_argument(
        "--backward", action="store_true", help="with --latency, also time a training step: forward and backward pass"
    )
    parser.add_argument(
        "--batch", type=tuple[int, ...], default=(1,), help="batch sizes for --latency, such as 1 or 1,32"
    )
    parser.add_argument("--repeats", type=int, default=20, help="timed rounds for --latency")
    parser.add_argument(
        "--relative-to", type=str | None, default=None, help="name of a model: also print each time relative to it"
    )
    add_device(parser)
    add_json(parser)


def run(args: Namespace) -> None:
    """Prints one row per network, or one per row of a paper's table."""
    if args.paper is not None:
        _paper(args)
    else:
        _models(args)


def _models(args: Namespace) -> None:
    if not args.models:
        raise KinemaError("name at least one model (`kinema models` lists them), or give --paper TABLE")
    if args.classes < 1:
        raise KinemaError(f"--classes {args.classes}: give at least 1")
    if args.backward and not args.latency:
        raise KinemaError("--backward needs --latency: add it")
    timed = Timed(args.batch, args.repeats, args.backward, device(args.device) if args.latency else "cpu")
    options = dict(args.options)
    rows = cost_rows(
        args.models, num_classes=args.classes, frames=args.frames, size=args.size, options=options, views=args.views,
        timed=timed if args.latency else None, relative_to=args.relative_to,
    )  # fmt: skip
    if args.json:
        print_json({"rows": [row.to_dict() for row in rows], "environment": environment()})
        return
    counted = rows[: len(rows) // len(timed.batches)] if args.latency else rows
    _print_counts(counted, options)
    if args.latency:
        for i in range(0, len(rows), len(counted)):
            _print_times(rows[i : i + len(counted)], args)
        print_text(f"Measured on {json.dumps(environment())}")


def _print_counts(rows: Sequence[CostRow], options: dict[str, Any]) -> None:
    columns = ["model", "classes", "frames", "size", "params", "MACs", "FLOPs"]
    table = [
        [r.model, r.classes, r.cost.frames, r.cost.size, f"{r.cost.params / 1e6:.2f} M", f"{r.cost.macs / 1e9:.2f} G",
         f"{r.cost.flops / 1e9:.2f} G"]
        for r in rows
    ]  # fmt: skip
    views = rows[0].views
    if views > 1:
        columns += [f"MACs x {views}", f"FLOPs x {views}"]
        table = [
            [*line, f"{views * r.cost.macs / 1e9:.1f} G", f"{views * r.cost.flops / 1e9:.1f} G"]
            for line, r in zip(table, rows, strict=True)
        ]
    if rows[0].macs_ratio is not None:
        columns += ["params x", "MACs x"]
        table = [[*line, f"{r.params_ratio:.3f}", f"{r.macs_ratio:.3f}"] for line, r in zip(table, rows, strict=True)]
    extra = f" Options: {json.dumps(options)}." if options else ""
    counted = (
        "One view of one clip. 1 MAC = 2 FLOPs; counted: convolutions, linear layers and other matrix products; "
        "not counted: normalisation, activations, pooling, sums."
    )
    print_table(columns, table, caption=counted + extra)


def _print_times(rows: Sequence[CostRow], args: Namespace) -> None:
    """Prints one row per network and pass."""
    table = []
    for row in rows:
        found = row.latency
        if found is None:
            continue
        passes: dict[str, Pass | Latency] = {"forward": found}
        if found.training is not None:
            passes |= {"training_forward": found.training.forward, "backward": found.training.backward}
        for name, timing in passes.items():
            line = [
                row.model if name == "forward" else "", name.replace("_", " "), f"{timing.p50_ms:.1f}",
                f"{timing.p25_ms:.1f} to {timing.p75_ms:.1f}", f"{timing.p95_ms:.1f}",
                f"{found.clips_per_s:.2f}" if name == "forward" else "",
                _peak(name, found),
            ]  # fmt: skip
            if row.latency_ratio is not None:
                ratio = row.latency_ratio[name]
                line += [f"{ratio.median:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}"]
            table.append(line)
    columns = ["model", "pass", "ms", "quartiles", "p95", "clips/s", "peak MiB"]
    caption = (
        f"Batch {rows[0].latency.batch if rows[0].latency else ''}: milliseconds per batch, median of {args.repeats} "
        f"interleaved rounds after {WARM_UP}."
    )
    if args.backward:
        caption += (
            " forward: inference mode. training forward and backward: a training step without the optimiser; the row "
            "backward gives its peak memory."
        )
    if args.relative_to is not None:
        columns += ["x", "quartiles of x"]
        caption += f" x: the time divided by that of {args.relative_to} in the same round."
    print_table(columns, table, caption=caption)


def _peak(name: str, found: Latency) -> str:
    """Returns the peak memory of inference, or of a training step in the row of its backward pass."""
    if name == "forward":
        return f"{found.peak_mib:.0f}"
    return f"{found.training.peak_mib:.0f}" if name == "backward" and found.training is not None else ""


def _paper(args: Namespace) -> None:
    if args.models:
        raise KinemaError("--paper takes the models from its table: give either models or --paper")
    for name in ("latency", "backward", "relative_to"):
        if args[name]:
            raise KinemaError(f"--{name.replace('_', '-')} applies to models, not to --paper: name the models instead")
    rows = paper_rows(args.paper)
    if args.json:
        print_json([row.to_dict() for row in rows])
        return
    for name, group in groupby(rows, lambda row: row.table):
        found = list(group)
        print(name)
        print_table(
            ["row", "input", "params", "ours", "off", "ops", "ours", "off"],
            [[r.row, f"{r.frames}x{r.size}²" if r.model else "",
              _figure(r.paper_params), "" if r.params is None else f"{r.params:.2f}", _off(r.params_off),
              _figure(r.paper_operations), "" if r.operations is None else f"{r.operations:.2f}",
              _off(r.operations_off)]
             for r in found],
            notes=[_note(r) for r in found],
        )  # fmt: skip
    print_text(
        "params: the paper's, in millions. ops: the paper's, in units of 10^9 of the operation named under the row. "
        "MAC: multiply-accumulates; FLOP: 2 x MAC; MAC+BN: MAC + 2 per output value of a BatchNorm. The number of "
        "classes is that of the paper's data set unless noted. For a row `A over B`, both columns are the increase in "
        "per cent over B, and the difference is in points."
    )


def _note(row: PaperRow) -> str:
    """Returns the network with its options, the unit, and the reason for a difference."""
    unit = f"% {row.unit}" if row.base is not None and row.unit else row.unit
    return ": ".join(filter(None, [", ".join(filter(None, [row.network, unit])), row.why]))


def _figure(value: float | None) -> str:
    """Formats a figure as the paper prints it."""
    return "" if value is None else f"{value:g}"


def _off(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+z.1f}%"
