"""What to know of two tests before their figures are compared, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kinema.evaluation.pairing import about_roots, other_sizes
from kinema.evaluation.tested import Tested
from kinema.text import plural


def remarks_of(first: Tested, second: Tested, rows: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Sentences without which the figures of two tests could mislead.

    Args:
        first: the one compared with.
        second: the one that is asked about.
        rows: the videos that are compared, as `shared_rows` gives them.
    """
    return (
        *_absent(first, second),
        *_left_out(first, second, len(rows), {i for i, _ in rows}),
        *_left_out(second, first, len(rows), {j for _, j in rows}),
        *_unread(first, second, rows),
        *about_roots(first, second),
        *_changed(first, second, rows),
        *_label_remarks(first, second),
        *_protocol(first, second),
    )


def _absent(first: Tested, second: Tested) -> list[str]:
    return [
        f"{test.name} was tested without {plural(test.coverage.absent, 'video')} that the annotation names (absent, "
        "left out): its figures are of the others"
        for test in (first, second)
        if test.coverage.absent
    ]


def _left_out(test: Tested, other: Tested, shared: int, used: set[int]) -> list[str]:
    paths = test.result.paths
    rest = [path for i, path in enumerate(paths) if i not in used]
    if not rest:
        return []
    return [
        f"{len(rest)} of {len(paths)} videos of {test.name} are not in the test of {other.name} (first: {rest[0]}): "
        f"only the {shared} videos of both are compared"
    ]


def _unread(first: Tested, second: Tested, rows: Sequence[tuple[int, int]]) -> list[str]:
    a, b = first.result.errors, second.result.errors
    alone = {
        first.name: sum(a[i] is not None and b[j] is None for i, j in rows),
        second.name: sum(a[i] is None and b[j] is not None for i, j in rows),
    }
    return [
        f"{failed} of the videos could not be read for {name} alone and count as its errors"
        for name, failed in alone.items()
        if failed
    ]


def _changed(first: Tested, second: Tested, rows: Sequence[tuple[int, int]]) -> list[str]:
    _, differ = other_sizes(first, second, rows)
    if not differ:
        return []
    return [
        f"{plural(len(differ), 'video')} of {len(rows)} had another size in the test of {second.name} (first: "
        f"{first.result.paths[differ[0][0]]}): the two were tested on other files there"
    ]


def _label_remarks(first: Tested, second: Tested) -> list[str]:
    remarks = []
    for test, other in ((first, second), (second, first)):
        more = [label for label in test.result.labels if label not in other.result.labels]
        if more:
            remarks.append(
                f"{test.name} chooses among {len(test.result.labels)} labels, of which {other.name} lacks "
                f"{len(more)} ({', '.join(more[:3])}{', …' if more[3:] else ''})"
            )
    return remarks


def _protocol(first: Tested, second: Tested) -> list[str]:
    """How the two were tested differently, as far as their `metrics.json` tell."""
    alone = [str(test.file) for test in (first, second) if not test.document]
    if alone:
        return [f"no metrics.json lies beside {' and '.join(alone)}: how it was tested is not known"]
    facts = [_facts(test.document) for test in (first, second)]
    differ = [key for key in facts[0] | facts[1] if facts[0].get(key) != facts[1].get(key)]
    if not differ:
        return []
    listed = ", ".join(f"{key} ({facts[0].get(key)} and {facts[1].get(key)})" for key in differ)
    return [f"{first.name} and {second.name} were tested differently: {listed}"]


def _facts(document: Mapping[str, Any]) -> dict[str, Any]:
    test, protocol = document.get("test", {}), document.get("protocol", {})
    # Mean and deviation belong to the network, as its weights do.
    clip = {key: value for key, value in dict(protocol.get("clip", {})).items() if key not in ("mean", "std")}
    return {key: test.get(key) for key in ("split", "views")} | clip
