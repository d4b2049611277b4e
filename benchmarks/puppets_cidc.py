"""A per-frame ResNet-50 on puppets, alone and with what sees time: CIDC, an LSTM, self-attention.

    .venv/bin/python benchmarks/puppets_cidc.py OUT [--seeds 3] [--epochs 16] [--train 45]

The protocol is that of `study.py`. The backbone sees each frame by itself and averages them, so that inside the
reversal pairs it is right as often as a coin, as is self-attention on it, which knows no positions. All have a dropout
of 0.2: from the few channels of this width more takes too much. CIDC stands here with its kernels scaled row by row,
at last with the default, by matrix.
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
