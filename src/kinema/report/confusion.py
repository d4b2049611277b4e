"""Confusion matrices as HTML tables, whose numbers are as large as the text on any screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from kinema.report.markup import part

MOST = 32  # most classes in a matrix
_OTHER, _UNREAD = "other classes", "unreadable"


def most_confused(
    truth: Sequence[str], answers: Sequence[Sequence[str | None]], labels: Sequence[str], most: int = MOST
) -> list[str]:
    """Returns the classes to show in a matrix: all, or those with the most errors, in the order of the labels.

    Args:
        truth: N labels.
        answers: for each run N labels; None for a video that could not be read.
        labels: all classes.
        most: largest number of classes.
    """
    if len(labels) <= most:
        return list(labels)
    errors: Counter[str] = Counter()
    for said in answers:
        for true, label in zip(truth, said, strict=True):
            if label is not None and label != true:
                errors[true] += 1
                errors[label] += 1
    chosen = set(sorted(labels, key=lambda label: -errors[label])[:most])
    return [label for label in labels if label in chosen]


def confusion(title: str, truth: Sequence[str], said: Sequence[str | None], labels: Sequence[str]) -> Markup:
    """Returns a table with true classes as rows, predicted classes as columns, and per cent of the row as numbers.

    Videos of classes that are not in `labels` are left out; predictions that are not in `labels` share one additional
    column, and unreadable videos another one.

    Args:
        title: title above the table.
        truth: N labels.
        said: N predicted labels, or None.
        labels: labels of the rows and columns.
    """
    shown = set(labels)
    counts = Counter(
        (true, _UNREAD if label is None else label if label in shown else _OTHER)
        for true, label in zip(truth, said, strict=True)
        if true in shown
    )
    videos = Counter(true for true in truth if true in shown)
    columns = [*labels, *(extra for extra in (_OTHER, _UNREAD) if any(column == extra for _, column in counts))]
    rows = [(true, [_cell(true, column, counts[true, column], videos[true]) for column in columns]) for true in labels]
    return part("confusion", title, columns, rows)


def _cell(true: str, column: str, count: int, videos: int) -> dict[str, str] | None:
    """Returns fill, ink, text and tip of a cell; None for a cell without a video."""
    if not count:
        return None
    share = count / videos
    # Blue for right, orange for wrong, from white to full colour.
    full = (29, 78, 216) if column == true else (194, 65, 12)
    red, green, blue = (round(255 + (c - 255) * (0.12 + 0.88 * share)) for c in full)
    return {
        "fill": f"rgb({red},{green},{blue})",
        "ink": "#fff" if share > 0.5 else "#1f2937",
        "text": f"{100 * share:.0f}" if share >= 0.005 else "·",
        "tip": f"{true}: {count} of {videos} predicted as {column}",
    }
