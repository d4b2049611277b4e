"""Agreement of two annotators on the same videos: Cohen's kappa over time."""

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

Category = frozenset[str]  # the labels at one moment; empty means "no label"
Confusion = Mapping[tuple[Category, Category], float]


@dataclass(frozen=True)
class VideoAgreement:
    """Agreement of two annotators on one video.

    Attributes:
        path: path of the video.
        seconds: its duration; None if it cannot be read.
        agreed: seconds in which both give the same labels; None if it cannot be read.
        error: the reason why it is not counted, or None.
    """

    path: str
    seconds: float | None
    agreed: float | None
    error: str | None = None


@dataclass(frozen=True)
class Agreement:
    """Agreement of two annotators on a set of videos.

    Attributes:
        kappa: Cohen's kappa over time: 1 is full agreement, 0 is agreement by chance. None if it is not defined:
            nothing was compared, or both give one and the same label all the time.
        observed: share of the time in which both agree; None if nothing was compared.
        expected: share of the time in which they would agree by chance; None if nothing was compared.
        seconds: seconds that were compared.
        labels: label -> kappa of "this label or not", None if it is not defined.
        videos: one entry per video, including videos that are not counted.
    """

    kappa: float | None
    observed: float | None
    expected: float | None
    seconds: float
    labels: dict[str, float | None]
    videos: tuple[VideoAgreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def compare_tables(
    first: str | Path, second: str | Path, *, videos: Iterable[str | Path] | None = None,
    background: Sequence[str] = (), workers: int | None = None, limits: ReadLimits | None = None,
) -> Agreement:  # fmt: skip
    """Compares the segments that two annotators have marked in the same videos.

    At each moment, an annotator gives a set of labels, which may be empty. Kappa (Cohen, A coefficient of agreement for
    nominal scales, 1960) is computed with these sets as categories and with time instead of the number of items. It is
    exact: time is not divided into steps.

    Args:
        first: the table of one annotator, see `SegmentTable`.
        second: the table of the other annotator.
        videos: the videos that both have reviewed. A video without a row then counts as "no label" throughout. Default:
            the videos that have rows in both tables; the others are listed with the reason and not counted.
        background: labels that mean "no action" and count as no label.
        workers: processes that read the durations of the videos; default: one per core, at most 4. 0 uses this one.
        limits: limits for reading one video.

    Returns:
        The agreement over all videos that can be read, and one entry per video.

    Raises:
        KinemaError: a table is damaged or missing.
    """
    tables = []
    for file in (first, second):
        table = SegmentTable(file)
        if not table.file.exists():
            raise KinemaError(f"{file}: there is no such table of segments; check the path")
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
            entries.append(
                VideoAgreement(path, None, None, f"{Path(alone[path]).name} has no row for it: not compared")
            )
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
    """Returns the seconds for each pair of label sets that two annotators gave one video.

    Args:
        first: the segments of one annotator; they are cut at the end of the video.
        second: the segments of the other annotator.
        seconds: duration of the video.
        background: labels that count as no label.

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
    """Returns Cohen's kappa of a confusion table.

    Args:
        confusion: (labels of one annotator, labels of the other) -> seconds.

    Returns:
        Kappa, the observed and the expected share of agreement. Kappa is None if the expected share is 1; all three
        are None if the table is empty.
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
    """Returns the durations of videos, read by other processes.

    Args:
        videos: paths.
        workers: as for `compare_tables`.
        limits: as for `compare_tables`.

    Returns:
        Path -> seconds, or an error message if the video cannot be read.
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
        found[os.path.realpath(row.path)].append(row)  # one annotator may have opened the video by a link
    return dict(found)


def _span(row: Sample, seconds: float, background: Sequence[str]) -> tuple[float, float, Category]:
    end = seconds if row.end is None else min(row.end, seconds)
    return min(row.start or 0.0, end), end, frozenset(label_set(row.label)).difference(background)


def _about(total: Confusion, label: str) -> dict[tuple[Category, Category], float]:
    """Returns the confusion table of "this label or not"."""
    found: dict[tuple[Category, Category], float] = defaultdict(float)
    only = frozenset((label,))
    for (a, b), seconds in total.items():
        found[a & only, b & only] += seconds
    return found
