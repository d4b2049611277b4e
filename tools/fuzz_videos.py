"""Damages video files from seeds, reads each in a separate process, and reports the outcomes.

    python tools/fuzz_videos.py --first 0 --count 5000 --log fuzz.jsonl

A mutant is a small H.264, HEVC, MPEG-2, MPEG-4, MJPEG, VP9, AV1 or GIF file that is truncated, overwritten, reordered
or has wrong metadata (`tests/fuzz/mutants.py`). It is read by `kinema.data.loading`, as in training and labelling. Then
a plain loop over PyAV decodes it from the first packet to the last, and the frames are compared
(`tests/fuzz/judging.py`).

Prints one row per outcome; a finding is printed with its seed, and `--seed N --keep FOLDER` writes that file and reads
it in this process. The exit status is 1 if there is a finding. The same seeds give the same files with the same release
of PyAV.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]
os.environ.setdefault("SVT_LOG", "1")  # otherwise the AV1 encoder prints its settings

from fuzz.judging import FINDINGS, OUTCOMES, Mutants, Verdict  # noqa: E402
from fuzz.mutants import KINDS  # noqa: E402

from kinema.data.loading.limits import ReadLimits  # noqa: E402
from kinema.data.loading.loader import Loader, alone  # noqa: E402

LIMITS = ReadLimits(seconds=60, stalled=20, memory=2)


def verdicts(folder: Path, seeds: range, readers: int) -> Iterator[Verdict]:
    """Returns the outcome of each seed, in order."""
    keys = [[seed] for seed in seeds]
    with Loader(Mutants(folder), keys, alone, readers=readers, largest=1, limits=LIMITS) as loader:
        for found in loader:
            yield found["verdict"]


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=5000, help="number of mutants")
    parser.add_argument("--readers", type=int, default=1, help="reader processes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--log", type=Path, help="file to which a JSON line per mutant is appended")
    parser.add_argument("--seed", type=int, help="only this mutant, in this process")
    parser.add_argument("--keep", type=Path, help="with --seed: folder for the files of this mutant")
    given = parser.parse_args()
    if given.seed is not None:
        folder = given.keep or Path(tempfile.mkdtemp())
        folder.mkdir(parents=True, exist_ok=True)
        mutants = Mutants(folder, keep=True)
        print(mutants[given.seed]["verdict"], mutants.path(given.seed), sep="\n")
        return 0
    began = time.monotonic()
    table: Counter[tuple[str, str]] = Counter()
    damages: Counter[tuple[str, str]] = Counter()
    frames: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for verdict in verdicts(Path(folder), range(given.first, given.first + given.count), given.readers):
            table[verdict.kind, verdict.outcome] += 1
            damages[verdict.damage, verdict.outcome] += 1
            frames.update(verdict.frames)
            if verdict.outcome in FINDINGS:
                print(f"seed {verdict.seed} ({verdict.kind}, {verdict.damage}): {verdict.outcome}: {verdict.note}")
            if given.log:
                with given.log.open("a") as log:
                    log.write(json.dumps({**vars(verdict), "frames": dict(verdict.frames)}) + "\n")
            if time.monotonic() - began > 60 * given.minutes:
                break
    done = sum(table.values())
    print(f"PyAV {av.__version__} on {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    print(f"{done} mutants from seed {given.first}, {time.monotonic() - began:.0f} s")
    _print("", {kind: [table[kind, outcome] for outcome in OUTCOMES] for kind in KINDS})
    single = sorted({damage for damage, _ in damages if "+" not in damage})
    rows = {damage: [damages[damage, outcome] for outcome in OUTCOMES] for damage in single}
    several = [sum(n for (d, o), n in damages.items() if "+" in d and o == outcome) for outcome in OUTCOMES]
    _print("", {**rows, "two of them": several})
    print("frames:", ", ".join(f"{count} {name}" for name, count in frames.most_common()))
    return int(any(table[kind, outcome] for kind in KINDS for outcome in FINDINGS))


def _print(title: str, rows: dict[str, list[int]]) -> None:
    used = [i for i in range(len(OUTCOMES)) if i < 5 or any(row[i] for row in rows.values())]
    heads = [OUTCOMES[i] for i in used]
    print(f"\n{title:16}" + "".join(f"  {head}" for head in heads))
    for name, row in {**rows, "all": [sum(column) for column in zip(*rows.values(), strict=True)]}.items():
        print(f"{name:16}" + "".join(f"  {row[i]:{len(OUTCOMES[i])}}" for i in used))


if __name__ == "__main__":
    sys.exit(main())
