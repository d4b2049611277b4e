"""The tab Compare: two recognizers on one video, and on a labelled data set that the server offers."""

# Gradio reads annotations as values, so they are not postponed in this module.
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from kinema.app.context import Context, address, guarded, shown
from kinema.app.markup import render
from kinema.app.names import folder_of, relative_to_data, without_folder
from kinema.app.recognise import leading, lines_of, track_of
from kinema.app.stopping import add_stop, stoppable
from kinema.errors import KinemaError
from kinema.evaluation.comparison import compare
from kinema.evaluation.comparison_files import disagreements
from kinema.evaluation.tested import Tested
from kinema.evaluation.testing import run_test
from kinema.media.jobs import Job
from kinema.media.sessions import Session
from kinema.media.uploads import Upload
from kinema.recognizer import Recognizer
from kinema.report.markup import COLOURS
from kinema.streaming.differences import differing_parts
from kinema.tables import csv_text

_VIDEO, _DATA = "compare-video", "compare-data"  # parts of the page: their jobs
_CURVES = 4  # per chart: two charts have a colour for every class
_LISTED = 200  # videos of the table; the CSV holds all


def add_tab(context: Context, upload: Any) -> None:
    """Adds the tab to the page that is being built.

    Args:
        context: of the page, with at least two recognizers.
        upload: `gradio.State` that holds the visitor's `Upload`, None where there is none yet.
    """
    import gradio as gr

    def on_video(
        taken: Upload | None, first: str, second: str, request: gr.Request, progress: Any = gr.Progress()  # noqa: B008
    ) -> str:  # fmt: skip
        def work() -> str:
            if taken is None:
                raise KinemaError("there is no video yet: choose one in the tab Recognise")
            both = pair(context, first, second)
            with context.job(request, progress, _VIDEO) as job:
                return compared_on_video(taken, *both, job)

        return guarded(work)

    def on_data(
        name: str, first: str, second: str, request: gr.Request, progress: Any = gr.Progress()  # noqa: B008
    ) -> str:  # fmt: skip
        def work() -> str:
            if name not in context.folders:
                raise KinemaError(f"data set {name!r}: choose from {', '.join(context.folders)}")
            both, session = pair(context, first, second), context.session(request)
            with context.job(request, progress, _DATA) as job:
                return compared_on_data(name, context.folders[name], *both, session, job)

        return guarded(work)

    with gr.Tab("Compare"):
        with gr.Row():
            first = gr.Dropdown(context.names, value=context.names[0], label="First recognizer")
            second = gr.Dropdown(context.names, value=context.names[1], label="Second recognizer")
        gr.Markdown("**On the video** of the tab Recognise: what both see, and where they differ.")
        ask = gr.Button("Compare on the video", variant="primary")
        parts = gr.HTML()
        add_stop(context, _VIDEO, [(ask.click, on_video, [upload, first, second], [parts])], parts)
        if context.folders:
            gr.Markdown("**On a labelled data set**: both are tested on the same videos.")
            folder = gr.Dropdown(list(context.folders), value=next(iter(context.folders)), label="Data set")
            test = gr.Button("Compare on the data set", variant="primary")
            figures = gr.HTML()
            add_stop(context, _DATA, [(test.click, on_data, [folder, first, second], [figures])], figures)


def pair(context: Context, first: str, second: str) -> tuple[tuple[str, Recognizer], tuple[str, Recognizer]]:
    """Two different recognizers, each with its name.

    Raises:
        KinemaError: there is none of that name, or both are the same.
    """
    if first == second:
        raise KinemaError(f"recognizer {first!r}: is compared with itself; choose two different recognizers")
    return (first, context.recognizer(first)), (second, context.recognizer(second))


def compared_on_video(
    upload: Upload, first: tuple[str, Recognizer], second: tuple[str, Recognizer], job: Job | None = None
) -> str:
    """The scores of both recognizers over a video, and the parts where they differ, as HTML.

    Args:
        upload: the video.
        first: name and recognizer.
        second: name and recognizer.
        job: is told how far the work is, and can stop it.

    Raises:
        Stopped: the job was stopped.
        UnreadableVideo: no part of it can be read.
    """
    job = job or Job()
    tracks = []
    for number, (name, recognizer) in enumerate((first, second)):
        step = job.step(f"Step {number + 1} of 2: recognising with {name}", number / 2, (number + 1) / 2)
        with stoppable([recognizer], job):
            tracks.append(track_of(recognizer, upload, step)[0])
    labels = [recognizer.labels for _, recognizer in (first, second)]
    parts, same = differing_parts(tracks[0], labels[0], tracks[1], labels[1])
    top = [names[i] for track, names in zip(tracks, labels, strict=True) for i in leading(track, _CURVES)]
    colours = {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(dict.fromkeys(top))}
    charts = [
        {"name": name, "lines": lines_of(track, recognizer.labels, _CURVES, colours), "duration": track.duration,
         "lost": track.lost}
        for (name, recognizer), track in zip((first, second), tracks, strict=True)
    ]  # fmt: skip
    return render(
        "compared_video", name=upload.name, video=shown(upload.shown), charts=charts, parts=parts, same=same,
        first=first[0], second=second[0],
    )  # fmt: skip


def compared_on_data(
    name: str, data: str, first: tuple[str, Recognizer], second: tuple[str, Recognizer], session: Session, job: Job
) -> str:
    """Tests both recognizers on the same videos and shows where they differ, as HTML.

    Args:
        name: of the data set, to show.
        data: folder, CSV or catalogue.
        first: name and recognizer, the one compared with.
        second: name and recognizer, the one that is asked about.
        session: of the visitor; gets the table of the videos that only one of them gets right.
        job: is told how far the work is, and can stop it.

    Raises:
        KinemaError: the data cannot be read, or have labels that a recognizer does not have.
        RunError: no video could be read.
    """
    with without_folder(folder_of(data), name):
        return _compared_on_data(name, data, (first, second), session, job)


def _compared_on_data(
    name: str, data: str, both: tuple[tuple[str, Recognizer], tuple[str, Recognizer]], session: Session, job: Job
) -> str:
    relative = relative_to_data(data, name)
    tests, remarks = [], []
    for number, (title, recognizer) in enumerate(both):
        step = job.step(f"Step {number + 1} of 2: testing {title}", number / 2, (number + 1) / 2)
        with stoppable([recognizer], job):
            run = run_test(recognizer, data, workers=1, progress=partial(_shown, step))
        tests.append(Tested(title, Path(title), run.result, run.to_dict()))
        remarks += [f"{title}: {remark}" for remark in run.remarks]
        split = run.plan.test.split
    found = compare(*tests)
    remarks = list(map(relative, [*remarks, *found.remarks]))
    header, listed = disagreements(*tests)
    rows = [(relative(str(path)), *others) for path, *others in listed]
    table = session.place(".csv", f"{name.replace('/', '-')} differences.csv")
    table.write_text(csv_text(header, rows), encoding="utf-8")
    return render(
        "compared_data", name=name, split=split, found=found, remarks=remarks, rows=rows[:_LISTED],
        count=len(rows), csv=address(table),
    )  # fmt: skip


def _shown(
    step: Callable[[float, float], None], title: str
) -> AbstractContextManager[Callable[[float, float], None] | None]:
    return nullcontext(step)
