"""STM-18, each of its two modules alone, and TSN-18 on puppets.

    .venv/bin/python benchmarks/puppets_stm.py OUT [--seeds 3] [--epochs 12] [--train 45]

The protocol is that of `study.py`. TSN is the backbone: it processes each frame separately and averages them, so its
accuracy inside the reversal pairs is that of chance. "CSTM" and "CMM" have one of STM's two modules in every block; CMM
is combined with the plain 3x3 convolution.
"""

from __future__ import annotations

from typing import Any

from study import arguments, contestant, puppets, study

CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "TSN-18": ("tsn_r18", {}),
    "CSTM": ("stm_r18", {"mode": "cstm"}),
    "CMM": ("stm_r18", {"mode": "cmm"}),
    "STM": ("stm_r18", {}),
}


def main() -> None:
    args = arguments(__doc__, frames=8, crop=64, width=0.25, dropout=0.2)
    data, manifest = puppets(args)
    study(args, manifest, {
        title: contestant(args, data, name, {"dropout": args.dropout, **options})
        for title, (name, options) in CONTESTANTS.items()
    })  # fmt: skip


if __name__ == "__main__":
    main()
