"""The sections of a page that show pictures of videos: mistakes and hits with their maps, and frames of classes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from kinema.evaluation.metrics import Metrics
from kinema.explain.verdicts import Verdict
from kinema.report.explained import Explained, Strip
from kinema.report.markup import caution, note, table


def mistakes_and_hits(found: Sequence[Explained]) -> str:
    """Per run its most confident mistakes and hits, each a strip of frames under the map of a class."""
    parts = []
    for one in found:
        layer = f" at {one.layer}" if one.layer else ""
        parts.append(f"<h3>{escape(one.name)}: {escape(one.method + layer)}</h3>")
        for title, strips in (("Most confident mistakes", one.mistakes), ("Most confident hits", one.hits)):
            parts.append(f"<p><b>{title}</b></p>" if strips else note(f"{title}: there are none."))
            parts += map(_strip, strips)
    if not found:
        return ""
    return "".join(parts) + note(
        "Scores above a strip are those of the test, over all its views; the one in the strip is that of the central "
        "clip, which is what is explained. Of a mistake the upper row shows the evidence for what the network said, "
        "the lower row that for what is right. Blue: little evidence, yellow: much. White frame: what the network saw."
    )


def _strip(strip: Strip) -> str:
    said = f"{strip.said}, {100 * strip.score:.0f} %"
    answer = f"says {said}" if strip.said == strip.truth else f"says {said}; it is {strip.truth}"
    head = f"<div class=strip><code>{escape(strip.video)}</code> {escape(answer)}"
    if strip.picture is None:
        return f"{head}{caution(f'not shown: {strip.error}')}</div>"
    return f"{head}{_image(strip.picture, f'{strip.video}: {answer}')}</div>"


def faithfulness_table(found: Sequence[Explained]) -> str:
    """What the cards say of how far the methods can be believed on each network."""
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
    drawn = table(head, rows, numeric=False) if rows else ""
    if rows:
        drawn += note(
            "At least: the lower end of the 95 % interval; a method passes where both are above 0 and its map changes "
            "when the weights are randomised. Same untrained, same for another class: rank correlation of the maps."
        )
    return drawn + "".join(
        note(f"{name}: no method was checked; kinema explain RUN --check DATA does it.") for name in unchecked
    )


def _judged(verdict: Verdict) -> str:
    return "passed" if verdict.passed else "not to be believed: " + "; ".join(verdict.reasons)


def frames_of_classes(frames: Mapping[str, bytes], metrics: Mapping[str, Metrics]) -> str:
    """One frame per class with its recall in each run, after thesis figure 6.5.

    Args:
        frames: class -> JPEG.
        metrics: name of the run -> its figures.
    """
    recalls = {name: {c.label: c.recall for c in m.per_class} for name, m in metrics.items()}
    cells = []
    for label, picture in frames.items():
        known = [(name, values.get(label)) for name, values in recalls.items()]
        several = len(known) > 1
        lines = "".join(
            f"<div>{escape(name) + ' ' if several else ''}{100 * value:.0f} %</div>"
            for name, value in known
            if value is not None
        )
        cells.append(f"<figure>{_image(picture, label)}<figcaption><b>{escape(label)}</b>{lines}</figcaption></figure>")
    return f"<div class=frames>{''.join(cells)}</div>" if cells else ""


def _image(jpeg: bytes, text: str) -> str:
    return f"<img alt='{escape(text, quote=True)}' src='data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}'>"
