"""Groups of tests: the same training from several seeds, its mean, and how it differs from that of another group."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from kinema.errors import KinemaError, near_names
from kinema.evaluation.pairing import shared_rows
from kinema.evaluation.statistics import LEVEL, paired_bootstrap
from kinema.evaluation.tested import Tested

# Fields of a training that do not belong to what is trained; all but the seed may change when a run goes on.
NOT_COMPARED = ("out", "workers", "limits", "device", "processes", "checkpoint_steps", "logger", "seed")
_ALIKE = 1e-12  # accuracies that differ by less differ by rounding


@dataclass(frozen=True)
class Group:
    """The same training from several seeds.

    Attributes:
        name: of the group.
        members: names of its tests.
        top1: mean top-1 over the members, 0 to 1.
        spread: sample standard deviation of top-1; None for one member.
        interval: 95 % interval of the mean over seeds (Student's t); None for one member.
        mean_class: mean over the members of the mean recall of the classes.
    """

    name: str
    members: tuple[str, ...]
    top1: float
    spread: float | None
    interval: tuple[float, float] | None
    mean_class: float


@dataclass(frozen=True)
class GroupDifference:
    """Two groups.

    Attributes:
        first: name of the one compared with.
        second: name of the one that is asked about.
        difference: mean top-1 of the second minus that of the first on the videos that all members share; None where
            they cannot be compared.
        over_videos: 95 % interval, paired bootstrap over videos of the mean over members: how it would be on other
            videos with these very weights.
        over_seeds: 95 % interval by Welch's t test over members: how it would be with other seeds on these videos;
            None where a group has one member, or where no two members of a group differ.
        p_seeds: of Welch's t test, two-sided; None as above.
        videos: that all members share.
        refused: why the groups cannot be compared, else None.
    """

    first: str
    second: str
    difference: float | None
    over_videos: tuple[float, float] | None
    over_seeds: tuple[float, float] | None
    p_seeds: float | None
    videos: int
    refused: str | None = None


@dataclass(frozen=True)
class Grouped:
    """Groups, and each later one against the first.

    Attributes:
        groups: in the order of their first members.
        differences: of each later group to the first one.
    """

    groups: tuple[Group, ...]
    differences: tuple[GroupDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"level": LEVEL}


def group_tests(tests: Sequence[Tested], named: Sequence[str] = ()) -> dict[str, list[Tested]]:
    """Divides tests into groups.

    Args:
        tests: of different names.
        named: one `NAME=PATTERN` per group, a shell pattern of names of tests such as `stm=stm_s*`. Without any, tests
            form a group where their trainings and protocols are the same in everything but the seed.

    Returns:
        Name of the group -> its tests. Every test is in one group; {} where no group has two members and none is named.

    Raises:
        KinemaError: an entry without `=`, a name given twice, a pattern that matches nothing, or a test that matches no
            pattern or several.
    """
    if named:
        return _named(tests, named)
    by_method: dict[str, list[Tested]] = {}
    for test in tests:
        by_method.setdefault(_method(test), []).append(test)
    if all(len(members) == 1 for members in by_method.values()):
        return {}
    found: dict[str, list[Tested]] = {}
    for members in by_method.values():
        name = _common_name(members)
        number = sum(known == name or known.startswith(f"{name} (") for known in found)
        found[f"{name} ({number + 1})" if number else name] = members
    return found


def compare_groups(groups: Mapping[str, Sequence[Tested]]) -> Grouped:
    """The mean of each group, and each later group against the first.

    Args:
        groups: name -> tests, as `group_tests` gives them.
    """
    found = [_group(name, members) for name, members in groups.items()]
    (first, base), *others = groups.items()
    return Grouped(tuple(found), tuple(_difference(first, base, name, members) for name, members in others))


def _named(tests: Sequence[Tested], named: Sequence[str]) -> dict[str, list[Tested]]:
    patterns: dict[str, str] = {}
    for entry in named:
        name, equals, pattern = entry.partition("=")
        if not equals or not name.strip() or not pattern.strip():
            raise KinemaError(f"--groups {entry}: give NAME=PATTERN, such as stm=stm_s*")
        if name.strip() in patterns:
            raise KinemaError(f"--groups {entry}: the group {name.strip()!r} is given twice")
        patterns[name.strip()] = pattern.strip()
    found: dict[str, list[Tested]] = {name: [] for name in patterns}
    for test in tests:
        into = [name for name, pattern in patterns.items() if fnmatchcase(test.name, pattern)]
        if len(into) != 1:
            which = f"the patterns of {' and '.join(into)}" if into else "no pattern"
            raise KinemaError(f"--groups: {test.name} matches {which}; every run belongs to one group")
        found[into[0]].append(test)
    for name, members in found.items():
        if not members:
            names = [test.name for test in tests]
            near = near_names(patterns[name], names) or names
            raise KinemaError(f"--groups {name}={patterns[name]}: matches no run; the runs are {', '.join(near)}")
    return found


def _method(test: Tested) -> str:
    """What two trainings of a group agree in, as text; the test's own file where its training is not known."""
    training, tested = test.document.get("training"), test.document.get("test")
    config = training.get("config") if isinstance(training, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(tested, Mapping):
        return str(test.file)
    method = {key: value for key, value in config.items() if key not in NOT_COMPARED}
    protocol = {key: tested.get(key) for key in ("data", "split", "views")}
    return json.dumps([method, protocol], sort_keys=True, default=str)


def _common_name(members: Sequence[Tested]) -> str:
    """What the names of its members begin with, without the part that counts seeds."""
    names = [test.name for test in members]
    if len(names) == 1:
        return names[0]
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = "".join(letters[0] for letters in alike)
    if any(name[len(common) :][:1].isdigit() for name in names):  # within a number: `-10` and `-11`
        common = common.rstrip("0123456789")
    common = re.sub(r"(?<![a-z])(s|seed|run)$", "", common.rstrip("-_. /"), flags=re.IGNORECASE).rstrip("-_. /")
    return common or str(members[0].document.get("architecture", {}).get("name") or names[0])


def _group(name: str, members: Sequence[Tested]) -> Group:
    top1 = np.array([test.metrics.top1 for test in members])
    mean, spread, interval = over_seeds(top1)
    recall = float(np.mean([test.metrics.mean_class for test in members]))
    return Group(name, tuple(test.name for test in members), mean, spread, interval, recall)


def over_seeds(figures: NDArray[np.float64]) -> tuple[float, float | None, tuple[float, float] | None]:
    """The mean of a figure over the members of a group, its sample standard deviation and Student's interval.

    Args:
        figures: one per member, 0 to 1.

    Returns:
        Deviation and interval are None for one member.
    """
    mean = float(figures.mean())
    if len(figures) < 2:
        return mean, None, None
    spread = float(figures.std(ddof=1))
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(figures) - 1)) * spread / len(figures) ** 0.5
    return mean, spread, (max(0.0, mean - half), min(1.0, mean + half))


def _difference(first: str, base: Sequence[Tested], second: str, members: Sequence[Tested]) -> GroupDifference:
    everyone = [*base, *members]
    try:
        rows = rows_of_all(everyone)
    except KinemaError as error:
        return GroupDifference(first, second, None, None, None, None, 0, str(error))
    right = np.stack([t.result.correct[own] for t, own in zip(everyone, rows, strict=True)]).astype(np.float64)
    a, b = right[: len(base)], right[len(base) :]
    videos = paired_bootstrap(a.mean(0), b.mean(0))
    seeds, p = welch(a.mean(1), b.mean(1))
    return GroupDifference(first, second, videos.difference, (videos.low, videos.high), seeds, p, len(rows[0]))


def rows_of_all(tests: Sequence[Tested]) -> list[list[int]]:
    """Per test its rows of the videos that all of them hold, in one order.

    Raises:
        KinemaError: there is no such video, or two tests cannot be compared.
    """
    others = [dict(shared_rows(tests[0], test)) for test in tests[1:]]
    shared = [i for i in range(len(tests[0].result.paths)) if all(i in rows for rows in others)]
    if not shared:
        raise KinemaError("no video is in the tests of all members")
    return [shared, *([rows[i] for i in shared] for rows in others)]


def welch(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[tuple[float, float] | None, float | None]:  # fmt: skip
    """Welch's t test of two groups of figures.

    Args:
        a: one per member of the first group.
        b: one per member of the second group.

    Returns:
        The 95 % interval of mean(b) - mean(a) and the two-sided p; None for both where a group has one member, or where
        no two members of a group differ.
    """
    if min(len(a), len(b)) < 2 or max(np.ptp(a), np.ptp(b)) < _ALIKE:
        return None, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one of the two may be all alike, which the test allows
        found = scipy.stats.ttest_ind(b, a, equal_var=False)
        interval = found.confidence_interval(LEVEL)
    return (float(interval.low), float(interval.high)), float(found.pvalue)
