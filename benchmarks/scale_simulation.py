"""Labelling on a cluster whose machines fail, simulated: hours, work done twice, and one row for every input.

    python benchmarks/scale_simulation.py [--inputs 200000] [--machines 1 4 16] [--failures 0 0.1 1] [--seed 0] …

The scheduler is the one of `kinema.labelling.cluster` itself: it runs unchanged on `SimulatedRay`, which stands for
Ray and has a clock of its own, in seconds. The machines, their processes, the network disk and the failures are
simulated as discrete events; durations per clip are arguments (`benchmarks/scale_cost.py` measures them). The same
arguments and seed give the same table.

Assumptions: a machine fails at random, independently of the others and of its age; it comes back after `--repair`
seconds. What a machine was doing, had queued or held is lost, and the head learns of it after `--detect` seconds. A
poison file ends the process that reads it. The head itself does not fail (if it does, the same command continues).
A process takes its calls in the order in which they were made, as in Ray. The network disk serves one request after
another at `--bandwidth`. Views travel in no time.

Beside each simulated time stands the one of the formula (see `predicted`). The exit status is 1 where an input has no
row or two.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from simulated_ray import CARD_HASH, Setting, SimulatedRay

from kinema.card import CARD, WEIGHTS
from kinema.data.loading.limits import ReadLimits
from kinema.labelling import cluster
from kinema.labelling.inputs import Entry


def sizes(setting: Setting) -> tuple[int, int]:
    """Readers and networks, as `kinema label` chooses them."""
    readers, networks, _ = cluster._sizes({"CPU": float(setting.cores * setting.machines)}, -1, setting.networks)
    return readers, networks


def predicted(setting: Setting) -> dict[str, float]:
    """The formula: seconds in all and of each part, and an upper bound of the share of the clips that are read again.

    The time is the largest of four, each of which one part of the cluster needs for the work: readers, networks, the
    network disk, the head. A machine that fails is away until it is repaired and its processes have started; what was
    on its way through it comes again.
    """
    readers, networks = sizes(setting)
    together, inputs, machines = setting.batch, setting.inputs, setting.machines
    per_second = setting.failures / 3600
    away = max(setting.repair, 2 * setting.detect) + setting.start
    speed = (machines - setting.slow / 2) / machines / (1 + per_second * away)
    on_way = cluster._DEPTH * (readers + networks) * together
    lost = min(on_way, inputs) * (1 - (1 - 1 / machines) ** 2)  # a group needs two processes, on any two machines
    seconds = 0.0
    for _ in range(100):  # more time, more failures, more time
        again = per_second * machines * seconds * lost
        parts = {
            "readers": (inputs + again) * setting.read / (speed * readers),
            "networks": (inputs + again) * setting.network / (speed * networks),
            "disk": (inputs + again) * setting.size / setting.bandwidth,
            "head": (inputs + again) / together * setting.head,
        }
        seconds = max(parts.values())
    last = setting.start + together * (setting.read + setting.size / setting.bandwidth + setting.network)
    return {"seconds": seconds + last, "again": again / inputs, **parts}


def bound(setting: Setting) -> float:
    """Seconds below which no schedule can stay, whatever it does: the same work without any loss."""
    _, networks = sizes(setting)
    share = (setting.machines - setting.slow / 2) / setting.machines
    return max(
        setting.inputs * setting.network / (share * networks),
        setting.inputs * setting.size / setting.bandwidth,
        setting.inputs / setting.batch * setting.head,
    )


def simulate(setting: Setting) -> dict[str, Any]:
    """Runs the scheduler until every input has its row; counts what came.

    Raises:
        AssertionError: an input has no row, or two.
    """
    ray = SimulatedRay(setting)
    readers, networks = sizes(setting)
    real = cluster.time
    cluster.time = SimpleNamespace(monotonic=lambda: ray.clock)  # type: ignore[assignment]
    seen = bytearray(setting.inputs)
    given_up: list[str] = []
    try:
        labeller, recognizer = SimpleNamespace(card_hash=CARD_HASH, options={}), SimpleNamespace(save=_save)
        pool = cluster._Pool(
            ray, None, labeller, recognizer, readers, networks, False, setting.batch, ReadLimits()  # type: ignore[arg-type]
        )  # fmt: skip
        patience = 10 * (setting.repair + setting.start + 60)
        for row in cluster._rows(ray, pool, _entries(setting.inputs), setting.batch, patience, CARD_HASH):
            number = int(row.path)
            assert not seen[number], f"input {number} has two rows"
            seen[number] = 1
            if row.stage is not None:
                given_up.append(row.path)
    finally:
        cluster.time = real
    assert all(seen), f"{seen.count(0)} inputs have no row"
    return {
        "seconds": ray.clock,
        "again": ray.read_clips / setting.inputs - 1,
        "rows": sum(seen),
        "poison": len(ray.poison & set(given_up)),
        "harmless": len(set(given_up) - ray.poison),  # sound files that were given up
        "died": ray.died,
    }


def _entries(count: int) -> Iterator[Entry]:
    return map(Entry, map(str, range(count)))


def _save(folder: str) -> Path:
    for name in (CARD, WEIGHTS):
        (Path(folder) / name).touch()
    return Path(folder)


def main(words: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 4, 16], help="a row for each")
    parser.add_argument("--failures", type=float, nargs="+", default=[0.0, 0.1, 1.0], help="per machine and hour")
    plain = Setting()
    for name, value in asdict(plain).items():
        if name not in ("machines", "failures"):
            parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value:g}")
    parser.add_argument("--formula", action="store_true", help="only the formula, and the hours that each part needs")
    parser.add_argument("--json", action="store_true", help="one JSON object per row")
    args = vars(parser.parse_args(words))
    machines, failures, as_json = args.pop("machines"), args.pop("failures"), args.pop("json")
    only_formula = args.pop("formula")
    plain = replace(plain, **args)
    if not as_json:
        print(" ".join(f"{name} {value:g}" for name, value in args.items()))
    if only_formula:
        print("machines  failures/h     hours  readers  networks     disk     head  read again at most")
    elif not as_json:
        print("machines  failures/h     hours   formula   ratio  read again  (at most)     rows  poison  harmless lost")
    for count, rate in itertools.product(machines, failures):
        setting = replace(plain, machines=count, failures=rate)
        formula = predicted(setting)
        if only_formula:
            hours = [formula[name] / 3600 for name in ("seconds", "readers", "networks", "disk", "head")]
            print(f"{count:8}{rate:12g}{hours[0]:10.2f}{hours[1]:9.2f}{hours[2]:10.2f}{hours[3]:9.2f}{hours[4]:9.2f}"
                  f"{formula['again']:20.3%}")  # fmt: skip
            continue
        found = simulate(setting)
        if as_json:
            print(json.dumps({"machines": count, "failures": rate, **found, "formula": formula}), flush=True)
            continue
        print(
            f"{count:8}{rate:12g}{found['seconds'] / 3600:10.3f}{formula['seconds'] / 3600:10.3f}"
            f"{found['seconds'] / formula['seconds']:8.3f}{found['again']:12.3%}{formula['again']:11.3%}"
            f"{found['rows']:9}{found['poison']:8}{found['harmless']:15}", flush=True,
        )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
