"""Speed of reading clips from ordinary 340x256 H.264 files and after `kinema data pack`; cost of isolated readers.

    python benchmarks/loading.py [--clips 48] [--rounds 7] [--workers 2] [--epochs 4] [--size 112]

Protocol: clips of 300 frames, 340 x 256, 30 fps, libx264 preset medium, CRF 23, a keyframe every 250 frames, three B
frames; a moving texture, a moving patch and grain (written by `reading.py`; all clips have the same pictures, in
separate files). `kinema.data.packing.pack` with its defaults makes the packed ones. All files are in the page cache.

1. Packed against ordinary. The loader reads as in training: random clips, random crops, batches of 8, `--workers`
   reader processes with one thread each. A round reads every clip once from each set; the order alternates, and the
   first epoch does not count. Printed are frames per second (median) and packed over ordinary (median of rounds).
2. Isolated readers. `kinema.data.loading.Loader`, whose readers may crash, hang or run out of memory, and PyTorch's
   `DataLoader`, whose readers may not, read the ordinary set in the same way.
3. Waiting in training. A small TSM is trained on each set with the same number of readers, for `--epochs` epochs
   alternately. Printed is the share of each epoch spent waiting for a batch, from `metrics.csv`, without the first
   epoch, in which the readers start.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from reading import machine, write
from torch.utils.data import DataLoader

from kinema.clip_spec import ClipSpec
from kinema.data.datasets import ClipKey, TrainClips, collate_train
from kinema.data.loading.loader import Loader
from kinema.data.manifest import read_manifest
from kinema.data.packing.pack import pack
from kinema.data.transforms import Augment
from kinema.training.config import Optim, TrainConfig
from kinema.training.run import train
from kinema.training.run_log import read_metrics

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


def one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def loader(kind: str, folder: Path, spec: ClipSpec, workers: int) -> Any:
    """Opens the `isolated` loader or PyTorch's and reads its first epoch."""
    manifest = read_manifest(folder)
    data = TrainClips(manifest, manifest.labels, spec, Augment())
    keys = [ClipKey(0, i, spec.frames, spec.crop) for i in range(len(data))]
    batches = [keys[begin : begin + 8] for begin in range(0, len(keys), 8)]
    if kind == "isolated":
        made: Any = Loader(data, batches, collate_train, readers=workers, largest=8)
    else:
        made = DataLoader(
            data, batch_sampler=batches, num_workers=workers, collate_fn=collate_train, persistent_workers=True,
            worker_init_fn=one_thread,
        )  # fmt: skip
    sum(1 for _ in made)
    return made


def read_rounds(loaders: dict[str, Any], spec: ClipSpec, rounds: int) -> dict[str, list[float]]:
    """Returns the frames per second of every round, with the loaders alternating."""
    speeds: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(rounds):
        for name in list(loaders) if turn % 2 == 0 else list(loaders)[::-1]:
            begin, clips = time.perf_counter(), 0
            for batch in loaders[name]:
                clips += len(batch["clip"])
            speeds[name].append(clips * spec.frames / (time.perf_counter() - begin))
    return speeds


def line(name: str, speeds: dict[str, list[float]]) -> str:
    """Formats the medians of two loaders, and the median of second over first with its quartiles."""
    first, second = speeds.values()
    low, middle, high = statistics.quantiles([b / a for a, b in zip(first, second, strict=True)], n=4)
    medians = "".join(f"{statistics.median(values):>10.0f} f/s" for values in (first, second))
    return f"{name:<24}{medians}   {middle:.3f} ({low:.3f} to {high:.3f})"


def waiting(folders: dict[str, Path], spec: ClipSpec, size: int, epochs: int, workers: int) -> dict[str, list[float]]:
    """Returns the share of time spent waiting for batches, for every epoch but the first."""
    spec = spec.replace(short_side=size * 8 // 7, crop=size)
    shares = {}
    for name, folder in folders.items():
        out = folder.parent / f"run-{name}"
        train(configuration("tsm_r18", folder, out, spec, epochs, workers), say=lambda line: None)
        shares[name] = [row["data_wait"] for row in read_metrics(out / "metrics.csv")][1:]
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=48, help="number of clips in each set")
    parser.add_argument("--rounds", type=int, default=7, help="number of times that each set is read")
    parser.add_argument("--workers", type=int, default=2, help="reader processes")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of the trainings, at least 2; 0 trains nothing")
    parser.add_argument("--size", type=int, default=112, help="height and width of the training clips")
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
        print(f"{'clip':<24}{'ordinary':>14}{'packed':>14}   packed / ordinary (quartiles)")
        for name, spec in SPECS.items():
            loaders = {s: loader("isolated", folders[s], spec, arguments.workers) for s in SETS}
            print(line(name, read_rounds(loaders, spec, arguments.rounds)), flush=True)
        print(f"\n{'clip, ordinary':<24}{'PyTorch':>14}{'isolated':>14}   isolated / PyTorch (quartiles)")
        for name, spec in SPECS.items():
            loaders = {kind: loader(kind, ordinary, spec, arguments.workers) for kind in ("PyTorch", "isolated")}
            print(line(name, read_rounds(loaders, spec, arguments.rounds)), flush=True)
        if arguments.epochs < 2:
            return
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
