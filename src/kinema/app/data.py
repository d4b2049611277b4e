"""The tab Data: the doctor's report on a data set that the server offers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from kinema.app.context import NETWORK, Context, guarded
from kinema.app.markup import render
from kinema.app.names import folder_of, relative_to_data, without_folder
from kinema.data.doctor.examine import examine
from kinema.data.findings import Finding
from kinema.errors import KinemaError
from kinema.report.explained import middle_frame

_LISTED = 20  # files or groups of files that are listed per finding
_PICTURED = 12  # of them, those with pictures


def add_tab(context: Context) -> None:
    """Adds the tab to the page that is being built.

    Args:
        context: of the page, with `folders`; a visitor cannot name any other one.
    """
    import gradio as gr

    def check(name: str) -> str:
        return guarded(lambda: examined(name, context.folders.get(name)))

    with gr.Tab("Data"):
        folder = gr.Dropdown(list(context.folders), value=next(iter(context.folders)), label="Data set")
        ask = gr.Button("Check", variant="primary")
        report = gr.HTML()
        ask.click(check, folder, report, **NETWORK)


def examined(name: str, data: str | None) -> str:
    """The report on a data set, as HTML, with paths relative to it.

    Args:
        name: to show.
        data: folder, CSV or catalogue; None where the page offers none of that name.

    Raises:
        KinemaError: the labels cannot be read.
    """
    if data is None:
        raise KinemaError(f"data set {name!r}: the page does not offer it; choose another one")
    with without_folder(folder_of(data), name):
        found, shown = examine(data), relative_to_data(data, name)
    listed = {
        kind: [(shown(f.message), _lines(f, shown), len(f.paths)) for f in findings]
        for kind, findings in (("error", found.errors), ("warning", found.warnings))
    }
    return render(
        "data", source=name, files=found.files, labels=len(found.labels), splits=list(found.splits.items()),
        listed=listed,
    )  # fmt: skip


def _lines(finding: Finding, shown: Callable[[str], str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The first lines of a finding, each with the names of its videos and their middle frames, in base64."""
    lines = []
    for number, path in enumerate(finding.paths[:_LISTED]):
        videos = finding.videos[number] if number < min(len(finding.videos), _PICTURED) else ()
        frames = ((shown(video), middle_frame(Path(video))) for video in videos)
        lines.append((shown(path), [(v, base64.b64encode(jpeg).decode()) for v, jpeg in frames if jpeg is not None]))
    return lines
