"""`kinema compare RUN_A RUN_B [RUN_C ...]`."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser, Namespace

from kinema.cli.arguments import add_json
from kinema.cli.compare_many import percent, print_many, print_pairs
from kinema.cli.compare_sets import print_many_sets, print_sets
from kinema.cli.output import print_json, print_table
from kinema.errors import KinemaError
from kinema.evaluation.class_pairs import compare_pairs, parse_pairs
from kinema.evaluation.comparison import ClassGain, Comparison, Side, compare
from kinema.evaluation.comparison_files import (
    COMPARISON,
    DISAGREEMENTS,
    comparison_document,
    write_comparison,
    write_many,
)
from kinema.evaluation.many import compare_many
from kinema.evaluation.set_comparison import compare_sets
from kinema.evaluation.set_many import compare_many_sets
from kinema.evaluation.tested import Tested, open_tests


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the tests and the amount of output."""
    for name, what in (("run_a", "the baseline"), ("run_b", "the test to compare with it")):
        parser.add_argument(name, type=str, help=f"{what}: a run folder, a test folder or a scores.parquet")
    parser.add_argument("more", type=str, nargs="*", default=[], help="further tests; all pairs of tests "
                        "are then compared")  # fmt: skip
    parser.add_argument("--pairs", type=str, nargs="+", default=[], help="pairs of classes to compare separately, "
                        "each as 'A/B': how often the true class of the two has the higher score")  # fmt: skip
    parser.add_argument("--groups", type=str, nargs="+", default=[], help="groups of runs whose means are "
                        "compared, each as NAME=PATTERN, where PATTERN matches names of runs, such as 'stm=stm_s*'; "
                        "default: runs that differ only in the seed")  # fmt: skip
    parser.add_argument(
        "--top", type=int, default=10, help="number of gained classes, lost classes and hardest pairs to print"
    )
    parser.add_argument("--out", type=str | None, default=None, help="folder for comparison.json and disagreements.csv")
    add_json(parser)


def run(args: Namespace) -> None:
    """Compares the tests, prints the result and writes the files."""
    if args.top < 1:
        raise KinemaError(f"--top {args.top}: give at least 1")
    tests = open_tests([args.run_a, args.run_b, *args.more])
    if tests[0].result.multi_label:
        _run_sets(tests, args)
        return
    pairs = parse_pairs(args.pairs, tests)
    if args.more or args.groups:
        many = compare_many(tests, groups=args.groups, pairs=pairs)
        if args.out is not None:
            write_many(args.out, many)
        if args.json:
            print_json(many.to_dict())
            return
        print_many(many)
        if args.out is not None:
            print(f"files: {args.out}: {COMPARISON}")
        return
    first, second = tests
    found = compare(first, second)
    looked_at = compare_pairs(tests, pairs)
    if args.out is not None:
        write_comparison(args.out, first, second, found, looked_at)
    if args.json:
        print_json(comparison_document(found, looked_at))
        return
    _print(found, args.top)
    print_pairs(looked_at)
    if args.out is not None:
        print(f"files: {args.out}: {COMPARISON}, {DISAGREEMENTS}")


def _run_sets(tests: Sequence[Tested], args: Namespace) -> None:
    """The same of tests of several labels per video."""
    if args.pairs:
        raise KinemaError(
            f"--pairs {args.pairs[0]}: asks which of two labels a video has, and {tests[0].file} is of a test with "
            "several labels per video; leave --pairs out"
        )
    if args.more or args.groups:
        many = compare_many_sets(tests, groups=args.groups)
        if args.out is not None:
            write_many(args.out, many)
        print_json(many.to_dict()) if args.json else print_many_sets(many, args.top)
        files = COMPARISON
    else:
        first, second = tests
        found = compare_sets(first, second)
        if args.out is not None:
            write_comparison(args.out, first, second, found)
        print_json(comparison_document(found)) if args.json else print_sets(found, args.top)
        files = f"{COMPARISON}, {DISAGREEMENTS}"
    if args.out is not None and not args.json:
        print(f"files: {args.out}: {files}")


def _print(found: Comparison, top: int) -> None:
    a, b, d, m = found.first, found.second, found.difference, found.mcnemar
    print(f"{b.name} against {a.name}, {found.videos} videos that both were tested on")
    for remark in found.remarks:  # before the figures, because a remark may limit what they mean
        print(f"note: {remark}")
    print_table(("", "top-1", "95 % interval", "mean class", "ECE", "coverage of these videos", "of the whole test"),
                [_row(a), _row(b)])  # fmt: skip
    print(
        f"difference  {100 * d.difference:+.1f} points, 95 % interval {100 * d.low:+.1f} to {100 * d.high:+.1f} "
        "(paired bootstrap over videos)"
    )
    print(f"McNemar     statistic {m.statistic:.3f} with Edwards' correction, p = {m.p:.2g}; exact binomial p = "
          f"{m.p_exact:.2g}" + ("; use the exact p, as there are few disagreements" if m.few else ""))  # fmt: skip
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
        print("Hardest pairs: videos of either class that were classified as the other" + (
            f", the first {top} of {len(found.pairs)}" if len(found.pairs) > top else ""))  # fmt: skip
        print_table(("classes", "videos", a.name, b.name),
                    [(" / ".join(p.labels), p.videos, p.first, p.second) for p in found.pairs[:top]])  # fmt: skip


def _row(side: Side) -> tuple[str, ...]:
    low, high = side.interval
    return (side.name, f"{side.top1:.1%}", f"{low:.1%} to {high:.1%}", f"{side.mean_class:.1%}", percent(side.ece),
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
