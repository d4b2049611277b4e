"""`kinema compare RUN_A RUN_B`."""

from __future__ import annotations

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.output import print_json, print_table
from kinema.errors import KinemaError
from kinema.evaluation.comparison import ClassGain, Comparison, Side, compare, shared_rows
from kinema.evaluation.tested import Tested, open_tests
from kinema.files import replace_file
from kinema.tables import write_csv

COMPARISON, DISAGREEMENTS = "comparison.json", "disagreements.csv"


def add_arguments(parser: ArgumentParser) -> None:
    """The two tests and how much to print."""
    for name, what in (("run_a", "the one to compare with"), ("run_b", "the one that is asked about")):
        parser.add_argument(name, type=str, help=f"{what}: a run folder, a test folder or a scores.parquet")
    parser.add_argument("--top", type=int, default=10, help="classes gained, classes lost and hardest pairs to print")
    parser.add_argument("--out", type=str | None, default=None, help="folder for comparison.json and disagreements.csv")
    add_json(parser)


def run(args: Namespace) -> None:
    """Compares, prints, writes."""
    if args.top < 1:
        raise KinemaError(f"--top {args.top}: give at least 1")
    first, second = open_tests([args.run_a, args.run_b])
    found = compare(first, second)
    if args.out is not None:
        _write(Path(args.out), first, second, found)
    if args.json:
        print_json(found.to_dict())
        return
    _print(found, args.top)
    if args.out is not None:
        print(f"files: {args.out}: {COMPARISON}, {DISAGREEMENTS}")


def _print(found: Comparison, top: int) -> None:
    a, b, d, m = found.first, found.second, found.difference, found.mcnemar
    print(f"{b.name} against {a.name}, {found.videos} videos that both were tested on")
    for remark in found.remarks:  # before the figures, which they may take the ground from
        print(f"note: {remark}")
    print_table(("", "top-1", "95 % interval", "mean class", "coverage of these videos", "of the whole test"),
                [_row(a), _row(b)])  # fmt: skip
    print(
        f"difference  {100 * d.difference:+.1f} points, 95 % interval {100 * d.low:+.1f} to {100 * d.high:+.1f} "
        "(paired bootstrap over videos)"
    )
    print(f"McNemar     statistic {m.statistic:.3f} with Edwards' correction, p = {m.p:.2g}; exact binomial p = "
          f"{m.p_exact:.2g}" + ("; go by the latter, the disagreements are few" if m.few else ""))  # fmt: skip
    (both, only_b), (only_a, neither) = m.table
    print_table(("", f"{a.name} right", f"{a.name} wrong"),
                [(f"{b.name} right", both, only_b), (f"{b.name} wrong", only_a, neither)])  # fmt: skip
    gains = [c for c in found.per_class if c.second > c.first][:top]
    losses = [c for c in found.per_class[::-1] if c.second < c.first][:top]
    for what, classes in (("gained", gains), ("lost", losses)):
        total = sum((c.second > c.first) if what == "gained" else (c.second < c.first) for c in found.per_class)
        if not classes:
            print(f"No class {what}.\n")
            continue
        print(f"Classes {what}: {total} of {len(found.per_class)}" + (f", the largest {top}" if total > top else ""))
        print_table(("class", "videos", a.name, b.name, "points", f"only {b.name}", f"only {a.name}"),
                    [_class_row(c) for c in classes])  # fmt: skip
    if found.pairs:
        print("Hardest pairs: videos of either class taken for the other" + (
            f", the first {top} of {len(found.pairs)}" if len(found.pairs) > top else ""))  # fmt: skip
        print_table(("classes", "videos", a.name, b.name),
                    [(" / ".join(p.labels), p.videos, p.first, p.second) for p in found.pairs[:top]])  # fmt: skip


def _row(side: Side) -> tuple[str, ...]:
    low, high = side.interval
    return (side.name, f"{side.top1:.1%}", f"{low:.1%} to {high:.1%}", f"{side.mean_class:.1%}",
            str(side.compared), str(side.whole))  # fmt: skip


def _class_row(c: ClassGain) -> tuple[str | int, ...]:
    return (
        c.label,
        c.videos,
        f"{c.first:.1%}",
        f"{c.second:.1%}",
        f"{100 * (c.second - c.first):+.1f}",
        c.gained,
        c.lost,
    )


def _write(out: Path, first: Tested, second: Tested, found: Comparison) -> None:
    """The comparison, and the videos on which the two disagree."""
    file = out / COMPARISON
    if out.exists() and not out.is_dir():
        raise KinemaError(f"{out}: is a file; give a folder as --out")
    if file.exists():
        try:
            old = json.loads(file.read_text(encoding="utf-8"))
            there = [Path(old[side]["scores"]).resolve() for side in ("first", "second")]
        except (OSError, ValueError, KeyError, TypeError):
            there = []
        if there != [first.file.resolve(), second.file.resolve()]:
            raise KinemaError(f"{out}: holds another comparison; give another --out")
    disagreements = []
    right_a, right_b = first.scores.correct, second.scores.correct
    for i, j in shared_rows(first, second):
        if right_a[i] != right_b[j]:
            a, b = first.scores, second.scores
            disagreements.append((a.paths[i], *a.spans[i], a.truth[i], a.predictions[i], b.predictions[j]))
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n"
    write_csv(out / DISAGREEMENTS, ("path", "start", "end", "label", first.name, second.name), disagreements)
    replace_file(file, lambda part: part.write_text(text, encoding="utf-8"))
