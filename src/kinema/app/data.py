"""The tab Data: the doctor's report on a data set that the server offers."""

from __future__ import annotations

from dataclasses import replace

from kinema.app.context import NETWORK, Context, guarded
from kinema.app.markup import render
from kinema.app.names import folder_of, relative_to_data, without_folder
from kinema.data.doctor.examine import examine
from kinema.errors import KinemaError


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
    findings = [replace(f, message=shown(f.message), paths=tuple(map(shown, f.paths))) for f in found.findings]
    errors, warnings = ([f for f in findings if f.severity == kind] for kind in ("error", "warning"))
    return render(
        "data", source=name, files=found.files, labels=len(found.labels), splits=list(found.splits.items()),
        errors=errors, warnings=warnings,
    )  # fmt: skip
