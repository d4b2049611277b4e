"""Writes `docs/study.md` from the run folders of the studies on puppets: results with and without each method.

    .venv/bin/python benchmarks/study_page.py RUNS > docs/study.md

RUNS holds the folders `3d`, `stm`, `cidc`, `twins` and `multigrid`, the OUT of `puppets_3d.py`, `puppets_stm.py`,
`puppets_cidc.py`, `puppets_twins.py` and `puppets_multigrid.py`. Nothing is trained or tested here. A pair with a
missing run is left out, and the page names it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from study import folder

from kinema.evaluation import mcnemar, pair_accuracy
from kinema.evaluation.tested import Tested, open_test
from kinema.puppets import reversal_pairs

SEEDS, LEVEL, RESAMPLES = 3, 0.95, 10_000


@dataclass(frozen=True)
class Pair:
    """A method and its baseline; `study` is a folder of RUNS, `without` and `with_it` are titles of contestants."""

    method: str
    study: str
    without: str
    with_it: str


PAIRS = (
    Pair("SRTG in r3d-34", "3d", "r3d-34", "r3d-34 + SRTG"),
    Pair("the same, both with blocks that start at 0.3", "3d", "r3d-34, 0.3", "r3d-34 + SRTG"),
    Pair("MTConv in r3d-50", "3d", "r3d-50", "r3d-50, MTConv"),
    Pair("the same, both with blocks that start at 0.3", "3d", "r3d-50, 0.3", "r3d-50, MTConv"),
    Pair("MTNet-S, against X3D-S", "3d", "X3D-S", "MTNet-S"),
    Pair("Class Regularisation, frozen r3d-34, `shrink`", "3d", "r3d-34", "r3d-34 trained first"),
    Pair("Class Regularisation, frozen r3d-34, `symmetric`", "3d", "r3d-34", "r3d-34 trained first, sym."),
    Pair("Class Regularisation, frozen r3d-34, `max`", "3d", "r3d-34", "r3d-34 trained first, max"),
    Pair("Class Regularisation from the start", "3d", "r3d-34", "r3d-34 + Class Reg."),
    Pair("CIDC on R2D-50", "cidc", "R2D-50", "+ CIDC"),
    Pair("CSTM in TSN-18", "stm", "TSN-18", "CSTM"),
    Pair("CMM in TSN-18", "stm", "TSN-18", "CMM"),
    Pair("CSTM beside CMM (STM-18)", "stm", "CMM", "STM"),
    Pair("CMM beside CSTM (STM-18)", "stm", "CSTM", "STM"),
    Pair("Twins Training of STM-18", "twins", "STM-18", "STM-18, Twins"),
    Pair("its correlation loss alone", "twins", "STM-18, two views", "STM-18, Twins"),
    Pair("multigrid, rate of the full shape", "multigrid", "fixed", "long, last full"),
    Pair("multigrid, rate of the first phase", "multigrid", "fixed", "long, last full, first"),
)
SCRIPTS = {"3d": "puppets_3d.py", "stm": "puppets_stm.py", "cidc": "puppets_cidc.py", "twins": "puppets_twins.py",
           "multigrid": "puppets_multigrid.py"}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """Results of one pair: correct predictions per seed and video on `test` and `speed`, accuracy in reversal pairs."""

    pair: Pair
    right: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]  # split -> without, with: seeds x videos
    pairs: tuple[float, float]
    coverage: str

    @property
    def difference(self) -> tuple[float, float, float]:
        """Accuracy on `test` with minus without, and its bootstrap interval over seeds and videos."""
        a, b = self.right["test"]
        gain = b.astype(float) - a
        rng = np.random.default_rng(0)
        seeds, videos = gain.shape
        means = np.empty(RESAMPLES)
        for i in range(RESAMPLES):
            rows = gain[rng.integers(0, seeds, seeds)].mean(0)
            means[i] = rows[rng.integers(0, videos, videos)].mean()
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(gain.mean()), float(low), float(high)

    @property
    def p(self) -> float:
        """McNemar's exact p on `test`, from the disagreements of all seeds together."""
        a, b = self.right["test"]
        return mcnemar(a.ravel(), b.ravel()).p_exact


def read(runs: Path, pair: Pair, seeds: int = SEEDS) -> Found | None:
    """Reads the tests of a pair; None if one of them is missing."""
    sides = [
        [{split: folder(runs / pair.study, title, seed) / f"test-{split}" for split in ("test", "speed")}
         for seed in range(seeds)]
        for title in (pair.without, pair.with_it)
    ]  # fmt: skip
    if not all((place / "scores.parquet").exists() for side in sides for run in side for place in run.values()):
        return None
    tests = [[{split: open_test(place, split) for split, place in run.items()} for run in side] for side in sides]
    right = {}
    for split in ("test", "speed"):
        paths = tests[0][0][split].result.paths
        assert all(run[split].result.paths == paths for side in tests for run in side), f"{pair}: other videos"
        a, b = (np.stack([run[split].result.correct for run in side]) for side in tests)
        right[split] = (a, b)
    inside = [float(np.mean([_inside(run["test"]) for run in side])) for side in tests]
    coverage = sorted({str(run[split].coverage) for side in tests for run in side for split in ("test", "speed")})
    return Found(pair, right, (inside[0], inside[1]), " and ".join(coverage))


def _inside(test: Tested) -> float:
    return pair_accuracy(test.result.truth, test.result.scores, test.result.labels, reversal_pairs()).overall


def holm(p: list[float]) -> list[float]:
    """Returns p values with Holm's correction, which can be read as if there were one test."""
    order, worst, found = np.argsort(p), 0.0, [0.0] * len(p)
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        found[i] = worst
    return found


def verdict(low: float, high: float, p: float) -> str:
    """Returns the verdict; "helps" and "hurts" need both the interval and the corrected p to show a difference."""
    if p < 1 - LEVEL and low > 0:
        return "helps"
    if p < 1 - LEVEL and high < 0:
        return "hurts"
    return "nothing shown"


def page(found: list[Found], missing: list[Pair]) -> str:
    """Returns the whole document."""
    corrected = holm([f.p for f in found])
    lines = [HEAD, "| method | without: seeds | with: seeds | difference on test | pairs | speed | Holm p | here |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for one, p in zip(found, corrected, strict=True):
        (a, b), (slow_a, slow_b) = one.right["test"], one.right["speed"]
        gain, low, high = one.difference
        lines.append(
            f"| {one.pair.method} | {_seeds(a)} | {_seeds(b)} "
            f"| {100 * gain:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] "
            f"| {100 * one.pairs[0]:.1f} → {100 * one.pairs[1]:.1f} "
            f"| {100 * slow_a.mean():.1f} → {100 * slow_b.mean():.1f} | {_p(p)} | **{verdict(low, high, p)}** |"
        )
    lines.append(f"\nCoverage of every test: {', '.join(sorted({f.coverage for f in found}))}.")
    if missing:
        lines.append("\nNot measured: " + ", ".join(pair.method for pair in missing) + ".")
    return "\n".join(lines) + "\n"


def _seeds(right: NDArray[np.bool_]) -> str:
    return ", ".join(f"{100 * share:.1f}" for share in right.mean(1))


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"


HEAD = """# Effect of each method on puppets

This page compares networks with and without each method of the five texts, with the same clips, epochs, batch size and
schedule and three seeds. The data set is puppets, which is generated (`kinema data puppets`): 16 actions in 8 pairs
that differ only in the direction of time. Clips are small, networks are narrow, and each training takes minutes.

The page shows whether a method learns, and whether its effect is larger than chance on this task. The effect on
Kinetics may be different.

- **without**, **with**: top-1 on `test` per seed, in per cent.
- **difference on test**: mean top-1 with the method minus that without, in points, and a 95 % interval from a paired
  bootstrap that resamples seeds and videos. With three seeds the interval is rough.
- **pairs**: accuracy of choosing between an action and its reversal; 50 is chance.
- **speed**: top-1 on actions slower and faster than any in training.
- **Holm p**: p value of McNemar's exact test on the disagreements of all three seeds together, with Holm's correction
  for the number of rows. Seeds share their videos, so these p values are somewhat too small.
- **here**: "helps" or "hurts" if the p value is below 0.05 and the interval excludes 0, otherwise "nothing shown".

The scripts and their settings are `benchmarks/puppets_3d.py`, `puppets_stm.py`, `puppets_cidc.py`, `puppets_twins.py`
and `puppets_multigrid.py`; `benchmarks/study_page.py` writes this page from their run folders.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    runs = parser.parse_args().runs
    tried = [(pair, read(runs, pair)) for pair in PAIRS]
    print(page([f for _, f in tried if f is not None], [pair for pair, f in tried if f is None]), end="")


if __name__ == "__main__":
    main()
