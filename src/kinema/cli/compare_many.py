"""Output of `kinema compare` for more than two tests."""

from __future__ import annotations

from collections.abc import Sequence

from kinema.cli.output import print_table
from kinema.evaluation.class_pairs import PairComparison
from kinema.evaluation.grid import ALPHA, GridCell, PairGrid
from kinema.evaluation.groups import GroupDifference, Grouped
from kinema.evaluation.many import ManyComparison
from kinema.text import plural

ABOUT_GROUPS = "±: sample standard deviation. The interval is Student's; of fewer than 5 runs it is wide."
_MARKS = {"better": "+", "worse": "-", "no difference shown": "", "not compared": ""}


def print_many(found: ManyComparison) -> None:
    """Prints the comparison as tables."""
    print(f"{len(found.runs)} tests, compared in pairs")
    for remark in found.remarks:
        print(f"note: {remark}")
    print_table(
        ("", "top-1", "95 % interval", "mean class", "ECE", "coverage"),
        [(r.name, f"{r.top1:.1%}", f"{r.interval[0]:.1%} to {r.interval[1]:.1%}", f"{r.mean_class:.1%}",
          percent(r.ece), str(r.coverage)) for r in found.runs],
        caption="Wilson's interval over videos; ECE: expected calibration error of the videos that could be read",
    )  # fmt: skip
    if found.grouped is not None:
        _print_groups(found.grouped)
    print_grid("McNemar: points of the row over the column, and p (exact, corrected by Holm's method)", found.grid)
    print_pairs(found.pairs)


def print_pairs(pairs: Sequence[PairComparison]) -> None:
    """Prints the requested pairs of classes; nothing if there are none."""
    if not pairs:
        return
    print("Pairs of classes: how often the true class of the two has the higher score")
    print_table(
        ("pair", "videos", "first", "", "second", "", "points", "95 % interval", "sign test, p"),
        [_pair_row(p) for p in pairs],
    )


def percent(share: float | None) -> str:
    """Formats percentage points with one decimal; an unknown value is a dash."""
    return "–" if share is None else f"{share:.1%}"


def _pair_row(p: PairComparison) -> tuple[str | int, ...]:
    name = " / ".join(p.labels)
    if p.accuracies is None or p.difference is None:
        return (name, 0, p.first, "–", p.second, "–", "–", "–", "–")
    d = p.difference
    return (name, p.videos, p.first, f"{p.accuracies[0]:.1%}", p.second, f"{p.accuracies[1]:.1%}",
            f"{100 * d.difference:+.1f}", f"{100 * d.low:+.1f} to {100 * d.high:+.1f}", f"{p.p:.2g}")  # fmt: skip


def _print_groups(grouped: Grouped) -> None:
    print("Groups: means over runs")
    print_table(
        ("group", "runs", "top-1", "± over runs", "95 % interval over seeds", "mean class", "members"),
        [(g.name, len(g.members), f"{g.top1:.1%}", percent(g.spread), interval(g.interval),
          f"{g.mean_class:.1%}", ", ".join(g.members)) for g in grouped.groups],
        caption=ABOUT_GROUPS,
    )  # fmt: skip
    print_differences(grouped.differences)


def print_differences(differences: Sequence[GroupDifference]) -> None:
    """Each later group against the first; nothing where there is one group."""
    rows = []
    for d in differences:
        if d.difference is None:
            print(f"not compared: {d.second} with {d.first}: {d.refused}")
            continue
        rows.append((f"{d.second} - {d.first}", d.videos, f"{100 * d.difference:+.1f}", _points(d.over_videos),
                     _points(d.over_seeds), "–" if d.p_seeds is None else f"{d.p_seeds:.2g}"))  # fmt: skip
    if rows:
        print_table(
            ("difference of means", "videos", "points", "95 % interval over videos", "over seeds", "Welch, p"), rows,
            caption="Over videos: these weights on other videos (paired bootstrap). Over seeds: other seeds on these "
            "videos (Welch's t test).",
        )  # fmt: skip


def print_grid(title: str, grid: PairGrid) -> None:
    """Every two tests as a square table, and why some could not be compared.

    Args:
        title: what the cells hold.
        grid: the tests.
    """
    print(title)
    print_table(
        ("", *grid.names),
        [(row, *(_cell(grid.cell(row, column)) for column in grid.names)) for row in grid.names],
        caption=f"+ better, - worse at the level {ALPHA} for all {plural(_compared(grid), 'comparison')} together; "
        "no mark: no significant difference",
    )
    for cell in grid.cells:
        if cell.refused is not None:
            print(f"not compared: {cell.first} and {cell.second}: {cell.refused}")


def _compared(grid: PairGrid) -> int:
    return sum(cell.p is not None for cell in grid.cells)


def _cell(cell: GridCell | None) -> str:
    if cell is None:
        return ""
    if cell.difference is None or cell.p_holm is None:
        return "not compared"
    return f"{100 * cell.difference:+.1f} (p {cell.p_holm:.2g}) {_MARKS[cell.verdict]}".rstrip()


def interval(found: tuple[float, float] | None) -> str:
    """In per cent; a dash for what is not known."""
    return "–" if found is None else f"{found[0]:.1%} to {found[1]:.1%}"


def _points(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
