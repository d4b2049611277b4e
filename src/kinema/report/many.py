"""The sections of a page for more than two runs: means of groups, and every two of them."""

from __future__ import annotations

from markupsafe import Markup

from kinema.evaluation.grid import ALPHA, GridCell, PairGrid
from kinema.evaluation.groups import Grouped
from kinema.evaluation.many import ManyComparison
from kinema.evaluation.set_groups import GroupedSets
from kinema.evaluation.set_many import ManySets
from kinema.report.markup import by_run, caution, joined, note, part
from kinema.text import plural

_TONES = {"better": "gain", "worse": "loss"}


def groups(found: ManyComparison | ManySets | None) -> Markup:
    """The mean of each group and how it differs from the first one.

    Args:
        found: None where there are not enough tests.
    """
    grouped = None if found is None else found.grouped
    if grouped is None:
        return Markup("")
    figures: dict[str, list[str]] = {}
    if isinstance(grouped, Grouped):
        figures["mean top-1, %"] = [f"{100 * g.top1:.1f}" for g in grouped.groups]
        figures["mean class, %"] = [f"{100 * g.mean_class:.1f}" for g in grouped.groups]
    else:
        figures["mean mAP, %"] = [f"{100 * g.mean_ap:.1f}" for g in grouped.groups]
    means = by_run(
        [g.name for g in grouped.groups],
        {
            "runs": [len(g.members) for g in grouped.groups],
            **figures,
            "standard deviation, points": [
                None if g.spread is None else f"{100 * g.spread:.1f}" for g in grouped.groups
            ],
            "95 % interval over seeds": [_interval(g.interval, "") for g in grouped.groups],
            "members": [", ".join(g.members) for g in grouped.groups],
        },
    )
    small = (
        "The interval over seeds is Student's; of fewer than 5 runs it is wide. Runs are a group where their trainings "
        "and tests are the same in all but the seed, or where --groups names them."
    )
    return joined([means, note(small), _differences(grouped)])


def _differences(grouped: Grouped | GroupedSets) -> Markup:
    compared = [d for d in grouped.differences if d.difference is not None]
    refused = [caution(f"Not compared: {d.second} with {d.first}: {d.refused}") for d in grouped.differences
               if d.difference is None]  # fmt: skip
    if not compared:
        return joined(refused)
    drawn = by_run(
        [d.second for d in compared],
        {
            "videos of all runs": [d.videos for d in compared],
            "difference of the means, points": [f"{100 * (d.difference or 0):+.1f}" for d in compared],
            "95 % interval over videos": [_interval(d.over_videos, "+") for d in compared],
            "95 % interval over seeds": [_interval(d.over_seeds, "+") for d in compared],
            "p over seeds (Welch)": [None if d.p_seeds is None else f"{d.p_seeds:.2g}" for d in compared],
        },
    )
    small = (
        "Over videos: how it would be with these weights on other videos (paired bootstrap of the mean over runs). "
        "Over seeds: how it would be with other seeds on these videos (Welch's t test)."
    )
    return joined([part("against_group", compared[0].first), *refused, drawn, note(small)])


def grid_of_tests(found: ManyComparison | ManySets | None) -> Markup:
    """McNemar's test between every two, or where videos have several labels the bootstrap of their mAPs.

    Args:
        found: None where there are not enough tests.
    """
    if found is None:
        return Markup("")
    grid = found.grid
    rows = [(row, [_cell(grid.cell(row, column)) for column in grid.names]) for row in grid.names]
    refused = [caution(f"Not compared: {c.first} and {c.second}: {c.refused}") for c in grid.cells if c.refused]
    what = ("of mAP of", "p of the paired bootstrap over videos") if isinstance(found, ManySets) else (
        "of", "McNemar's p (exact binomial)")  # fmt: skip
    small = (
        f"Points {what[0]} the run in the line over the run in the column, on the videos of both, and {what[1]}, "
        f"corrected by Holm's method for all {plural(_number(grid), 'comparison')} together. Green: better, "
        f"red: worse, at the level {ALPHA}; without a colour no difference is shown, which is not to say that there is "
        "none."
    )
    return joined([*refused, part("matrix", grid.names, rows), note(small)])


def _number(grid: PairGrid) -> int:
    return sum(cell.p is not None for cell in grid.cells)


def _cell(cell: GridCell | None) -> dict[str, str] | None:
    if cell is None:
        return None
    if cell.difference is None or cell.p_holm is None:
        return {"tone": "", "text": "–", "small": "", "tip": "not compared"}
    tip = f"{cell.second} against {cell.first}: {cell.verdict}, {plural(cell.videos, 'video')}"
    return {
        "tone": _TONES.get(cell.verdict, ""), "text": f"{100 * cell.difference:+.1f}", "small": f"p {cell.p_holm:.2g}",
        "tip": tip,
    }  # fmt: skip


def _interval(interval: tuple[float, float] | None, sign: str) -> str | None:
    return None if interval is None else f"{100 * interval[0]:{sign}.1f} to {100 * interval[1]:{sign}.1f}"
