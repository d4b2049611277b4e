"""Multigrid schedules on puppets against the fixed schedule: training-step time and accuracy after the same epochs.

    .venv/bin/python benchmarks/puppets_multigrid.py OUT [--seeds 3] [--epochs 40] [--full 4] [--train 90]

The protocol is that of `study.py`. With each schedule, every epoch uses every clip once. In the schedules "last full",
the last `--full` epochs use the full shape. In the last schedule the learning rate is that of the first phase, whose
batch is 8B, as in the texts (`--first`, PRL 4.2: 0.1, halved at each cycle); in all others it is that of the batch B.
"Step time" is the wall-clock time of all training steps without waiting for data. Required: a step time 2.5 times
smaller with multigrid, at equal accuracy within the spread of the seeds.
"""

from __future__ import annotations

from study import arguments, contestant, puppets, study

from kinema.training.config import Optim
from kinema.training.multigrid import Multigrid


def main() -> None:
    args = arguments(__doc__, frames=8, crop=80, width=0.25, batch=4, lr=0.025, first=0.1, epochs=40, full=4, train=90)
    data, manifest = puppets(args)
    ways = {
        "fixed": Multigrid(),
        "long, last full": Multigrid("long", full_epochs=args.full),
        "long, last full, first": Multigrid("long", full_epochs=args.full, rate_at="first"),
    }
    study(args, manifest, {
        title: contestant(
            args, data, "stm_r18", {"dropout": 0.2}, batch=args.batch, multigrid=multigrid,
            optim=Optim(lr=args.first if multigrid.rate_at == "first" else args.lr, nesterov=True, warmup=0.5),
        )
        for title, multigrid in ways.items()
    })  # fmt: skip


if __name__ == "__main__":
    main()
