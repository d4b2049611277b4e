"""The 3-D family on puppets at small width: r3d against SRTG and Class Regularisation, 3-D convolution against MTConv.

    .venv/bin/python benchmarks/puppets_3d.py OUT [--seeds 3] [--epochs 12] [--train 45]

The protocol is that of `study.py`.
"""

from __future__ import annotations

from typing import Any

from study import arguments, puppets, study

from kinema.data.transforms import Augment
from kinema.training.config import Optim, TrainConfig

CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "r3d-34": ("r3d_34", {}),
    "r3d-34 + SRTG": ("srtg_r3d_34", {}),
    "r3d-34 + SRTG, added": ("srtg_r3d_34", {"fusion": "add", "gate": "none"}),
    "r3d-34 + SRTG, product": ("srtg_r3d_34", {"fusion": "mul", "gate": "none"}),
    "r3d-34 + SRTG, gated product": ("srtg_r3d_34", {"fusion": "mul", "compare": "state"}),
    "r3d-34 + Class Reg.": ("r3d_34", {"class_regularisation": [0.9, 0.8, 0.7, 0.6]}),
    "r3d-50": ("r3d_50", {}),
    "r3d-50, MTConv": ("mtconv_r50", {}),
}


def main() -> None:
    args = arguments(__doc__, frames=16, crop=56, width=0.125)
    data, manifest = puppets(args)
    study(args, manifest, {
        title: TrainConfig(
            name, str(data), options={"width": args.width, **options},
            clip={"frames": args.frames, "sampler": "segments", "short_side": args.crop + 8, "crop": args.crop},
            epochs=args.epochs, batch=24, optim=Optim(lr=0.05, nesterov=True, warmup=1.0),
            augment=Augment(scale="jitter", jitter=(args.crop, args.crop + 16)), logger="none",
        )
        for title, (name, options) in CONTESTANTS.items()
    })  # fmt: skip


if __name__ == "__main__":
    main()
