"""Add a sampler: a clip whose frames lie closer together in the middle of the video, where the action often is.

    python examples/own_sampler.py DATA OUT

A sampler is one class. As soon as the class exists, its name can be used wherever a clip is described: in training,
testing, prediction and streams. The program that loads the recognizer later has to import the class first.
"""

from __future__ import annotations

import argparse

import numpy as np

from kinema import ClipSpec, Recognizer
from kinema.data import read_manifest
from kinema.data.samplers import Sampler
from kinema.training import Optim, TrainConfig, train


class Middle(Sampler):
    """Chooses T frames, dense in the middle of a video and sparse at its ends."""

    name = "middle"
    strided = False  # `clip.stride` has no meaning here
    whole = True  # a clip stands for the whole video

    def ticks(self, spec: ClipSpec) -> int:
        """Returns the length of the shortest video with T different frames; `clip.pad` extends shorter ones."""
        return 2 * spec.frames

    def train(self, n: int, spec: ClipSpec, rng: np.random.Generator) -> np.ndarray:
        """Returns T indices in a video of n frames, shifted at random."""
        return self._indices(n, spec, rng.uniform(-0.25, 0.25))

    def test(self, n: int, spec: ClipSpec, clips: int) -> np.ndarray:
        """Returns `clips` x T indices, shifted by equal steps."""
        return np.stack([self._indices(n, spec, (j + 0.5) / clips * 0.5 - 0.25) for j in range(clips)])

    def _indices(self, n: int, spec: ClipSpec, move: float) -> np.ndarray:
        place = (np.arange(spec.frames) + 0.5 + move) / spec.frames * 2 - 1  # in (-1, 1)
        curve = 0.5 * place + 0.5 * place**3
        return np.clip(np.round((curve + 1) / 2 * (n - 1)), 0, n - 1).astype(np.int64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()

    config = TrainConfig(
        "tsm_r18",
        args.data,
        out=args.out,
        epochs=args.epochs,
        options={"width": 0.25},
        clip={"sampler": "middle", "short_side": 72, "crop": 64},
        optim=Optim(lr=0.05),
    )
    recognizer = Recognizer.load(train(config))
    video = read_manifest(args.data).split("test").samples[0]
    print(video.path, recognizer.spec.sampler, recognizer.predict(video.path).label)
