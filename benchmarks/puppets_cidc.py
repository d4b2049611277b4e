"""A per-frame ResNet-50 on puppets, alone and with temporal modules: CIDC, an LSTM, self-attention.

    .venv/bin/python benchmarks/puppets_cidc.py OUT [--seeds 3] [--epochs 16] [--train 45]

The protocol is that of `study.py`. The backbone processes each frame separately and averages them, so its accuracy
inside the reversal pairs is that of chance. So is that of self-attention on it, which has no positions. All have a
dropout of 0.2; more is too much for the few channels of this width. The kernels of CIDC are scaled per row, and in the
last line per matrix, which is the default.
"""

from __future__ import annotations

from typing import Any

from study import arguments, contestant, puppets, study

BACKBONE = "r2d_50"
ON = {"backbone": BACKBONE}
CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "R2D-50": (BACKBONE, {}),
    "+ CIDC": ("cidc", ON),
    "+ CIDC, by row": ("cidc", {**ON, "normalise": "row"}),
}


def main() -> None:
    args = arguments(__doc__, epochs=16, frames=8, crop=64, width=0.125, dropout=0.2)
    data, manifest = puppets(args)
    study(args, manifest, {
        title: contestant(args, data, name, {"dropout": args.dropout, **options})
        for title, (name, options) in CONTESTANTS.items()
    })  # fmt: skip


if __name__ == "__main__":
    main()
