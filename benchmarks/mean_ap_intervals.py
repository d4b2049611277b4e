"""How often bootstrap intervals of a difference of two mAPs hold what very many videos would give.

    .venv/bin/python benchmarks/mean_ap_intervals.py [--tests 200] [--resamples 500]

Scores of two recognizers are drawn from normal distributions: noise that both share, noise of their own, and a
separation of true labels from others. Per setting are printed the difference on 100000 videos, the mean error of the
difference on a test, the share of tests whose interval holds the true difference (percentile, basic, normal with the
bootstrap's standard error; 0.95 is meant) and the share in which p is at most 0.05 (share of resamples beyond 0,
normal), which should be 0.05 where the true difference is 0. `kinema.evaluation.set_statistics` takes the normal one.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from kinema.evaluation.cost import environment
from kinema.evaluation.set_statistics import mean_aps

# videos, classes, share of positives, separation of the first and of the second, share of noise in common
SETTINGS = (
    (96, 20, 0.08, 1.0, 1.0, 0.5), (96, 20, 0.08, 1.0, 2.0, 0.5), (400, 10, 0.1, 1.5, 1.5, 0.7),
    (400, 10, 0.1, 1.5, 2.0, 0.7), (60, 5, 0.3, 1.0, 1.0, 0.5), (60, 5, 0.3, 1.0, 2.5, 0.5),
    (300, 12, 0.05, 2.0, 2.0, 0.8),
)  # fmt: skip
MANY = 100_000


def drawn(
    rng: np.random.Generator, videos: int, setting: tuple[int, int, float, float, float, float]
) -> tuple[NDArray[np.bool_], list[NDArray[np.float64]]]:
    """Truth and the scores of two recognizers."""
    _, classes, positives, *separations, common = setting
    truth = rng.random((videos, classes)) < positives
    shared = common * rng.normal(size=truth.shape)
    own = (1 - common**2) ** 0.5
    return truth, [shared + own * rng.normal(size=truth.shape) + s * truth for s in separations]


def difference(
    truth: NDArray[np.bool_], scores: list[NDArray[np.float64]], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """mAP of the second minus mAP of the first, per row of weights."""
    first, second = (mean_aps(truth, s, weights) for s in scores)
    return second - first


def main() -> None:
    """Prints one line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=500)
    args = parser.parse_args()
    print(environment())
    print("setting | true | error | held: percentile basic normal | p <= 0.05: share normal")
    for setting in SETTINGS:
        n = setting[0]
        truth, scores = drawn(np.random.default_rng(99), MANY, setting)
        true = float(difference(truth, scores, np.ones((1, MANY)))[0])
        rows = []
        for seed in range(args.tests):
            rng = np.random.default_rng(1000 + seed)
            truth, scores = drawn(rng, n, setting)
            weights = rng.multinomial(n, np.full(n, 1 / n), size=args.resamples).astype(np.float64)
            found = difference(truth, scores, weights)
            here = float(difference(truth, scores, np.ones((1, n)))[0])
            low, high = np.quantile(found, [0.025, 0.975])
            error = found.std(ddof=1)
            rarer = min((found <= 0).sum(), (found >= 0).sum())
            rows.append(
                (here - true, low <= true <= high, 2 * here - high <= true <= 2 * here - low,
                 abs(here - true) <= 1.96 * error, 2 * (rarer + 1) / (args.resamples + 1) <= 0.05,
                 abs(here) >= 1.96 * error)
            )  # fmt: skip
        bias, *shares = np.mean(np.array(rows, dtype=np.float64), axis=0)
        print(setting, f"| {true:+.3f} | {bias:+.3f} |", *(f"{share:.3f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
