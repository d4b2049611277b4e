"""The parts of the cost model of `docs/scale.md`, each measured by itself on this machine.

    python benchmarks/scale_cost.py [--clips 24] [--model tsm_r18] [--width 0.75] [--size 112] [--source 320]
                                    [--rows 200000] [--parts clips rows head] [--rounds 3]

Per clip, with one thread in this process: reading (SHA-256 of the file, decoding, cutting a view of generated H.264
clips of 64 frames) and the network (full batches of 8). Per row, on the machine that gives the command: listing inputs
from a Parquet list, planning, writing rows into a new table, opening that table again, and going through its rows; with
the memory and the bytes on the disk that a row takes. With `--parts head`, per group of 8: processor time of the
command for a group whose reader and network do nothing, on Ray, and how long Ray's `wait` takes with many groups on
their way. Printed are medians of the rounds, the least and the largest. All times are processor time of this process:
other programs disturb them little, and waiting for a disk is not in them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from label import write_clip

from kinema import ClipSpec, Recognizer, create_model
from kinema.data.loading.limits import ReadLimits
from kinema.evaluation.cost import environment
from kinema.labelling import cluster
from kinema.labelling.inputs import Entry, find_entries
from kinema.labelling.ledger import MANIFEST, Ledger
from kinema.labelling.planning import plan
from kinema.labelling.reading import EntryViews
from kinema.labelling.rows import Row

BATCH = 8
HASH = "0123456789abcdef" * 4


def say(what: str, values: list[float], unit: str) -> None:
    print(f"{what:<48}{statistics.median(values):12.4g} ({min(values):.4g} to {max(values):.4g}) {unit}", flush=True)


def timed(work: Callable[[], Any], count: int, rounds: int) -> list[float]:
    """Seconds of processor time per one of `count`, once for each round."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append((time.process_time() - began) / count)
    return found


def clips(args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = create_model(args.model, num_classes=50, frames=8, width=args.width).eval()
    spec = ClipSpec(frames=8, short_side=args.size, crop=args.size)
    rec = Recognizer(model, tuple(f"action {i}" for i in range(50)), spec)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.mp4" for i in range(args.clips)]
        for i, path in enumerate(paths):
            write_clip(path, i, args.source)
        data = EntryViews(spec, 1, 1)
        found = [data[Entry(str(path))] for path in paths]
        views = torch.cat([one["views"] for one in found])
        views = views[: len(views) // BATCH * BATCH]
        say("size of a clip", [path.stat().st_size / 2**10 for path in paths], "KiB")
        say("views of a clip", [views[0].numel() / 2**10], "KiB")
        reading = timed(lambda: [data[Entry(str(path))] for path in paths], len(paths), args.rounds)
        say("reading", reading, "s per clip")
        rec.scores(views[:BATCH])
        network = timed(lambda: [rec.scores(v) for v in views.split(BATCH)], len(views), args.rounds)
        say("network", network, "s per clip")


def row(entry: Entry) -> Row:
    labels = tuple(f"action {i}" for i in range(5))
    digest = hashlib.sha256(entry.place.encode()).hexdigest()
    number = int(digest[:12], 16)
    scores = tuple((number >> i & 0xFFFF) / 0xFFFFF for i in range(5))
    return Row(
        *entry.key, digest, HASH, label=labels[0], score=scores[0], top_labels=labels, top_scores=scores, t_start=0.0,
        t_end=2.56, frames_declared=64, frames_read=8, stamp=f"{number} {number * 7919} {number * 7919} {number}",
    )  # fmt: skip


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rows(args: argparse.Namespace) -> None:
    count = args.rows
    settings = {"card_hash": HASH, "views": "1x1", "top_k": 5, "window": None, "step": None, "features": False}
    with tempfile.TemporaryDirectory() as folder:
        names = [f"/data/videos/{i % 1000:03}/{i:09}_clip.mp4" for i in range(count)]
        pq.write_table(pa.table({"path": names}), Path(folder) / "list.parquet")
        del names
        before = memory()
        began = time.process_time()
        entries = find_entries(Path(folder) / "list.parquet")
        say("listing", [(time.process_time() - began) / count], "s per row")
        table = Path(folder) / "table"
        table.mkdir()
        ledger = Ledger(table, settings, features=False)
        began = time.process_time()
        planned = plan(entries, ledger, retry=None, workers=0, limits=None, windows=False)
        say("planning a new table", [(time.process_time() - began) / count], "s per row")
        say("memory of the command", [(memory() - before) / count], "bytes per row")
        made = [row(entry) for entry in planned.todo]
        began = time.process_time()
        for one in made:
            ledger.add(one)
        ledger.finish({})
        say("writing", [(time.process_time() - began) / count], "s per row")
        say("table", [sum(f.stat().st_size for f in table.glob("*.parquet")) / count], "bytes per row")
        say("manifest", [(table / MANIFEST).stat().st_size / count], "bytes per row")
        began = time.process_time()
        ledger = Ledger(table, settings, features=False)
        say("opening the table", [(time.process_time() - began) / count], "s per row")
        began = time.process_time()
        columns = ["path", "start", "end", "repeat", "content_hash", "stamp", "stage", "error"]
        seen = sum(len(part["path"]) for part in ledger.done(columns))
        say("going through its rows", [(time.process_time() - began) / seen], "s per row")


class IdleReader:
    """Reads nothing, and gives views of the usual size."""

    def __init__(self, *_: Any) -> None:
        self._views = torch.zeros(BATCH, 1, 8, 112, 112, 3, dtype=torch.uint8)

    def answer(self) -> None: ...

    def read(self, group: list[Entry]) -> Any:
        return [{} for _ in group], self._views


class IdleNetwork:
    """Computes nothing, and gives rows of the usual size."""

    def __init__(self, *_: Any) -> None: ...

    def answer(self) -> None: ...

    def rows(self, group: list[Entry], *_: Any) -> list[Row]:
        return [row(entry) for entry in group]


def head(args: argparse.Namespace) -> None:
    import ray

    cluster.Reader, cluster.Network = IdleReader, IdleNetwork  # type: ignore[assignment, misc]
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    labeller = SimpleNamespace(card_hash=HASH, options={})
    with tempfile.TemporaryDirectory() as folder:
        for name in (cluster.CARD, cluster.WEIGHTS):
            (Path(folder) / name).touch()
        recognizer = SimpleNamespace(save=lambda _: Path(folder))
        pool = cluster._Pool(ray, None, labeller, recognizer, 1, 1, False, BATCH, ReadLimits())  # type: ignore[arg-type]
        groups = 100

        def pass_through() -> None:
            entries = iter([Entry(f"/data/videos/{i:09}_clip.mp4") for i in range(BATCH * groups)])
            assert sum(1 for _ in cluster._rows(ray, pool, entries, BATCH, 300.0, HASH)) == BATCH * groups

        pass_through()
        say("head", timed(pass_through, groups, args.rounds), "s per group")

    @ray.remote(num_cpus=1)
    class Sleeper:
        def sleep(self, seconds: float) -> None:
            time.sleep(seconds)

    sleeper = Sleeper.remote()
    for count in (64, 512, 4096):
        waiting = [sleeper.sleep.remote(1e6)] + [sleeper.sleep.remote(0) for _ in range(count - 1)]
        done = ray.put(None)
        once = lambda refs=[*waiting, done]: ray.wait(refs, num_returns=1, timeout=5.0)  # noqa: E731
        say(f"head: wait with {count} groups on their way", timed(once, 1, 10 * args.rounds), "s")
        ray.kill(sleeper)
        sleeper = Sleeper.remote()
    ray.shutdown()


PARTS = {"clips": clips, "rows": rows, "head": head}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=24, help="how many")
    parser.add_argument("--model", default="tsm_r18", help="network")
    parser.add_argument("--width", type=float, default=0.75, help="multiplier of its channels")
    parser.add_argument("--size", type=int, default=112, help="height and width of what it sees")
    parser.add_argument("--source", type=int, default=320, help="height and width of the clips")
    parser.add_argument("--rows", type=int, default=200_000, help="of the table that is written")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["clips", "rows"], help="head needs Ray")
    args = parser.parse_args()
    print(json.dumps(environment() | {"load": os.getloadavg()[0]}))
    for part in args.parts:
        PARTS[part](args)


if __name__ == "__main__":
    main()
