"""The sections of a page with pictures of videos: mistakes and hits with their maps, and frames of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from kinema.evaluation.metrics import Metrics
from kinema.explain.verdicts import Verdict
from kinema.report.explained import Explained, Strip
from kinema.report.markup import encoded, joined, note, part, subtitle, table


def mistakes_and_hits(found: Sequence[Explained]) -> Markup:
    """Renders the most confident mistakes and hits of each run as strips of frames with the map of a class."""
    parts = []
    for one in found:
        layer = f" at {one.layer}" if one.layer else ""
        parts.append(subtitle(f"{one.name}: {one.method}{layer}"))
        for title, strips in (("Most confident mistakes", one.mistakes), ("Most confident hits", one.hits)):
            parts.append(part("bold", title) if strips else note(f"{title}: there are none."))
            parts += map(_strip, strips)
    if not found:
        return Markup("")
    return joined(parts) + note(
        "The score above a strip is that of the test, averaged over all its views; the score in the strip is that of "
        "the central clip, which is the explained one. For a mistake, the upper row shows the evidence for the "
        "predicted class, the lower row for the true class. Blue: little evidence; yellow: much. White frame: the "
        "network's input."
    )


def _strip(strip: Strip) -> Markup:
    said = f"{strip.said}, {100 * strip.score:.0f} %"
    answer = f"predicted: {said}" if strip.said == strip.truth else f"predicted: {said}; true: {strip.truth}"
    return part("strip", strip.video, answer, None if strip.picture is None else encoded(strip.picture), strip.error)


def faithfulness_table(found: Sequence[Explained]) -> Markup:
    """Renders the verdicts of the cards on the methods for each network."""
    rows = [
        (
            one.name, v.method, v.layer or "", f"{v.gain:.3f}", f"{v.over_random:+.3f}", f"{v.over_centre:+.3f}",
            f"{v.untrained:.2f}", f"{v.other_class:.2f}", f"{v.clips} of {v.data}", _judged(v),
        )
        for one in found
        for v in one.verdicts
    ]  # fmt: skip
    head = (
        "run", "method", "layer", "insertion - deletion", "over random, at least", "over centre, at least",
        "same untrained", "same for another class", "clips", "verdict",
    )  # fmt: skip
    unchecked = [one.name for one in found if not one.verdicts]
    drawn = table(head, rows, numeric=False) if rows else Markup("")
    if rows:
        drawn += note(
            "At least: the lower end of the 95 % interval. A method passes if both are above 0 and its map changes "
            "when the weights are randomised. Same untrained, same for another class: rank correlation of the maps."
        )
    return drawn + joined(
        note(f"{name}: no method was checked; run kinema explain RUN --check DATA.") for name in unchecked
    )


def _judged(verdict: Verdict) -> str:
    return "passed" if verdict.passed else "not to be trusted: " + "; ".join(verdict.reasons)


def frames_of_classes(frames: Mapping[str, bytes], metrics: Mapping[str, Metrics]) -> Markup:
    """Renders one frame per class with its recall in each run, as in figure 6.5 of the thesis.

    Args:
        frames: class -> JPEG.
        metrics: name of the run -> its figures.
    """
    recalls = {name: {c.label: c.recall for c in m.per_class} for name, m in metrics.items()}
    cells = []
    for label, picture in frames.items():
        known = [(name, values.get(label)) for name, values in recalls.items()]
        several = len(known) > 1
        lines = [f"{name} {100 * value:.0f} %" if several else f"{100 * value:.0f} %"
                 for name, value in known if value is not None]  # fmt: skip
        cells.append((label, encoded(picture), lines))
    return part("frames", cells) if cells else Markup("")
