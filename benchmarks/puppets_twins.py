"""STM-18 on puppets with and without Twins Training.

    .venv/bin/python benchmarks/puppets_twins.py OUT [--seeds 3] [--epochs 12] [--train 90]

The protocol is that of `study.py`. Three variants have the same augmentation: one view, which is ordinary training; two
views of the same frames with averaged losses but without the correlation loss, which shows the effect of the second
view alone; and Twins Training. Two views cost two forward and backward passes per clip.
"""

from __future__ import annotations

from study import arguments, contestant, puppets, study

from kinema.data.photometric import Photometric
from kinema.training.config import Optim
from kinema.training.twins import Twins


def main() -> None:
    args = arguments(__doc__, frames=8, crop=64, width=0.25, weight=0.01, train=90)
    data, manifest = puppets(args)
    colours = Photometric(
        clips=1.0, kinds=("colour_jitter", "grayscale"), odds={"colour_jitter": 0.8, "grayscale": 0.2}
    )
    ways = {
        "STM-18": Twins(),
        "STM-18, Twins": Twins(weight=args.weight),
        "STM-18, two views": Twins(weight=1e-12),
    }
    study(args, manifest, {
        title: contestant(
            args, data, "stm_r18", {"dropout": 0.2}, batch=32, optim=Optim(lr=0.1, nesterov=True, warmup=0.5),
            photometric=colours, twins=twins,
        )
        for title, twins in ways.items()
    })  # fmt: skip


if __name__ == "__main__":
    main()
