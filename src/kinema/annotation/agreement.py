"""How far two people agree about the same videos: Cohen's kappa over time."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from kinema.annotation.segments import SegmentTable
from kinema.data.label_sets import label_set
from kinema.data.loading.calls import call_each
from kinema.data.loading.limits import ReadLimits
from kinema.data.sources import Sample
from kinema.data.video import open_video
from kinema.errors import KinemaError, UnreadableVideo
from kinema.processes import cores

Category = frozenset[str]  # the labels that hold at one moment; empty is "no label"
Confusion = Mapping[tuple[Category, Category], float]


@dataclass(frozen=True)
class VideoAgreement:
    """Two people on one video.

    Attributes:
        path: of the video.
        seconds: how long it is; None where it cannot be read.
        agreed: seconds in which both say the same; None where it cannot be read.
        error: why it is not counted, or None.
    """

    path: str
    seconds: float | None
    agreed: float | None
    error: str | None = None


@dataclass(frozen=True)
class Agreement:
    """Two people on the same videos.

    Attributes:
        kappa: Cohen's kappa over time: 1 is full agreement, 0 what chance would give. None where it is not defined:
            nothing was compared, or both say the same one thing all the time.
        observed: share of the time in which both say the same; None where nothing was compared.
        expected: share of the time in which they would by chance; None where nothing was compared.
        seconds: that were compared.
        labels: label -> kappa of "this label or not", None where it is not defined.
        videos: one entry per video, the ones that are not counted included.
    """

    kappa: float | None
    observed: float | None
    expected: float | None
    seconds: float
    labels: dict[str, float | None]
    videos: tuple[VideoAgreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare_tables(
    first: str | Path, second: str | Path, *, videos: Iterable[str | Path] | None = None,
    background: Sequence[str] = (), workers: int | None = None, limits: ReadLimits | None = None,
) -> Agreement:  # fmt: skip
    """Compares the segments that two people have marked in the same videos.

    At each moment, a person has said a set of labels, which may be empty; kappa (Cohen, A coefficient of agreement for
    nominal scales, 1960) is computed with these sets as categories and time in place of the number of items. It is
    exact: time is not divided into steps.

    Args:
        first: the table of one person, see `SegmentTable`.
        second: the table of the other one.
        videos: that both have looked through. A video without a row is then one in which a person saw nothing. Default:
            the videos that have rows in both tables; the others are listed with the reason and not counted.
        background: labels that stand for "no action" and are the same as no label.
        workers: processes that look up how long the videos are; default: one per core, at most 4. 0 uses this one.
        limits: what looking at one video may cost.

    Returns:
        The agreement of all videos that can be read, and one entry per video.

    Raises:
        KinemaError: a table that is damaged or not there.
    """
    tables = []
    for file in (first, second):
        table = SegmentTable(file)
        if not table.file.exists():
            raise KinemaError(f"{file}: no such table of segments; check the path")
        tables.append(_by_video(table.read()))
    mine, theirs = tables
    if videos is None:
        wanted = sorted({*mine, *theirs})
        alone = {
            path: file for path in wanted for table, file in ((mine, first), (theirs, second)) if path not in table
        }
    else:
        wanted, alone = [os.path.realpath(video) for video in videos], {}
    lengths = durations([path for path in wanted if path not in alone], workers=workers, limits=limits)
    entries: list[VideoAgreement] = []
    total: dict[tuple[Category, Category], float] = defaultdict(float)
    for path in wanted:
        if path in alone:
            entries.append(VideoAgreement(path, None, None, f"{Path(alone[path]).name} has no row of it: not compared"))
        elif isinstance(length := lengths[path], str):
            entries.append(VideoAgreement(path, None, None, length))
        else:
            found = confusion(mine.get(path, ()), theirs.get(path, ()), length, background=background)
            entries.append(VideoAgreement(path, length, sum(s for (a, b), s in found.items() if a == b)))
            for pair, seconds in found.items():
                total[pair] += seconds
    names = sorted({label for pair in total for category in pair for label in category})
    kappas = {name: cohen_kappa(_about(total, name))[0] for name in names}
    return Agreement(*cohen_kappa(total), sum(total.values()), kappas, tuple(entries))


def confusion(
    first: Iterable[Sample], second: Iterable[Sample], seconds: float, *, background: Sequence[str] = ()
) -> dict[tuple[Category, Category], float]:
    """Seconds for each pair of label sets that two people gave one video.

    Args:
        first: the segments of one person; what reaches beyond the end of the video is cut.
        second: those of the other one.
        seconds: how long the video is.
        background: labels that are the same as no label.

    Returns:
        (labels of the first, labels of the second) -> seconds.
    """
    spans = [[_span(row, seconds, background) for row in rows] for rows in (first, second)]
    edges = sorted({0.0, seconds, *(time for listed in spans for start, end, _ in listed for time in (start, end))})
    found: dict[tuple[Category, Category], float] = defaultdict(float)
    for start, end in pairwise(edges):
        said = [frozenset[str]().union(*(n for a, b, n in listed if a <= start and end <= b)) for listed in spans]
        found[said[0], said[1]] += end - start
    return dict(found)


def cohen_kappa(confusion: Confusion) -> tuple[float | None, float | None, float | None]:
    """Cohen's kappa of a table of confusion.

    Args:
        confusion: (what one says, what the other says) -> seconds.

    Returns:
        Kappa, the observed and the expected share of agreement. Kappa is None where the expected share is 1; all
        are None where the table is empty.
    """
    total = sum(confusion.values())
    if total <= 0:
        return None, None, None
    rows: dict[Any, float] = defaultdict(float)
    columns: dict[Any, float] = defaultdict(float)
    for (a, b), seconds in confusion.items():
        rows[a] += seconds / total
        columns[b] += seconds / total
    observed = sum(seconds for (a, b), seconds in confusion.items() if a == b) / total
    expected = sum(share * columns.get(category, 0.0) for category, share in rows.items())
    if expected >= 1 - 1e-12:
        return None, observed, expected
    return (observed - expected) / (1 - expected), observed, expected


def durations(
    videos: Sequence[str], *, workers: int | None = None, limits: ReadLimits | None = None
) -> dict[str, float | str]:
    """How long videos are, looked up by other processes.

    Args:
        videos: paths.
        workers: as for `compare_tables`.
        limits: as for `compare_tables`.

    Returns:
        Path -> seconds, or a sentence where it cannot be read.
    """
    paths = list(dict.fromkeys(videos))
    if not paths:
        return {}
    found = call_each(
        _duration, paths, _as_it_is, workers=min(4, cores()) if workers is None else workers, limits=limits
    )
    return dict(zip(paths, found, strict=True))


def _duration(path: str) -> float | str:
    try:
        with open_video(path) as reader:
            return float(reader.info.duration)
    except UnreadableVideo as error:
        return error.reason


def _as_it_is(reason: str) -> float | str:
    return reason


def _by_video(rows: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for row in rows:
        found[os.path.realpath(row.path)].append(row)  # one person may have come by a link
    return dict(found)


def _span(row: Sample, seconds: float, background: Sequence[str]) -> tuple[float, float, Category]:
    end = seconds if row.end is None else min(row.end, seconds)
    return min(row.start or 0.0, end), end, frozenset(label_set(row.label)).difference(background)


def _about(total: Confusion, label: str) -> dict[tuple[Category, Category], float]:
    """The confusion of "this label or not"."""
    found: dict[tuple[Category, Category], float] = defaultdict(float)
    only = frozenset((label,))
    for (a, b), seconds in total.items():
        found[a & only, b & only] += seconds
    return found
