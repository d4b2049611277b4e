"""The tab Data: the doctor's report on a data set that the server offers."""

from __future__ import annotations

from kinema.app.context import NETWORK, Context, guarded
from kinema.app.markup import render
from kinema.data.doctor.examine import examine


def add_tab(context: Context) -> None:
    """Adds the tab to the page that is being built.

    Args:
        context: of the page, with `folders`; a visitor cannot name any other one.
    """
    import gradio as gr

    def check(name: str) -> str:
        return guarded(lambda: examined(name, context.folders[name]))

    with gr.Tab("Data"):
        folder = gr.Dropdown(list(context.folders), value=next(iter(context.folders)), label="Data set")
        ask = gr.Button("Check", variant="primary")
        report = gr.HTML()
        ask.click(check, folder, report, **NETWORK)


def examined(name: str, data: str) -> str:
    """The report on a data set, as HTML.

    Args:
        name: to show.
        data: folder, CSV or catalogue.

    Raises:
        KinemaError: the labels cannot be read.
    """
    found = examine(data)
    errors, warnings = ([f for f in found.findings if f.severity == kind] for kind in ("error", "warning"))
    return render(
        "data", source=name, files=found.files, labels=len(found.labels), splits=list(found.splits.items()),
        errors=errors, warnings=warnings,
    )  # fmt: skip
