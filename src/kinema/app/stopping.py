"""How a visitor stops a job: the button, there from the beginning of the job until its end, and where the job ends."""

# Gradio reads annotations as values, so they are not postponed in this module.
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from kinema.app.context import NETWORK, Context
from kinema.app.markup import render
from kinema.media.jobs import Job
from kinema.recognizer import Recognizer


def add_stop(context: Context, part: str, starts: Sequence[tuple[Any, Any, list[Any], list[Any]]], result: Any) -> None:
    """Connects the events that start a job, and adds below the result the button that stops it.

    A job that waits for its turn leaves the queue; one that runs ends at its next step (see `kinema.media.jobs`).

    Args:
        context: of the page.
        part: of the page; the jobs that it starts carry this name (see `Context.job`), and no others are stopped.
        starts: for each way to start the job: the event of a component (`File.upload`), the function, its inputs and
            its outputs. A file or an example that started it, and outputs beside `result`, are cleared by the button.
        result: `gradio.HTML` that shows the result and how far the job is.
    """
    import gradio as gr

    def show() -> Any:
        return gr.update(visible=True)

    def hide() -> Any:
        return gr.update(visible=False)

    def stop(request: gr.Request) -> tuple:
        context.jobs.stop(request.session_hash or "", part=part)
        return (hide(), render("sentence", text="Stopped: you can begin again.")) + (None,) * len(cleared)

    button = gr.Button("Stop", variant="stop", visible=False, elem_id=f"k-stop-{part}")
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


@contextmanager
def stoppable(recognizers: Iterable[Recognizer], job: Job) -> Iterator[None]:
    """Lets a job be stopped at every layer of the networks, since one pass of a large one may take seconds.

    Args:
        recognizers: whose networks run in the block.
        job: ends the work of this thread; others, such as the tab Live, may use the same networks meanwhile.
    """
    mine = threading.get_ident()

    def check(*_: Any) -> None:
        if threading.get_ident() == mine:
            job.check()

    with ExitStack() as stack:
        for recognizer in recognizers:
            for part in recognizer.model.modules():
                stack.callback(part.register_forward_pre_hook(check).remove)
        yield
