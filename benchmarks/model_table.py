"""Writes src/kinema/evaluation/models.csv, which `kinema models` prints: counts every network with 400 and 401 classes.

    python benchmarks/model_table.py [--check]

It takes up to two minutes on one core. --check writes nothing and names the rows that differ from the file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kinema.evaluation import zoo
from kinema.evaluation.cost import count
from kinema.models import find_model, list_models
from kinema.tables import write_csv


def row_of(name: str) -> zoo.ZooRow:
    """Counts a network and returns its row."""
    cost, more = (count(name, num_classes=classes) for classes in (zoo.CLASSES, zoo.CLASSES + 1))
    return zoo.ZooRow(
        name, find_model(name).paper, cost.frames, cost.size, cost.params, cost.macs, cost.normalised,
        more.params - cost.params, more.macs - cost.macs,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    rows = [row_of(name) for name in list_models()]
    file = Path(zoo.__file__).with_name(zoo.FILE)
    if not check:
        write_csv(file, zoo.COLUMNS, [[getattr(row, column) for column in zoo.COLUMNS] for row in rows])
        print(f"{file}: {len(rows)} networks")
        return 0
    stale = [row.model for row in rows if zoo.zoo().get(row.model) != row]
    stale += [name for name in zoo.zoo() if name not in {row.model for row in rows}]
    print("\n".join(f"differs: {name}" for name in stale) or f"{len(rows)} networks, all as in {file}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
