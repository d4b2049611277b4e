"""The 3-D family on puppets at small width: SRTG, Class Regularisation, MTConv and MTNet and their backbones.

    .venv/bin/python benchmarks/puppets_3d.py OUT [--seeds 3] [--epochs 12] [--train 45]

The protocol is that of `study.py`. The lines "0.3" are backbones whose blocks start nearer to the identity, as those of
SRTG and MTConv do by default; they show which part of a gain comes from that start alone. The lines "1" are SRTG with
blocks that start like those of the backbone. The lines "trained first" follow the thesis' protocol of Class
Regularisation (6.4.2): the trained backbone of the first line is frozen, and only the maps are trained, for the same
number of epochs again.
"""

from __future__ import annotations

from typing import Any

from study import arguments, contestant, puppets, study

STRENGTHS = [0.9, 0.8, 0.7, 0.6]
START: dict[str, Any] = {"residual_init": 1.0}
CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "r3d-34": ("r3d_34", {}),
    "r3d-34 + SRTG": ("srtg_r3d_34", {}),
    "r3d-34 + SRTG, 1": ("srtg_r3d_34", START),
    "r3d-34 + SRTG, 1, added": ("srtg_r3d_34", START | {"fusion": "add", "gate": "none"}),
    "r3d-34 + SRTG, 1, product": ("srtg_r3d_34", START | {"fusion": "mul", "gate": "none"}),
    "r3d-34 + SRTG, 1, gated": ("srtg_r3d_34", START | {"fusion": "mul", "compare": "state"}),
    "r3d-34, 0.3": ("r3d_34", {"residual_init": 0.3}),
    "r3d-50": ("r3d_50", {}),
    "r3d-50, 0.3": ("r3d_50", {"residual_init": 0.3}),
    "r3d-50, MTConv": ("mtconv_r50", {}),
    "r3d-34 + Class Reg.": ("r3d_34", {"class_regularisation": STRENGTHS}),
    "r3d-34 trained first": ("r3d_34", {"class_regularisation": STRENGTHS}),
    "r3d-34 trained first, max": (
        "r3d_34", {"class_regularisation": STRENGTHS, "class_regularisation_choice": "max"},
    ),
    "r3d-34 trained first, sym.": (
        "r3d_34", {"class_regularisation": STRENGTHS, "class_regularisation_bounds": "symmetric"},
    ),
    "X3D-S": ("x3d_s", {}),
    "MTNet-S": ("mtnet_s", {}),
}  # fmt: skip
WIDER = ("x3d_s", "mtnet_s")  # thin networks, at half their width instead of an eighth


def main() -> None:
    args = arguments(__doc__, frames=16, crop=56, width=0.125)
    data, manifest = puppets(args)
    study(args, manifest, {
        title: contestant(
            args, data, name, {"width": args.width * (4 if name in WIDER else 1), **options},
            weights="r3d-34" if "first" in title else None,
            trainable="class_regularisation" if "first" in title else "all",
        )
        for title, (name, options) in CONTESTANTS.items()
    })  # fmt: skip


if __name__ == "__main__":
    main()
