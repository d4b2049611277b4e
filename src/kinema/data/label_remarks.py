"""Remarks on labels that matter for trusting the results of a training or a test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from kinema.data.label_order import look_alike
from kinema.text import plural

SHOWN = 5  # labels that one line lists
UNTRAINED = "labels_without_training_videos"  # under `training` in the card of a recognizer


def label_remarks(trained: Collection[str], tested: Mapping[str, Collection[str]]) -> list[str]:
    """Makes remarks on labels that matter for trusting the results of a training or a test.

    Args:
        trained: labels that have training videos.
        tested: split -> the labels of its videos.

    Returns:
        At most two sentences: on labels that are tested but not trained, and on those that are trained but not tested.
    """
    untrained: dict[str, list[str]] = defaultdict(list)
    for split, labels in tested.items():
        for label in set(labels) - set(trained):
            untrained[label].append(split)
    found = []
    if untrained:
        named = []
        for label, places in sorted(untrained.items())[:SHOWN]:
            other = look_alike(label, trained)
            named.append(f"{label!r} in {' and '.join(places)}{f', did you mean {other!r}?' if other else ''}")
        if len(untrained) > SHOWN:
            named.append(f"{plural(len(untrained) - SHOWN, 'other')}, which kinema data doctor lists")
        text = f"{plural(len(untrained), 'label')} without a training video ({'; '.join(named)}"
        text += "): such videos always count as wrong, so correct the label or add training videos"
        found.append(f"warning: {text}")
    missing = [(split, sorted(set(trained) - set(labels))) for split, labels in tested.items()]
    missing = [(split, labels) for split, labels in missing if labels]
    if missing:
        named = [f"{split!r} has no video of {name_labels(tuple(labels))}" for split, labels in missing]
        found.append(f"note: {'; '.join(named)}: its metrics say nothing about these labels")
    return found


def name_labels(names: tuple[str, ...]) -> str:
    """Formats labels: `4 labels ('a', 'b', 'c', …)`."""
    shown = ", ".join(repr(name) for name in names[:3]) + (", …" if names[3:] else "")
    return f"{plural(len(names), 'label')} ({shown})"
