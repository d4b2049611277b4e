"""Makes the pictures of explanations in the README: a sheet of maps and a Class Feature Pyramid.

    .venv/bin/python benchmarks/readme_pictures.py OUT [--recognizer RUN --data DATA] [--method cam] [--workers 1]

Without `--recognizer` it generates puppets in OUT/puppets and trains an STM-18 of a quarter of the width in OUT/run, at
112 pixels, where the last stage has 4 x 4 positions in each of 8 frames. Finished results in OUT are reused.

For each class in `CLASSES`, the sheet shows the first video of the split `test` that the network classifies correctly;
no video is selected by the look of its map. The number of skipped videos is printed. The pyramid is that of the first
video shown. The script writes OUT/why.jpg and OUT/pyramid.svg. docs/pictures/why.jpg is of the first network of
`puppets_explain.py`, which is trained in the same way.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from kinema.data.manifest import read_manifest
from kinema.data.transforms import Augment
from kinema.errors import KinemaError
from kinema.explain import Explanation, explain
from kinema.explain.panel import Panel
from kinema.explain.sheet import contact_sheet, painted
from kinema.explain.source import Source
from kinema.puppets.dataset import generate
from kinema.recognizer import Recognizer
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train

CLASSES = ("wave", "punch", "open", "step left")  # an arm, an arm, arm and door, the whole body
FRAMES = 6


def trained(out: Path, epochs: int, workers: int) -> tuple[Recognizer, Path]:
    """Returns the recognizer and its data; creates them if they do not exist."""
    data = generate(out / "puppets", seed=0, train=45, test=16, speed=0)
    train(
        TrainConfig(
            model="stm_r18", data=str(data), out=str(out / "run"), options={"width": 0.25, "dropout": 0.2},
            clip={"frames": 8, "short_side": 120, "crop": 112}, epochs=epochs, batch=32, workers=workers,
            optim=Optim(lr=0.1, nesterov=True, warmup=0.5), augment=Augment(scale="jitter", jitter=(112, 128)),
        ),
        say=print,
    )  # fmt: skip
    return Recognizer.load(out / "run"), data


def shown_videos(recognizer: Recognizer, data: Path) -> list[str]:
    """Returns the first correctly classified test video of each class."""
    found = []
    for label in CLASSES:
        videos = [s.path for s in read_manifest(data).split("test").samples if s.label == label]
        for wrong, video in enumerate(videos):
            if recognizer.predict(video).label == label:
                print(f"{label}: {video} ({wrong} videos before it were classified wrongly)")
                found.append(video)
                break
        else:
            print(f"{label}: none of {len(videos)} videos is classified correctly, left out")
    if not found:
        raise KinemaError(f"{data}: no video of {', '.join(CLASSES)} is classified correctly: train the network longer")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--recognizer", help="a recognizer trained on puppets; default: train one")
    parser.add_argument("--data", type=Path, help="the puppets of --recognizer")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--method", default="cam", help="method of the sheet")
    parser.add_argument("--layer", help="layer of the sheet; default: the last stage")
    parser.add_argument("--workers", type=int, default=1, help="reader processes in training")
    args = parser.parse_args()
    if (args.recognizer is None) != (args.data is None):
        parser.error("give both --recognizer and --data, or neither")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.recognizer is None:
        recognizer, data = trained(args.out, args.epochs, args.workers)
    else:
        recognizer, data = Recognizer.load(args.recognizer), args.data
    videos = shown_videos(recognizer, data)
    write_sheet([explain(recognizer, video, args.method, layer=args.layer)[0] for video in videos],
                args.out / "why.jpg")  # fmt: skip
    pyramid = explain(recognizer, videos[0], "pyramid")[0]
    pyramid.save(args.out / "pyramid.svg")
    print(args.out / "why.jpg", args.out / "pyramid.svg", sep="\n")


def write_sheet(explanations: list[Explanation], path: Path) -> None:
    """Draws one row per video in one picture."""
    rows = []
    for one in explanations:
        assert one.video is not None and one.place is not None
        with Source(one.video) as film:
            rows.append(painted(contact_sheet(film, [Panel(one, one.place)], FRAMES)))
    size = max(row.width for row in rows), sum(row.height for row in rows)
    whole = Image.new("RGB", size, rows[0].getpixel((0, 0)))
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height
    whole.save(path, quality=88)


if __name__ == "__main__":
    main()
