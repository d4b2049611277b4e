"""Damages cards, weights, checkpoints, tables, manifests, caches from seeds: each is read or refused in one sentence.

    python tools/fuzz_files.py --first 0 --count 500

Prints one row per kind of file (`tests/fuzz/read_files.py`) and every finding with its seed. A finding is any error
other than a `KinemaError`. The exit status is 1 if there is one. `tests/fuzz/test_files.py` is a short run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from fuzz.read_files import TARGETS, Damager  # noqa: E402

FINDING = "finding"


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=500, help="number of files of each kind")
    parser.add_argument("--only", choices=sorted(TARGETS), help="test only this kind of file")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    total: Counter[str] = Counter()
    for name in [given.only] if given.only else TARGETS:
        counts: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            damager = Damager(TARGETS[name], Path(folder))
            for seed in range(given.first, given.first + given.count):
                try:
                    counts[damager.try_seed(seed)] += 1
                except Exception as error:
                    counts[FINDING] += 1
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                    print(f"{name}, seed {seed}: {said} ({Path(last.filename).name}:{last.lineno})")
        print(
            f"{name:26} {counts['read']:6} read {counts['refused']:6} refused {counts[FINDING]:6} findings", flush=True
        )
        total.update(counts)
    _print("all", total)
    return int(total[FINDING] > 0)


def _print(name: str, counts: Counter[str]) -> None:
    print(f"{name:26} {counts['read']:6} read {counts['refused']:6} refused {counts[FINDING]:6} findings", flush=True)


if __name__ == "__main__":
    sys.exit(main())
