"""Forward and backward latency of the networks of MTConv's table VIb, in one interleaved run.

    .venv/bin/python benchmarks/backward_latency.py [--batch 1,32] [--rounds 20] [--size 256] [--frames 16] [--json]

Table VIb (thesis, table 5.7) has the milliseconds of a forward and of a backward pass of one clip of 16 x 256 x 256
for MTNet-S and MTNet-M, whose branch G has plain recurrent cells, LSTMs, LSTMs with peepholes or GRUs. In table 5.5 of
the thesis, the times of 32 clips are divided by 32. The networks are the presets that fit the table (`mtnet_s_table`,
`mtnet_m_table`), and the two of the text (`mtnet_s`, `mtnet_m`) with the GRU. The presets of S and M differ only in
their crop, so they take the same time on clips of the same size. In the paper, S is faster on "a single clip of 16 x
256 x 256".

Protocol: random weights and clips, 400 classes. In each round every network runs once, every other round in reverse
order, after three rounds of warm-up. "forward" is in inference mode; "training forward" and "backward" are a training
step with cross-entropy, without the optimiser. The script prints medians with quartiles over the rounds and the ratio
to the GRU of the same size within a round. Memory is measured in a separate process for each network.
"""

from __future__ import annotations

import argparse
import json

import torch

from kinema.evaluation.cost import environment
from kinema.evaluation.latency import WARM_UP, Network, Ratio, Rounds, measure

# Network, cell -> the paper's milliseconds forward and backward.
TABLE = {
    ("mtnet_s_table", "rnn"): (58, 78), ("mtnet_s_table", "lstm"): (61, 79), ("mtnet_s_table", "peephole"): (68, 85),
    ("mtnet_s_table", "gru"): (65, 80), ("mtnet_m_table", "rnn"): (84, 113), ("mtnet_m_table", "lstm"): (86, 109),
    ("mtnet_m_table", "peephole"): (94, 120), ("mtnet_m_table", "gru"): (90, 111), ("mtnet_s", "gru"): None,
    ("mtnet_m", "gru"): None,
}  # fmt: skip


def rows(rounds: Rounds) -> list[dict]:
    names = list(TABLE)
    found = []
    for i, (name, cell) in enumerate(names):
        timing = rounds.latency(i)
        gru = names.index((name, "gru"))
        assert timing.training is not None
        found.append(
            {
                "network": name,
                "cell": cell,
                "paper_ms": TABLE[name, cell],
                **timing.to_dict(),
                "over_gru": {key: ratio.to_dict() for key, ratio in rounds.ratio(i, gru).items()},
            }
        )
    return found


def show(found: list[dict], batch: int, rounds: int) -> None:
    print(f"\nbatch {batch}: milliseconds per clip, median of {rounds} rounds after {WARM_UP}")
    print(
        f"{'network':<15}{'cell':<10}{'forward':>9}{'quartiles':>17}{'backward':>10}{'quartiles':>17}"
        f"{'paper F / B':>13}{'F over GRU':>20}{'B over GRU':>20}{'MiB F':>8}{'MiB step':>10}"
    )
    for row in found:
        back = row["training"]["backward"]
        paper = "" if row["paper_ms"] is None else "{} / {}".format(*row["paper_ms"])
        print(
            f"{row['network']:<15}{row['cell']:<10}{row['p50_ms'] / batch:>9.1f}{quartiles(row, batch):>17}"
            f"{back['p50_ms'] / batch:>10.1f}{quartiles(back, batch):>17}{paper:>13}"
            f"{over(row['over_gru']['forward']):>20}{over(row['over_gru']['backward']):>20}"
            f"{row['peak_mib']:>8.0f}{row['training']['peak_mib']:>10.0f}"
        )


def quartiles(values: dict, batch: int) -> str:
    return f"{values['p25_ms'] / batch:.1f} to {values['p75_ms'] / batch:.1f}"


def over(values: dict) -> str:
    ratio = Ratio(**values)
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", default="1", help="clips in one pass: 1 or 1,32")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    networks = [Network(name, 400, args.frames, args.size, {"cell": cell}) for name, cell in TABLE]
    batches: dict[int, list[dict]] = {}
    if not args.json:
        print("   ".join(f"{key} {value}" for key, value in environment().items()))
        print(f"{args.frames} x {args.size} x {args.size}, {args.device}")
    for batch in map(int, args.batch.split(",")):
        measured = measure(networks, batch=batch, repeats=args.rounds, backward=True, device=args.device)
        batches[batch] = rows(measured)
        if not args.json:
            show(batches[batch], batch, args.rounds)
    if args.json:
        protocol = {"frames": args.frames, "size": args.size, "rounds": args.rounds}
        print(json.dumps({"machine": environment(), **protocol, "batches": batches}, indent=1))


if __name__ == "__main__":
    main()
