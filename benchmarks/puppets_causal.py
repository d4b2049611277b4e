"""Accuracy that a causal network loses: STM-18 on puppets.

    .venv/bin/python benchmarks/puppets_causal.py OUT [--seeds 3] [--epochs 12] [--more 6] [--train 90]

The protocol is that of `study.py`. "windows" is the usual network. The others start from its run of the same seed and
train for `--more` epochs: "causal, tuned" as `kinema train --weights RUN --options.causal true` does, "causal,
distilled" in addition uses the usual network as teacher, and "windows, tuned" stays a usual network, to show the effect
of the additional epochs alone. The script prints a table and the differences on `test`, with 95 % intervals from a
paired bootstrap over seeds and videos. Whole clips are classified, by the mean of their frames; `puppets_timeline.py`
measures causal networks in the middle of a clip.
"""

from __future__ import annotations

from study import arguments, contestant, puppets, study
from study_page import Pair, read

from kinema.data.photometric import Photometric
from kinema.training.config import Optim
from kinema.training.distil import Distil

COMPARED = (
    ("windows, tuned", "causal, tuned"),
    ("windows, tuned", "causal, distilled"),
    ("causal, tuned", "causal, distilled"),
)


def main() -> None:
    args = arguments(__doc__, frames=8, crop=64, width=0.25, train=90, more=6, lr=0.1, tuning_lr=0.02)
    data, manifest = puppets(args)
    colours = Photometric(
        clips=1.0, kinds=("colour_jitter", "grayscale"), odds={"colour_jitter": 0.8, "grayscale": 0.2}
    )
    first = {"batch": 32, "photometric": colours, "optim": Optim(lr=args.lr, nesterov=True, warmup=0.5)}
    tuned = first | {
        "weights": "windows", "epochs": args.more, "optim": Optim(lr=args.tuning_lr, nesterov=True, warmup=0.5),
    }  # fmt: skip
    usual, causal = {"dropout": 0.2}, {"dropout": 0.2, "causal": True}
    study(args, manifest, {
        "windows": contestant(args, data, "stm_r18", usual, **first),
        "windows, tuned": contestant(args, data, "stm_r18", usual, **tuned),
        "causal, tuned": contestant(args, data, "stm_r18", causal, **tuned),
        "causal, distilled": contestant(args, data, "stm_r18", causal, **tuned, distil=Distil("windows")),
    })  # fmt: skip
    for without, with_it in COMPARED:
        found = read(args.out.parent, Pair("", args.out.name, without, with_it), args.seeds)
        assert found is not None, "study() has tested all of them"
        gain, low, high = (100 * share for share in found.difference)
        print(
            f"{with_it} minus {without}: {gain:+.1f} points [{low:+.1f}, {high:+.1f}], McNemar's exact p {found.p:.2g}"
        )


if __name__ == "__main__":
    main()
