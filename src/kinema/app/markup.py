"""The parts of the page that Gradio has no component for: templates that escape every value, the style, the script."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from kinema.report.markup import COLOURS

WIDTH, HEIGHT = 960, 220  # of the chart, in its own units


def render(template: str, **values: Any) -> str:
    """HTML from a file of `templates/`; every value is escaped.

    Args:
        template: name of the file without its suffix.
        **values: what it shows; one that is missing is an error.
    """
    return f'<div class="k-result">{_environment().get_template(f"{template}.html").render(**values)}</div>'


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(loader=PackageLoader("kinema.app"), autoescape=True, undefined=StrictUndefined)


def static(name: str) -> str:
    """The text of a file of `static/`.

    Args:
        name: such as `page.css`.
    """
    return (files("kinema.app") / "static" / name).read_text(encoding="utf-8")


def chart_lines(
    classes: list[tuple[str, list[float]]],
    times: list[float],
    duration: float,
    colours: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The curves of a chart of scores over time.

    Args:
        classes: label and scores from 0 to 1, one per time.
        times: seconds.
        duration: of the video, seconds.
        colours: label -> colour, where charts beside each other share them; default: by the order of the classes.

    Returns:
        One dict per class: label, points of the SVG polyline, peak score, colour.
    """
    across = [WIDTH * time / max(duration, 1e-6) for time in times]
    if len(across) == 1:  # one clip stands for the whole video
        across = [0.0, float(WIDTH)]
    found = []
    for number, (label, scores) in enumerate(classes):
        levels = scores * 2 if len(scores) == 1 else scores
        points = " ".join(f"{x:.1f},{HEIGHT * (1 - y):.1f}" for x, y in zip(across, levels, strict=True))
        colour = colours[label] if colours is not None else COLOURS[number % len(COLOURS)]
        found.append({"label": label, "points": points, "peak": max(scores), "colour": colour})
    return found
