"""What `kinema compare` prints of tests of several labels per video."""

from __future__ import annotations

from collections.abc import Sequence

from kinema.cli.compare_many import ABOUT_GROUPS, interval, percent, print_differences, print_grid
from kinema.cli.output import print_table
from kinema.evaluation.set_comparison import ClassPrecisionGain, SetComparison, SetSide
from kinema.evaluation.set_many import ManySets
from kinema.text import plural

_HIGH = (
    "Bootstrap interval over videos; with a few videos per class the mAP is higher than that of a large test, and the "
    "interval can lie below it."
)


def print_sets(found: SetComparison, top: int) -> None:
    """Two tests as tables.

    Args:
        found: the two.
        top: classes gained and classes lost that are printed.
    """
    a, b, d = found.first, found.second, found.difference
    print(f"{b.name} against {a.name}, {plural(found.videos, 'video')} that both were tested on, several labels each")
    for remark in found.remarks:  # before the figures, which they may take the ground from
        print(f"note: {remark}")
    print_table(
        ("", "mAP", "95 % interval", "hit@1", "coverage of these videos", "of the whole test"), [_side(a), _side(b)],
        caption=f"mAP: the mean over {_classes(found.classes)}{_left_out(found.without_positives)}. {_HIGH}",
    )  # fmt: skip
    print(
        f"difference  {100 * d.difference:+.1f} points of mAP, 95 % interval {100 * d.low:+.1f} to "
        f"{100 * d.high:+.1f}, p = {d.p:.2g} (paired bootstrap over videos)"
    )
    gains = [c for c in found.per_class if c.second > c.first]
    losses = [c for c in found.per_class[::-1] if c.second < c.first]
    for what, classes in (("gained", gains), ("lost", losses)):
        if not classes:
            print(f"No class {what}.\n")
            continue
        more = f", the largest {top}" if len(classes) > top else ""
        print(f"Classes {what}, average precision: {len(classes)} of {found.classes}{more}")
        print_table(("class", "videos", a.name, b.name, "points"), [_class_row(c) for c in classes[:top]])


def print_many_sets(found: ManySets, top: int) -> None:
    """More than two tests as tables.

    Args:
        found: the tests.
        top: classes that are printed.
    """
    print(f"{len(found.runs)} tests of several labels per video, compared in pairs")
    for remark in found.remarks:
        print(f"note: {remark}")
    print_table(
        ("", "mAP", "95 % interval", "classes", "hit@1", "coverage"),
        [(r.name, f"{r.mean_ap:.1%}", interval(r.interval), f"{r.classes} of {r.labels}", f"{r.hit1:.1%}",
          str(r.coverage)) for r in found.runs],
        caption="Classes: those that occur in the test; the mAP is their mean. " + _HIGH,
    )  # fmt: skip
    if found.grouped is not None:
        print("Groups: means over runs")
        print_table(
            ("group", "runs", "mAP", "± over runs", "95 % interval over seeds", "members"),
            [(g.name, len(g.members), f"{g.mean_ap:.1%}", percent(g.spread), interval(g.interval),
              ", ".join(g.members)) for g in found.grouped.groups],
            caption=ABOUT_GROUPS,
        )  # fmt: skip
        print_differences(found.grouped.differences)
    print_grid(
        "mAP: points of the row over the column, and p (paired bootstrap over videos, corrected by Holm's method)",
        found.grid,
    )
    _print_classes(found, top)


def _print_classes(found: ManySets, top: int) -> None:
    known = {label: row for label, row in found.per_class.items() if any(value is not None for value in row)}
    lowest = sorted(known, key=lambda label: (min(value for value in known[label] if value is not None), label))[:top]
    more = f", the {top} lowest of {len(known)} classes" if len(known) > top else ""
    print(f"Average precision per class{more}")
    print_table(
        ("class", *(run.name for run in found.runs)),
        [(label, *map(percent, known[label])) for label in lowest],
    )


def _side(side: SetSide) -> tuple[str, ...]:
    return (side.name, f"{side.mean_ap:.1%}", interval(side.interval), f"{side.hit1:.1%}", str(side.compared),
            str(side.whole))  # fmt: skip


def _left_out(labels: Sequence[str]) -> str:
    if not labels:
        return ""
    named = ", ".join(labels[:3]) + (", …" if labels[3:] else "")
    return f"; without {_classes(len(labels))} that no compared video shows ({named})"


def _classes(number: int) -> str:
    return "1 class" if number == 1 else f"{number} classes"


def _class_row(c: ClassPrecisionGain) -> tuple[str | int, ...]:
    return (c.label, c.videos, f"{c.first:.1%}", f"{c.second:.1%}", f"{100 * (c.second - c.first):+.1f}")
