"""Pairing of the rows of two tests by path, start and end; packed videos are paired by their originals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinema.errors import KinemaError
from kinema.evaluation.tested import Tested
from kinema.text import plural

Key = tuple[str, float | None, float | None]  # path, start and end of a video


def shared_rows(first: Tested, second: Tested) -> list[tuple[int, int]]:
    """Returns the rows of every video that is in both tests, in the order of the first.

    A packed video is the same as its original, and as any other packed copy of it.

    Raises:
        KinemaError: there is no common video, a test lists a video twice, the true labels differ, or most of the videos
            are different files.
    """
    there, here = _places(second, _by_origin(second, first)), _places(first, _by_origin(first, second))
    rows = [(i, there[key]) for key, i in here.items() if key in there]
    if not rows:
        examples = " and ".join(repr(test.result.paths[0]) for test in (first, second) if test.result.paths)
        raise KinemaError(
            f"{first.file} and {second.file} share no video (first ones: {examples}); test both on the same data"
        )
    differ = [(i, j) for i, j in rows if first.result.truth[i] != second.result.truth[j]]
    if differ:
        i, j = differ[0]
        raise KinemaError(
            f"{first.result.paths[i]}: is {first.result.truth[i]!r} in {first.file} and {second.result.truth[j]!r} in "
            f"{second.file} ({len(differ)} of {len(rows)} videos differ in label); test both with the same labels"
        )
    known, differ = other_sizes(first, second, rows)
    if 2 * len(differ) > known:
        i, j = differ[0]
        raise KinemaError(
            f"{first.result.paths[i]}: has {plural(first.result.sizes[i] or 0, 'byte')} in {first.file} and "
            f"{second.result.sizes[j]} in {second.file} ({len(differ)} of {known} videos differ in size): these are "
            "different videos with the same names; test both on the same data"
        )
    return rows


def other_sizes(first: Tested, second: Tested, rows: Sequence[tuple[int, int]]) -> tuple[int, list[tuple[int, int]]]:
    """Returns the number of videos with a known size in both tests, and the rows of those whose sizes differ.

    A packed file has another size than its original, so sizes are not compared if videos were paired by their
    originals.

    Args:
        first: one test.
        second: the other test.
        rows: rows from `shared_rows`.
    """
    if _by_origin(first, second) or _by_origin(second, first):
        return 0, []
    pairs = [(first.result.sizes[i], second.result.sizes[j]) for i, j in rows]
    known = [a is not None and b is not None for a, b in pairs]
    return sum(known), [row for row, (a, b), both in zip(rows, pairs, known, strict=True) if both and a != b]


def about_roots(first: Tested, second: Tested) -> list[str]:
    """Returns remarks about the folders of the videos of two tests; none if it is the same folder."""
    a, b = first.result, second.result
    if a.root == b.root:
        return []
    packed = [t.name for t, other in ((first, second), (second, first)) if _by_origin(t, other)]
    if not packed:
        return [
            f"the videos were in {a.root} and in {b.root}: they are paired by their paths inside these folders, "
            "which is correct only if both contain the same videos"
        ]
    found = [
        f"{' and '.join(packed)} was tested on packed videos, which are paired with their originals: a difference "
        "may also come from the smaller frames"
    ]
    sources = [_source(first, second), _source(second, first)]
    if sources[0] != sources[1]:
        found.append(
            f"the originals were in {sources[0]} when they were packed, and in {sources[1]} in the other test: they "
            "are paired by their paths inside these folders, which is correct only if both contain the same videos"
        )
    return found


def _by_origin(test: Tested, other: Tested) -> bool:
    """Returns True if the videos of a test are paired with another test by their originals before packing."""
    return bool(test.result.packed_from) and test.result.root != other.result.root


def _source(test: Tested, other: Tested) -> str:
    return str(Path(test.result.packed_root if _by_origin(test, other) else test.result.root))


def _places(test: Tested, by_origin: bool) -> dict[Key, int]:
    places: dict[Key, int] = {}
    paths = test.result.packed_from if by_origin else test.result.paths
    for i, (path, span) in enumerate(zip(paths, test.result.spans, strict=True)):
        if places.setdefault((path, *span), i) != i:
            raise KinemaError(f"{test.file}: lists {path!r} twice; test again on data that list it once")
    return places
