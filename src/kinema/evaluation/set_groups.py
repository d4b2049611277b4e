"""Groups of tests of several labels per video: means of mAPs over seeds, and each later group against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kinema.errors import KinemaError
from kinema.evaluation.groups import GroupDifference, over_seeds, rows_of_all, welch
from kinema.evaluation.multi_label import mean_average_precision
from kinema.evaluation.set_comparison import shared_sets
from kinema.evaluation.set_statistics import mean_ap_differences
from kinema.evaluation.statistics import LEVEL
from kinema.evaluation.tested import Tested


@dataclass(frozen=True)
class SetGroup:
    """The same training from several seeds.

    Attributes:
        name: of the group.
        members: names of its tests.
        mean_ap: mean over the members of their mAPs, 0 to 1.
        spread: sample standard deviation of the mAPs; None for one member.
        interval: 95 % interval of the mean over seeds (Student's t); None for one member.
    """

    name: str
    members: tuple[str, ...]
    mean_ap: float
    spread: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class GroupedSets:
    """Groups, and each later one against the first.

    Attributes:
        groups: in the order of their first members.
        differences: of each later group to the first one, in mAP.
    """

    groups: tuple[SetGroup, ...]
    differences: tuple[GroupDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"level": LEVEL}


def compare_set_groups(groups: Mapping[str, Sequence[Tested]]) -> GroupedSets:
    """The mean of each group, and each later group against the first.

    Args:
        groups: name -> tests, as `group_tests` gives them.
    """
    found = [_group(name, members) for name, members in groups.items()]
    (first, base), *others = groups.items()
    return GroupedSets(tuple(found), tuple(_difference(first, base, name, members) for name, members in others))


def _group(name: str, members: Sequence[Tested]) -> SetGroup:
    figures = np.array([test.set_metrics.mean_ap for test in members])
    return SetGroup(name, tuple(test.name for test in members), *over_seeds(figures))


def _difference(first: str, base: Sequence[Tested], second: str, members: Sequence[Tested]) -> GroupDifference:
    everyone = [*base, *members]
    try:
        rows = rows_of_all(everyone)
        shared = shared_sets(everyone, rows)
    except KinemaError as error:
        return GroupDifference(first, second, None, None, None, None, 0, str(error))
    contrast = [*[-1 / len(base)] * len(base), *[1 / len(members)] * len(members)]
    (videos,) = mean_ap_differences(shared.truth, shared.scores, [contrast])
    figures = np.array([mean_average_precision(shared.truth, scores) for scores in shared.scores], dtype=np.float64)
    seeds, p = welch(figures[: len(base)], figures[len(base) :])
    return GroupDifference(first, second, videos.difference, (videos.low, videos.high), seeds, p, len(rows[0]))
