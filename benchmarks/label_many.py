"""`kinema label` with very many inputs: one row each, the labels of `predict`, and the same table after ten kills.

    python benchmarks/label_many.py [--inputs 10000] [--kills 10] [--clips DIR] [--cluster local] [--work DIR]
                                    [--seed 0]

The inputs are hard links to a few clips, both generated ones and those of DIR. 3 of 100 are damaged on purpose
(truncated, empty, no video, a dangling link), and three crash the reader process with SIGSEGV. One run is not
interrupted. A second one is killed with SIGKILL at random moments, alternately the command and one of its child
processes, and started again. The two tables are compared with each other, and their labels with `Recognizer.predict`
for every distinct clip. The script prints counts, rates, and the memory of the command during the run. The exit status
is 1 if any check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinema import ClipSpec, Recognizer, create_model
from kinema.data.video_search import find_videos
from kinema.errors import UnreadableVideo
from kinema.evaluation.cost import environment
from kinema.labelling import label, read_labels
from kinema.labelling import run as run_module
from kinema.labelling.ledger import MANIFEST
from kinema.labelling.reading import EntryViews
from kinema.puppets import generate

BROKEN, POISON = 0.03, 3
LABELS = tuple(f"action {i}" for i in range(10))


class Poisoned(EntryViews):
    """A reader that some inputs crash."""

    def __getitem__(self, entry: Any) -> dict[str, Any]:
        if Path(entry.place).name.startswith("poison"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__getitem__(entry)


def recognizer() -> Recognizer:
    torch.manual_seed(0)
    model = create_model("tsm_r18", num_classes=len(LABELS), frames=8, width=0.25).eval()
    with torch.no_grad():
        model.classifier.weight.mul_(100)  # answers that differ from clip to clip
    return Recognizer(model, LABELS, ClipSpec(frames=8, short_side=72, crop=64))


def inputs(folder: Path, count: int, clips: list[Path], seed: int) -> dict[str, Path | None]:
    """Fills a folder with links; returns the clip of each, None for damaged ones."""
    rng = random.Random(seed)
    names = {f"{rng.getrandbits(40):010x} {i}{clip.suffix}": clip for i, clip in enumerate(rng.choices(clips, k=count))}
    wanted: dict[str, Path | None] = dict(names)
    bad = rng.sample(sorted(names), round(count * BROKEN) + POISON)
    for number, name in enumerate(bad):
        del wanted[name]
        clip = names.pop(name)
        if number < POISON:
            shutil.copy(clip, folder / f"poison {number}{clip.suffix}")
            wanted[f"poison {number}{clip.suffix}"] = None
            continue
        wanted[name] = None
        match number % 4:
            case 0:
                (folder / name).write_bytes(clip.read_bytes()[: clip.stat().st_size // 3])
            case 1:
                (folder / name).write_bytes(b"")
            case 2:
                (folder / name).write_bytes(rng.randbytes(2000))
            case 3:
                (folder / name).symlink_to(folder / "nothing.mp4")
    for name, clip in names.items():
        try:
            os.link(clip, folder / name)
        except OSError:  # another disk, or too many links
            shutil.copyfile(clip, folder / name)
    return wanted


def child(args: argparse.Namespace) -> None:
    """Runs the command once, with the reader that some inputs crash."""
    run_module.EntryViews = Poisoned  # type: ignore[misc]
    memory: list[tuple[int, int]] = []
    page = os.sysconf("SC_PAGE_SIZE")

    def report(now: Any) -> None:
        if not memory or now.done >= memory[-1][0] + max(1, now.total // 10):
            memory.append((now.done, int(Path("/proc/self/statm").read_text().split()[1]) * page // 2**20))

    done = label(
        args.child / "recognizer",
        args.child / "inputs",
        args.out,
        workers=1 if args.cluster else 2,
        cluster=args.cluster,
        report=report,
    )
    print(json.dumps({**vars(done), "output": str(done.output), "memory": memory}))


def start(args: argparse.Namespace, work: Path, out: Path) -> subprocess.Popen[str]:
    words = [sys.executable, __file__, "--child", str(work), "--out", str(out)]
    words += ["--cluster", args.cluster] if args.cluster else []
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def below(pid: int, named: str = "") -> list[int]:
    """Returns all descendants of a process."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            line = (status.parent / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid:
            other = int(status.parent.name)
            found += [other] if line.startswith(named.encode()) else []
            found += below(other, named)
    return found


def killed_run(args: argparse.Namespace, work: Path, seconds: float, rng: random.Random) -> tuple[int, dict[str, Any]]:
    """Runs the command until it finishes; before that, kills it or a child process `args.kills` times."""
    kills = 0
    while True:
        process = start(args, work, work / "killed")
        ended = False
        while kills < args.kills and not ended:
            try:
                process.wait(rng.uniform(0.1, 1.5 * seconds / (args.kills + 1)))
                ended = True
            except subprocess.TimeoutExpired:
                victims = below(process.pid, "ray::" if args.cluster else "") if kills % 2 else [process.pid]
                if not victims:
                    continue
                victim = rng.choice(victims)
                kills += 1
                os.kill(victim, signal.SIGKILL)
                rows = 0
                if (work / "killed" / MANIFEST).exists():
                    rows = json.loads((work / "killed" / MANIFEST).read_text())["rows"]
                what = "the command" if victim == process.pid else "a child process"
                print(f"kill {kills}: {what}, with {rows} rows on the disk", flush=True)
                ended = victim == process.pid
        said, _ = process.communicate()
        if process.returncode == 0:
            return kills, json.loads(said.splitlines()[-1])
        assert process.returncode == -signal.SIGKILL or kills, process.returncode


def faults(work: Path, wanted: dict[str, Path | None], rec: Recognizer) -> list[str]:
    """Returns the errors found in the two tables."""
    straight, killed = (read_labels(work / name) for name in ("straight", "killed"))
    found = []
    facts = ["path", "start", "end", "repeat", "content_hash", "card_hash", "label", "top_labels", "stage", "error"]
    if not straight.select(facts).equals(killed.select(facts)):
        found.append("the table after kills differs")
    a, b = (np.array([s or 0.0 for s in table["score"].to_pylist()]) for table in (straight, killed))
    if np.abs(a - b).max() > 1e-6:
        found.append(f"scores differ by {np.abs(a - b).max()}")
    rows = {Path(row["path"]).name: row for row in killed.to_pylist()}
    if len(killed) != len(wanted) or set(rows) != set(wanted):
        found.append(f"{len(killed)} rows for {len(wanted)} inputs")
    answers: dict[Path, Any] = {}
    for clip in {clip for clip in wanted.values() if clip is not None}:
        try:
            answers[clip] = rec.predict(clip)
        except UnreadableVideo as error:
            answers[clip] = error
    for name, clip in wanted.items():
        row = rows.get(name, {})
        if clip is None:
            named = "SIGSEGV" in str(row.get("error")) if name.startswith("poison") else bool(row.get("error"))
            if not named or row.get("label") is not None:
                found.append(f"{name}: damaged, but its row is {row}")
        elif isinstance(answers[clip], UnreadableVideo):
            if row.get("error") != answers[clip].reason:
                found.append(f"{name}: {row.get('error')!r}, not {answers[clip].reason!r}")
        elif row.get("label") != answers[clip].label or abs(row["score"] - answers[clip].score) > 5e-6:
            found.append(f"{name}: {row.get('label')} {row.get('score')}, not {answers[clip]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="number of inputs")
    parser.add_argument("--kills", type=int, default=10, help="SIGKILLs")
    parser.add_argument("--clips", type=Path, default=None, help="folder of more clips, in addition to generated ones")
    parser.add_argument("--cluster", default=None, help="as for kinema label")
    parser.add_argument("--work", type=Path, default=None, help="an empty folder; default: a temporary one")
    parser.add_argument("--seed", type=int, default=0, help="of inputs, damage and moments of the kills")
    parser.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        child(args)
        return 0
    print(json.dumps(environment()))
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        generate(work / "puppets", train=2, test=0, speed=0, size=96, workers=1)
        clips = sorted((work / "puppets").rglob("*.mp4"))
        clips += [Path(p) for p in find_videos([str(args.clips)]) if Path(p).is_file()] if args.clips else []
        (work / "inputs").mkdir()
        wanted = inputs(work / "inputs", args.inputs, clips, args.seed)
        rec = recognizer()
        rec.save(work / "recognizer")
        began = time.monotonic()
        first = start(args, work, work / "straight")
        said, _ = first.communicate()
        assert first.returncode == 0, first.returncode
        facts = json.loads(said.splitlines()[-1])
        seconds = time.monotonic() - began
        print(f"without kills: {facts['inputs']} rows, {facts['failed']} failed {facts['stages']}, "
              f"{seconds:.0f} s in all, {facts['inputs'] / facts['seconds']:.1f} per second")  # fmt: skip
        print("memory of the command, MiB:", ", ".join(f"{mib} at {done}" for done, mib in facts["memory"]))
        kills, facts = killed_run(args, work, seconds, random.Random(args.seed))
        print(f"killed {kills} times: {facts['inputs']} rows, {facts['failed']} failed {facts['stages']}")
        found = faults(work, wanted, rec)
    print("\n".join(found[:20]) if found else "the tables are equal, and every label is that of predict")
    return 1 if found or kills < args.kills else 0


if __name__ == "__main__":
    sys.exit(main())
