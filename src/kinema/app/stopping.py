"""The button that stops a job of the page: it is there from the beginning of the job until its end."""

# Gradio reads annotations as values, so they are not postponed in this module.
from collections.abc import Sequence
from typing import Any

from kinema.app.context import NETWORK, Context
from kinema.app.markup import render


def add_stop(context: Context, starts: Sequence[tuple[Any, Any, list[Any], list[Any]]], result: Any) -> None:
    """Connects the events that start a job, and adds below the result the button that stops it.

    A job that waits for its turn leaves the queue; one that runs ends at its next step (see `kinema.media.jobs`).

    Args:
        context: of the page.
        starts: for each way to start the job: the event of a component (`File.upload`), the function, its inputs and
            its outputs. Outputs beside `result` and states are inputs of the visitor, which the button clears.
        result: `gradio.HTML` that shows the result and how far the job is.
    """
    import gradio as gr

    def show() -> Any:
        return gr.update(visible=True)

    def hide() -> Any:
        return gr.update(visible=False)

    def stop(request: gr.Request) -> tuple:
        context.jobs.stop(request.session_hash or "")
        return (hide(), render("sentence", text="Stopped: choose a video to begin again.")) + (None,) * len(cleared)

    button = gr.Button("Stop", variant="stop", visible=False, elem_classes="k-stop")
    cleared = list({
        id(one): one for _, _, inputs, outputs in starts for one in [inputs[0], *outputs]
        if one is not result and not isinstance(one, (gr.State, gr.Dropdown))
    }.values())  # fmt: skip
    jobs = []
    for event, work, inputs, outputs in starts:
        event(show, None, button, queue=False, show_progress="hidden")
        job = event(work, inputs, outputs, show_progress_on=result, **NETWORK)
        job.then(hide, None, button, queue=False, show_progress="hidden")
        jobs.append(job)
    button.click(stop, None, [button, result, *cleared], queue=False, show_progress="hidden", cancels=jobs)
