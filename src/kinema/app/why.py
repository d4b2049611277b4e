"""The tab Why: what the network looked at, by one or several methods and recognizers."""

# Gradio reads annotations as values, so they are not postponed in this module.
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kinema.app.context import Context, guarded, shown
from kinema.app.markup import render
from kinema.app.stopping import add_stop, stoppable
from kinema.errors import KinemaError
from kinema.explain.explanation import METHODS
from kinema.explain.files import Question, explain_video
from kinema.explain.verdicts import read_verdict
from kinema.media.jobs import Job
from kinema.media.sessions import Session
from kinema.media.uploads import Upload
from kinema.recognizer import Recognizer

_PART = "why"  # of the page: its jobs
_STEPS = ("Step 1 of 2: explaining", "Step 2 of 2: writing the overlay")
_FACTS = ("recognizer", "label", "score", "method", "layer")


def add_tab(context: Context, upload: Any) -> None:
    """Adds the tab to the page that is being built.

    Args:
        context: of the page.
        upload: `gradio.State` that holds the visitor's `Upload`, None where there is none yet.
    """
    import gradio as gr

    def explain_upload(
        taken: Upload | None, chosen: list[str], methods: list[str], target: str, start: float | None,
        end: float | None, request: gr.Request, progress: Any = gr.Progress(),  # noqa: B008
    ) -> str:  # fmt: skip
        def work() -> str:
            if taken is None:
                raise KinemaError("there is no video yet: choose one in the tab Recognise")
            with context.job(request, progress, _PART) as job:
                file, facts = why(
                    context.recognizers, taken, context.session(request), names=chosen, methods=methods,
                    target=target, start=start or None, end=end or None, job=job,
                )  # fmt: skip
            return render(
                "why", name=taken.name, source=shown(taken.shown), overlay=shown(file), start=start or 0.0,
                facts=[told(context, chosen[0], fact) for fact in facts],
            )  # fmt: skip

        return guarded(work)

    with gr.Tab("Why"):
        chosen = gr.CheckboxGroup(context.names, value=context.names[:1], label="Recognizers, side by side")
        methods = gr.CheckboxGroup(list(METHODS), value=["cam"], label="Methods, side by side")
        target = gr.Dropdown(["top", *context.labels], value="top", label="Class (top: the one with the highest score)")
        with gr.Row():
            start = gr.Number(0, label="From second", minimum=0)
            end = gr.Number(0, label="To second (0: the end)", minimum=0)
        ask = gr.Button("Show why", variant="primary")
        result = gr.HTML()
        inputs = [upload, chosen, methods, target, start, end]
        add_stop(context, _PART, [(ask.click, explain_upload, inputs, [result])], result)


def why(
    recognizers: Mapping[str, Recognizer], upload: Upload, session: Session, *, names: list[str], methods: list[str],
    target: str, start: float | None, end: float | None, job: Job | None = None,
) -> tuple[Path, list[dict[str, Any]]]:  # fmt: skip
    """The overlay of one or several methods and recognizers, side by side.

    Args:
        recognizers: by the names that the page shows.
        upload: the video; its converted form is explained, since it is decoded in this process.
        session: of the visitor.
        names: of the recognizers to show.
        methods: names of explanation methods.
        target: `top`, or a class.
        start: seconds, None for the beginning.
        end: seconds, None for the end.
        job: is told how far the work is, and can stop it.

    Returns:
        The video, and one dict of facts per explanation (see `kinema.explain.write.facts`).

    Raises:
        KinemaError: a class, method or part of the video that does not exist.
        Stopped: the job was stopped; no file is left.
    """
    if not names or not methods:
        raise KinemaError("recognizer and method: choose at least one of each")
    absent = [name for name in names if name not in recognizers]
    if absent:
        raise KinemaError(f"recognizer {absent[0]!r}: choose from {', '.join(recognizers)}")
    chosen = [(name, recognizers[name]) for name in names]
    file = session.place(".mp4", f"{Path(upload.name).stem} {' '.join(methods)}.mp4")
    job = job or Job()
    explained = job.step(_STEPS[0], 0.0, 0.5)
    writing: list[Callable[[float, float], None]] = []

    def written(done: float, of: float) -> None:
        if not writing:
            writing.append(job.step(_STEPS[1], 0.5, 1.0))
        writing[0](done, of)

    question = Question(tuple(methods), target, None, start, end)
    with stoppable([recognizer for _, recognizer in chosen], job):
        facts = explain_video(chosen, upload.shown, file, question, explained=explained, written=written)
    return file, facts


def told(context: Context, only: str, fact: Mapping[str, Any]) -> dict[str, Any]:
    """The text under an overlay.

    Args:
        context: of the page.
        only: name of the recognizer where `fact` names none, since there is one only.
        fact: of one explanation, as `why` gives it.

    Returns:
        Recognizer, label, score, method and layer; `checked`, what is known of the method on this network in a
        sentence; `believed`, False where it did not pass the check.
    """
    recognizer = context.recognizers[fact.get("recognizer") or only]
    verdict = read_verdict(recognizer.card, recognizer.model, fact["method"], fact.get("layer"))
    if verdict is None:
        checked = "its faithfulness on this network was not checked (kinema explain --check)"
    else:
        checked = f"check of its faithfulness: {verdict.text}"
    kept = {key: fact.get(key) for key in _FACTS}
    return {**kept, "checked": checked, "believed": verdict is None or verdict.passed}
