"""The tab Recognise: a video, its classes over time, its segments."""

# Gradio reads annotations as values, so they are not postponed in this module.
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinema.app.context import Context, address, guarded, shown
from kinema.app.markup import chart_lines, render
from kinema.app.stopping import add_stop, stoppable
from kinema.media.jobs import Job
from kinema.media.limits import UploadLimits
from kinema.media.sessions import Session
from kinema.media.uploads import Upload
from kinema.recognizer import Recognizer
from kinema.streaming.annotated import write_annotated
from kinema.streaming.timelines import SEGMENT_COLUMNS, SegmentSettings, Timeline, find_segments, settled
from kinema.streaming.tracks import Track, read_track
from kinema.tables import csv_text

_PART = "recognise"  # of the page: its jobs
_STEPS = ("Step 1 of 3: converting", "Step 2 of 3: recognising", "Step 3 of 3: writing the labels")


@dataclass(frozen=True)
class Recognised:
    """What the tab shows.

    Attributes:
        line: the segments of the video.
        track: its scores over time.
        video: the video with its labels.
        tables: the segments as CSV and JSON.
    """

    line: Timeline
    track: Track
    video: Path
    tables: tuple[Path, Path]


def add_tab(context: Context, upload: Any) -> None:
    """Adds the tab to the page that is being built.

    Args:
        context: of the page.
        upload: `gradio.State` that holds the visitor's `Upload`, None at first.
    """
    import gradio as gr

    def recognise_upload(sent: str | None, name: str, request: gr.Request, progress: Any = gr.Progress()) -> tuple:  # noqa: B008
        if sent is None:
            return None, None, ""

        def work() -> tuple:
            with context.job(request, progress, _PART) as job:
                taken = context.take(sent, request, job.step(_STEPS[0], 0.0, 0.3))
                return None, taken, recognised(context, taken, name, context.session(request), job)

        return guarded(work, lambda text: (None, None, text))

    def recognise_example(
        chosen: str | None, name: str, request: gr.Request, progress: Any = gr.Progress()  # noqa: B008
    ) -> tuple:  # fmt: skip
        if not chosen:
            return None, ""

        def work() -> tuple:
            with context.job(request, progress, _PART) as job:
                taken = context.take_example(chosen, request, job.step(_STEPS[0], 0.0, 0.3))
                return taken, recognised(context, taken, name, context.session(request), job)

        return guarded(work, lambda text: (None, text))

    def again(taken: Upload | None, name: str, request: gr.Request, progress: Any = gr.Progress()) -> str:  # noqa: B008
        if taken is None:
            return ""

        def work() -> str:
            with context.job(request, progress, _PART) as job:
                return recognised(context, taken, name, context.session(request), job)

        return guarded(work)

    with gr.Tab("Recognise"):
        if context.about:
            gr.HTML(render("note", text=context.about))
        name = gr.Dropdown(context.names, value=context.names[0], label="Recognizer")
        sent = gr.File(label="Video", file_count="single", height=170)
        gr.Markdown(_invitation(context.limits))
        example = gr.Radio(context.examples.names, value=None, label="Or an example")
        result = gr.HTML()
        starts: list[tuple[Any, Any, list[Any], list[Any]]] = [
            (sent.upload, recognise_upload, [sent, name], [sent, upload, result]),
            (example.input, recognise_example, [example, name], [upload, result]),
            (name.input, again, [upload, name], [result]),
        ]
        add_stop(context, _PART, starts, result)


def recognise(recognizer: Recognizer, upload: Upload, session: Session, job: Job | None = None) -> Recognised:
    """The scores over time, the segments, and the video with its labels.

    The original is read in a separate process; the picture with the labels is made from the converted video.

    Args:
        recognizer: what recognises.
        upload: the video.
        session: of the visitor; gets the files.
        job: is told how far the work is, and can stop it.

    Raises:
        Stopped: the job was stopped; no file is left half written.
        UnreadableVideo: no part of it can be read.
    """
    job = job or Job()
    with stoppable([recognizer], job):
        track, settings = track_of(recognizer, upload, job.step(_STEPS[1], 0.3, 0.7))
    segments = find_segments(track, recognizer.labels, settings)
    line = Timeline(upload.name, segments, track.duration, track.lost)
    stem = Path(upload.name).stem
    video = session.place(".mp4", f"{stem} with labels.mp4")
    converted = replace(line, path=str(upload.shown))
    write_annotated(video, converted, recognizer.labels, progress=job.step(_STEPS[2], 0.7, 1.0))
    table, document = session.place(".csv", f"{stem}.csv"), session.place(".json", f"{stem}.json")
    table.write_text(csv_text(SEGMENT_COLUMNS, line.rows()), encoding="utf-8")
    document.write_text(json.dumps(line.to_dict(), indent=2, ensure_ascii=False), encoding="utf-8")
    return Recognised(line, track, video, (table, document))


def track_of(
    recognizer: Recognizer, upload: Upload, step: Callable[[float, float], None] | None = None
) -> tuple[Track, SegmentSettings]:
    """The scores of an upload over time, and the settings with which segments are found in them.

    Args:
        recognizer: what recognises.
        upload: the video.
        step: called with the seconds that are done and those of the video; what it raises ends the work.

    Raises:
        UnreadableVideo: no part of it can be read.
    """
    # Where the card does not state the spacing of frames, windows of two seconds stand in for what a clip spans.
    window = None if recognizer.rate is not None else min(2.0, upload.facts.seconds)
    settings = settled(recognizer, window=window)
    assert settings.sight is not None

    def told(seconds: float) -> None:
        if step is not None:
            step(seconds, upload.facts.seconds)

    return read_track(recognizer, upload.file, settings.sight, workers=1, progress=told), settings


def lines_of(
    track: Track, labels: Sequence[str], most: int = 5, colours: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The curves of the classes that reach the highest scores at any time, the highest first.

    Args:
        track: scores over time.
        labels: of its columns.
        most: number of classes.
        colours: as for `chart_lines`.
    """
    # The outermost scores hold to the ends of what was seen.
    rows = [0, *range(len(track.scores)), -1]
    classes = [(labels[i], [float(track.scores[row, i]) for row in rows]) for i in leading(track, most)]
    times = [track.starts[0], *(track.starts + track.ends) / 2, track.ends[-1]]
    return chart_lines(classes, [float(time) for time in times], track.duration, colours)


def leading(track: Track, most: int) -> list[int]:
    """The indices of the classes that reach the highest scores at any time, the highest first."""
    return [int(i) for i in track.scores.max(0).argsort()[::-1][:most]]


def recognised(context: Context, upload: Upload, name: str, session: Session, job: Job) -> str:
    """What the tab shows of a video, as HTML.

    Args:
        context: of the page.
        upload: the video.
        name: of the recognizer.
        session: of the visitor.
        job: is told how far the work is, and can stop it.

    Raises:
        KinemaError: there is no recognizer of that name.
        UnreadableVideo: no part of the video can be read.
    """
    recognizer = context.recognizer(name)
    found = recognise(recognizer, upload, session, job)
    table, document = found.tables
    return render(
        "recognised", name=upload.name, video=shown(found.video), duration=found.track.duration,
        segments=found.line.segments, lost=found.line.lost, csv=address(table), json=address(document),
        lines=lines_of(found.track, recognizer.labels),
    )  # fmt: skip


def _invitation(limits: UploadLimits) -> str:
    return f"At most {limits.megabytes:g} MB, {limits.seconds:g} s, {limits.megapixels:g} megapixels"
