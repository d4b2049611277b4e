"""`generate`: writes the built-in synthetic data set, with the same bytes for the same seed."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from kinema.errors import KinemaError, RunError
from kinema.files import clear_parts, replace_file
from kinema.puppets.actions import ACTIONS, FLIP_MAP, LABELS
from kinema.puppets.clips import SPLITS, render
from kinema.puppets.encode import mp4, pictures
from kinema.tables import write_csv
from kinema.text import parse_json

EDITION = 1
"""Increases whenever the same seed gives other pictures."""

COMPLETE, UNFINISHED = "puppets.json", "puppets.unfinished.json"
COLUMNS = ("path", "label", "split", "pair", "twin", "fps", "frames", "tempo")
Job = TypeVar("Job")


def reversal_pairs() -> tuple[tuple[str, str], ...]:
    """Returns the pairs of labels that are each other played backwards."""
    return tuple((action.label, action.reversed) for action in ACTIONS if action.reversed)


@dataclass(frozen=True)
class ClipJob:
    """One performance: clip `number` of an action (its position in `ACTIONS`) in a split."""

    out: str
    seed: int
    split: str
    action: int
    number: int
    size: int

    def generator(self) -> np.random.Generator:
        """The source of all randomness in the clip, independent of other clips and of the process."""
        return np.random.default_rng([self.seed, SPLITS.index(self.split), self.action, self.number])


def generate(
    out: Path,
    *,
    seed: int = 0,
    train: int = 90,
    test: int = 16,
    speed: int = 8,
    size: int = 112,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes the puppets: `OUT/SPLIT/LABEL/NUMBER.mp4`, `manifest.csv`, `flip_map.json` and, last, `puppets.json`.

    The manifest has the columns path, label, split, pair (name of the reversal pair), twin (the clip that is exactly
    this one played backwards), fps, frames and tempo (duration of the action as a multiple of its ordinary one).
    A complete output with the same parameters is not changed; an incomplete one is made again.

    Args:
        out: a folder that is new, empty, or contains puppets.
        seed: non-negative seed of all randomness. The number of workers does not change a single byte.
        train: clips per class in the split `train`.
        test: clips per class in the split `test`; 0 omits the split.
        speed: clips per class in the split `speed`, faster and slower than in the other two; 0 omits the split.
        size: side of the square picture, an even number of at least 64 pixels.
        workers: number of processes; None is one per core that this process may use, 1 works in this process.
        progress: called with the number of finished performances and of all performances.

    Returns:
        The folder.

    Raises:
        KinemaError: a parameter is out of range, or the folder contains something else.
        RunError: the files cannot be written, or the processes cannot be started.
    """
    out = Path(out)
    counts = {"train": train, "test": test, "speed": speed}
    _check(seed, counts, size, workers)
    parameters = {"edition": EDITION, "seed": seed, **counts, "size": size}
    if found(out, parameters):
        return out
    jobs = [
        ClipJob(str(out), seed, split, action, number, size)
        for split in SPLITS
        for action in range(len(ACTIONS))
        for number in range(counts[split])
    ]
    with failing_as_a_run(out):
        begin(out, parameters)
        _make_folders(out, counts)
        rows = in_processes(perform, jobs, workers, chunk=4, progress=progress)
        order = {split: i for i, split in enumerate(SPLITS)}
        finish(out, COLUMNS, sorted(rows, key=lambda row: (order[row["split"]], row["path"])))
    return out


@contextmanager
def failing_as_a_run(out: Path) -> Iterator[None]:
    """Turns errors of the disk or of processes into a `RunError`."""
    try:
        yield
    except BrokenProcessPool as error:
        raise RunError(
            "the processes that render the puppets ended early: call generate from a file, below "
            "`if __name__ == '__main__':`, or with workers=1"
        ) from error
    except OSError as error:
        raise RunError(
            f"writing the puppets to {out} failed: {error.strerror or error}; free space or choose another folder"
        ) from error


def perform(job: ClipJob) -> list[dict[str, str]]:
    """Renders one performance, writes its clip (and the reversed twin), and returns their rows of the manifest."""
    action = ACTIONS[job.action]
    timing, frames = render(job.generator(), action, job.split, job.number, job.size)
    images = pictures(frames)
    name = f"{job.number:04d}.mp4"
    paths = [f"{job.split}/{label}/{name}" for label in action.labels]
    rows = []
    for label, path, twin, order in zip(action.labels, paths, paths[::-1], (1, -1), strict=False):
        (Path(job.out) / path).write_bytes(mp4(images[::order], timing.rate))
        rows.append(
            {
                "path": path,
                "label": label,
                "split": job.split,
                "pair": " / ".join(action.labels) if action.reversed else "",
                "twin": twin if action.reversed else "",
                "fps": str(timing.rate),
                "frames": str(timing.frames),
                "tempo": f"{timing.tempo:.3f}",
            }
        )
    return rows


def in_processes(
    work: Callable[[Job], list[dict[str, str]]], jobs: Sequence[Job], workers: int | None, *, chunk: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, str]]:  # fmt: skip
    """Returns the rows of `work` for all jobs, in order.

    Args:
        work: a module-level function, because other processes import it.
        jobs: the jobs, at least one.
        workers: number of processes; None is one per core that this process may use, 1 works in this process.
        chunk: number of jobs per process at a time.
        progress: called with the number of finished jobs and of all jobs.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    workers = min(workers, len(jobs))
    rows: list[dict[str, str]] = []
    with ExitStack() as stack:
        results: Iterator[list[dict[str, str]]] = map(work, jobs)
        if workers > 1:  # all systems have spawn, and it is safe beside the threads of the calling program
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
            results = pool.map(work, jobs, chunksize=chunk)
        for done, made in enumerate(results, start=1):
            rows += made
            if progress is not None:
                progress(done, len(jobs))
    return rows


def _check(seed: int, counts: dict[str, int], size: int, workers: int | None) -> None:
    for split, count in counts.items():
        least = 1 if split == "train" else 0
        if not least <= count <= 9999:
            raise KinemaError(f"{split} is {count} clips per class: give {least} to 9999")
    check_rendering(seed, size, workers)


def check_rendering(seed: int, size: int, workers: int | None) -> None:
    """Rejects an invalid seed, picture size or number of processes."""
    if seed < 0:
        raise KinemaError(f"seed is {seed}: give an integer of at least 0")
    if size < 64 or size % 2:
        raise KinemaError(f"size is {size} pixels: give an even number of at least 64")
    if workers is not None and workers < 1:
        raise KinemaError(f"workers is {workers}: give at least 1")


def found(out: Path, parameters: Mapping[str, Any]) -> bool:
    """True if the folder already contains exactly these puppets; rejects a folder that contains something else."""
    if out.exists() and not out.is_dir():
        raise KinemaError(f"{out} is a file: give a folder for the puppets")
    if (out / COMPLETE).is_file():
        try:
            there = parse_json((out / COMPLETE).read_text(encoding="utf-8"))
        except ValueError as error:
            raise KinemaError(
                f"{out / COMPLETE} is not readable as JSON: delete the folder or choose another"
            ) from error
        if there != parameters:
            raise KinemaError(
                f"{out} contains puppets with other parameters ({there}): delete the folder or choose another"
            )
        with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
            return all((out / row["path"]).is_file() for row in csv.DictReader(file))
    begun = (out / UNFINISHED).is_file()
    if out.is_dir() and not begun and any(not p.name.startswith(f".{UNFINISHED}.") for p in out.iterdir()):
        raise KinemaError(f"{out} contains other files: give an empty or new folder for the puppets")
    return False


def begin(out: Path, parameters: Mapping[str, Any]) -> None:
    """Marks the folder as unfinished puppets and removes the files of an interrupted run."""
    text = json.dumps(parameters) + "\n"
    replace_file(out / UNFINISHED, lambda part: part.write_text(text, encoding="utf-8"))
    clear_parts(out)
    (out / COMPLETE).unlink(missing_ok=True)


def _make_folders(out: Path, counts: Mapping[str, int]) -> None:
    """Creates the folders of the clips, and removes clips of an interrupted run."""
    for split in SPLITS:
        for label in LABELS:
            folder = out / split / label
            for clip in folder.glob("[0-9][0-9][0-9][0-9].mp4"):
                clip.unlink()
            if counts[split]:
                folder.mkdir(parents=True, exist_ok=True)
            else:
                _remove_empty(folder)
        _remove_empty(out / split)


def _remove_empty(folder: Path) -> None:
    """Removes the folders of a split without clips, which would otherwise be read as classes without videos."""
    with suppress(OSError):
        folder.rmdir()


def finish(out: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Writes the manifest and the flip map, and marks the folder as complete."""
    write_csv(out / "manifest.csv", columns, [[row[column] for column in columns] for row in rows])
    flips = json.dumps(FLIP_MAP) + "\n"
    replace_file(out / "flip_map.json", lambda part: part.write_text(flips, encoding="utf-8"))
    # the rename comes last: if `puppets.json` exists, everything exists
    (out / UNFINISHED).replace(out / COMPLETE)
