"""How fast a loader gives clips from ordinary 340x256 H.264 files, and from the same clips after `kinema data pack`.

    python benchmarks/loading.py [--clips 48] [--rounds 7] [--workers 2] [--epochs 4] [--size 112]

Protocol: clips of 300 frames, 340 x 256, 30 fps, libx264 preset medium, CRF 23, a keyframe every 250 frames, three B
frames; a moving texture, a moving patch and grain (`reading.py` writes them; all clips hold the same pictures, each is
a file of its own). `kinema.data.pack` with its defaults makes the packed ones. The loader reads as in
training: random clips, random crops, batches of 8, the named number of reader processes, one thread each. A round reads
every clip once from the one set and once from the other, the two in turn first; the loader is open and its first epoch
read before. Reported are frames of clips per second, median over the rounds, and the median over the rounds of packed
over ordinary. The files lie in the page cache. Then a small TSM is trained on each set with the same number of readers,
`--epochs` epochs in turn; `metrics.csv` says which share of an epoch was spent waiting for a batch (the first epoch,
in which the readers start, is left out).
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from reading import machine, write
from torch.utils.data import DataLoader

from kinema.clip_spec import ClipSpec
from kinema.cores import one_thread
from kinema.data.datasets import ClipKey, TrainClips, collate_train
from kinema.data.manifest import read_manifest
from kinema.data.pack import pack
from kinema.data.transforms import Augment
from kinema.training.config import Optim, TrainConfig
from kinema.training.report import read_metrics
from kinema.training.run import train

SPECS = {
    "8 segments": ClipSpec(frames=8, sampler="segments", short_side=256, crop=224),
    "16 frames, every 2nd": ClipSpec(frames=16, stride=2, sampler="dense", short_side=256, crop=224),
}
SETS = ("ordinary", "packed")


def write_set(folder: Path, clips: int) -> Path:
    folder.mkdir()
    first = write(folder / "0000.mp4", gop=250, b_frames=3)
    for i in range(1, clips):
        shutil.copyfile(first, folder / f"{i:04d}.mp4")
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = [(f"{i:04d}.mp4", "even" if i % 2 == 0 else "odd", "train") for i in range(clips)]
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return folder


def configuration(model: str, data: Path, out: Path, spec: ClipSpec, epochs: int, workers: int) -> TrainConfig:
    clip = {"frames": spec.frames, "stride": spec.stride, "sampler": spec.sampler}
    return TrainConfig(
        model=model, data=str(data), out=str(out), options={"width": 0.25}, epochs=epochs, batch=8, workers=workers,
        clip=clip | {"short_side": spec.short_side, "crop": spec.crop},
        optim=Optim(lr=0.01), augment=Augment(scale="fixed"),
    )  # fmt: skip


def read_rounds(folders: dict[str, Path], spec: ClipSpec, rounds: int, workers: int) -> dict[str, list[float]]:
    """Frames per second of every round."""
    loaders = {}
    for name, folder in folders.items():
        manifest = read_manifest(folder)
        data = TrainClips(manifest, manifest.labels, spec, Augment())
        keys = [ClipKey(0, i, spec.frames, spec.crop) for i in range(len(data))]
        loaders[name] = DataLoader(
            data, batch_size=8, sampler=keys, num_workers=workers,
            collate_fn=collate_train, persistent_workers=True, worker_init_fn=one_thread,
        )  # fmt: skip
        sum(1 for _ in loaders[name])
    speeds: dict[str, list[float]] = {name: [] for name in folders}
    for turn in range(rounds):
        for name in SETS if turn % 2 == 0 else SETS[::-1]:
            begin, clips = time.perf_counter(), 0
            for batch in loaders[name]:
                clips += len(batch["clip"])
            speeds[name].append(clips * spec.frames / (time.perf_counter() - begin))
    return speeds


def waiting(folders: dict[str, Path], spec: ClipSpec, size: int, epochs: int, workers: int) -> dict[str, list[float]]:
    """The share of every epoch but the first that a training waited for batches."""
    spec = spec.replace(short_side=size * 8 // 7, crop=size)
    shares = {}
    for name, folder in folders.items():
        out = folder.parent / f"run-{name}"
        train(configuration("tsm_r18", folder, out, spec, epochs, workers), say=lambda line: None)
        shares[name] = [row["data_wait"] for row in read_metrics(out / "metrics.csv")][1:]
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=48, help="in each set")
    parser.add_argument("--rounds", type=int, default=7, help="readings of each set")
    parser.add_argument("--workers", type=int, default=2, help="reader processes")
    parser.add_argument("--epochs", type=int, default=4, help="of the trainings, at least 2")
    parser.add_argument("--size", type=int, default=112, help="of the clips that are trained on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("   ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{arguments.clips} clips of 300 frames, {arguments.workers} reader processes, {arguments.rounds} rounds\n")
    with tempfile.TemporaryDirectory() as folder:
        ordinary = write_set(Path(folder) / "ordinary", arguments.clips)
        begin = time.perf_counter()
        done = pack(ordinary, Path(folder) / "packed")
        seconds = time.perf_counter() - begin
        print(
            f"packing: {done.written * 300 / seconds:.0f} frames/s; {done.size_before / 2**20:.1f} MiB became "
            f"{done.size_after / 2**20:.1f} MiB\n"
        )
        folders = {"ordinary": ordinary, "packed": done.out}
        print(f"{'clip':<24}{'ordinary':>12}{'packed':>12}   packed / ordinary (quartiles)")
        for name, spec in SPECS.items():
            speeds = read_rounds(folders, spec, arguments.rounds, arguments.workers)
            ratios = [b / a for a, b in zip(speeds["ordinary"], speeds["packed"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            before, after = (statistics.median(speeds[s]) for s in SETS)
            speed = f"{before:>8.0f} f/s{after:>8.0f} f/s"
            print(f"{name:<24}{speed}   {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)
        size = arguments.size
        print(f"\nwaiting for data while tsm_r18 of width 0.25 trains at {size}x{size}, epoch by epoch")
        for name, spec in SPECS.items():
            shares = waiting(folders, spec, size, arguments.epochs, arguments.workers)
            listed = {s: ", ".join(f"{share:.0%}" for share in shares[s]) for s in SETS}
            print(f"{name:<24}ordinary {listed['ordinary']}; packed {listed['packed']}", flush=True)
            for run in folders.values():
                shutil.rmtree(run.parent / f"run-{run.name}")


if __name__ == "__main__":
    main()
