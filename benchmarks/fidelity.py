"""Writes `docs/fidelity.md`: every structural number of the papers and the count of Kinema.

    .venv/bin/python benchmarks/fidelity.py [--out docs/fidelity.md]

No network is run: they are counted on the meta device. For all of them this takes some minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kinema.evaluation.fidelity import page
from kinema.evaluation.papers import paper_rows
from kinema.files import replace_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs" / "fidelity.md")
    out = parser.parse_args().out
    text = page(paper_rows("all"))
    replace_file(out, lambda part: part.write_text(text, encoding="utf-8"))
    print(f"{out}: {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
