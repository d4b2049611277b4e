"""The page: its tabs, one module each, and the coming and going of visitors."""

# Gradio reads annotations as values, so they are not postponed in this module.
from typing import Any

from kinema.app import compare, data, label, live, recognise, why
from kinema.app.context import COOKIE, Context


def build(context: Context) -> Any:
    """The page as Gradio's Blocks.

    Args:
        context: what the tabs share; without data sets there is no tab Data, and with one recognizer no tab Compare.
    """
    import gradio as gr

    def enter(request: gr.Request) -> None:
        if request.session_hash and COOKIE in request.cookies:
            context.sessions.enter(request.cookies[COOKIE], request.session_hash)

    def leave(request: gr.Request) -> None:
        if request.session_hash:
            context.jobs.stop(request.session_hash)
            context.sessions.leave(request.session_hash)

    with gr.Blocks(title="Kinema", analytics_enabled=False) as page:
        gr.Markdown("# Kinema\nRecognises human actions in video, and shows why.")
        upload = gr.State(None)
        recognise.add_tab(context, upload)
        why.add_tab(context, upload)
        if len(context.recognizers) > 1:
            compare.add_tab(context, upload)
        live.add_tab(context)
        if context.to_label:
            label.add_tab(context)
        if context.folders:
            data.add_tab(context)
        page.load(enter)
        page.unload(leave)
    page.queue(max_size=context.limits.queue)
    return page
