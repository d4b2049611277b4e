"""The tab Label: a folder of videos, one after the other, whose segments are marked with the keyboard."""

# Gradio reads annotations as values, so they are not postponed in this module.
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinema.annotation.agreement import compare_tables
from kinema.annotation.desk import LabelDesk, require_folder
from kinema.annotation.least_sure import queue
from kinema.annotation.training import TrainingJob
from kinema.app.context import NETWORK, Context, address, guarded
from kinema.app.label_actions import name_of, perform, read_actions
from kinema.app.label_videos import LabelVideos
from kinema.app.markup import render
from kinema.app.names import relative, without_folder
from kinema.errors import KinemaError
from kinema.recognizer import Recognizer
from kinema.report.markup import colours
from kinema.streaming.timelines import find_segments, settled
from kinema.streaming.tracks import read_track

_SECOND = 2.0  # seconds between two looks at a training


@dataclass
class Visit:
    """What a visitor has open.

    Attributes:
        desk: the folder, its order and its segments.
        videos: of the folder, as the browser plays them.
        sure: how sure the recognizer is of each video, for the list.
        answered: the last action of the page that has been done or refused; the page waits for it.
    """

    desk: LabelDesk
    videos: LabelVideos
    sure: dict[str, str] = field(default_factory=dict)
    answered: int = 0


def add_tab(context: Context) -> None:
    """Adds the tab to the page that is being built.

    Args:
        context: of the page, with `to_label`; a visitor cannot name any other folder.
    """
    import gradio as gr

    jobs: dict[Path, TrainingJob] = {}

    def enter(name: str, person: str, request: gr.Request) -> tuple:
        def work() -> tuple:
            with without_folder(context.to_label.get(name, ""), name):
                desk = open_desk(context, name, person or getattr(request, "username", None) or "")
            videos = LabelVideos(context.session(request), context.limits, context.jobs, context.ahead)
            visit = Visit(desk, videos)
            return visit, view(visit, request.session_hash), panel(visit)

        return guarded(work, lambda text: (None, "", text))

    def act(visit: Visit | None, sent: str, request: gr.Request) -> tuple:
        if visit is None:
            return gr.skip(), gr.skip()
        before = visit.desk.video

        def work() -> str:
            with without_folder(visit.desk.folder):
                actions = read_actions(sent)
                visit.answered = max([visit.answered, *(action.id for action in actions)])
                perform(visit.desk, actions)
            return ""

        said = guarded(work)
        moved = visit.desk.video != before
        picture = guarded(lambda: view(visit, request.session_hash)) if moved else gr.skip()
        return picture, panel(visit, said)

    def arrange(visit: Visit | None, name: str, request: gr.Request, progress: Any = gr.Progress()) -> tuple:  # noqa: B008
        if visit is None:
            return gr.skip(), render("sentence", text="Open a folder first.")

        def work() -> tuple:
            sort(visit, context.recognizer(name), lambda done, of: progress(done / of, desc=f"video {done} of {of}"))
            return view(visit, request.session_hash), panel(visit)

        return guarded(work, lambda text: (gr.skip(), panel(visit, text)))

    def suggest(visit: Visit | None, name: str) -> Any:
        if visit is None:
            return gr.skip()

        def work() -> str:
            with without_folder(visit.desk.folder):
                return suggested(visit, context.recognizer(name))

        return panel(visit, guarded(work))

    def compare(visit: Visit | None, other: str) -> str:
        if visit is None:
            return render("sentence", text="Open a folder first.")

        def work() -> str:
            with without_folder(visit.desk.folder):
                return compared(visit.desk, other)

        return guarded(work)

    def train(visit: Visit | None, name: str, epochs: float) -> tuple:
        if visit is None:
            return render("sentence", text="Open a folder first."), gr.skip()

        def work() -> tuple:
            busy = next((job for job in jobs.values() if job.running), None)
            if busy is not None:
                raise KinemaError(f"{busy.folder.name}: a training is running; wait for its end, or stop it")
            job = jobs.setdefault(job_folder(visit.desk), TrainingJob(job_folder(visit.desk)))
            with without_folder(visit.desk.folder):
                job.start(
                    visit.desk.table.file, recognizer=context.recognizer(name), epochs=int(epochs),
                    values={"logger": "none"},
                )  # fmt: skip
            return trained(job), gr.Timer(active=True)

        return guarded(work, lambda text: (text, gr.skip()))

    def look(visit: Visit | None) -> tuple:
        if visit is None:
            return gr.skip(), gr.Timer(active=False)
        job = jobs.get(job_folder(visit.desk)) or TrainingJob(job_folder(visit.desk))
        return guarded(lambda: trained(job)), gr.Timer(active=job.running)

    def stop(visit: Visit | None) -> Any:
        job = jobs.get(job_folder(visit.desk)) if visit is not None else None
        if job is None or not job.running:
            return render("note", text="No training is running.")
        job.stop()
        return guarded(lambda: trained(job))

    with gr.Tab("Label"):
        with gr.Row():
            folder = gr.Dropdown(list(context.to_label), value=next(iter(context.to_label)), label="Folder")
            person = gr.Textbox(label="Your name (optional)", max_length=40)
            name = gr.Dropdown(context.names, value=context.names[0], label="Recognizer")
        with gr.Row():
            ask = gr.Button("Open", variant="primary")
            order = gr.Button("Show the least sure first")
        visit = gr.State(None)
        picture, desk = gr.HTML(), gr.HTML()
        sent = gr.Textbox(visible=False)
        go = gr.Button("Go", elem_id="k-label-go", elem_classes="k-hidden")
        hint = gr.Button("Suggest", elem_id="k-label-suggest", elem_classes="k-hidden")
        with gr.Accordion("Agreement of two people", open=False):
            other = gr.Textbox(label="Name of the other person", max_length=40)
            weigh = gr.Button("Compare")
            kappa = gr.HTML()
        with gr.Accordion("Train on the segments", open=False):
            epochs = gr.Number(10, label="Epochs", precision=0, minimum=1, maximum=1000)
            with gr.Row():
                begin, end = gr.Button("Start or resume", variant="primary"), gr.Button("Stop")
            course = gr.HTML()
        timer = gr.Timer(_SECOND, active=False)
        there = "() => window.kinemaEnter()"
        entered = ask.click(enter, [folder, person], [visit, picture, desk]).then(None, js=there)
        entered.then(look, visit, [course, timer])
        actions = "(visit, sent) => [visit, window.kinemaActions()]"
        quiet: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "multiple"}
        done = go.click(act, [visit, sent], [picture, desk], js=actions, **quiet)
        done.then(None, js="() => window.kinemaFocus()")
        hint.click(suggest, [visit, name], desk, **NETWORK).then(None, js="() => window.kinemaRefocus()")
        order.click(arrange, [visit, name], [picture, desk], **NETWORK).then(None, js=there)
        weigh.click(compare, [visit, other], kappa)
        begin.click(train, [visit, name, epochs], [course, timer])
        end.click(stop, visit, course)
        timer.tick(look, visit, [course, timer], show_progress="hidden")


def open_desk(context: Context, name: str, person: str) -> LabelDesk:
    """The desk of a person on a folder that the server offers.

    Args:
        context: of the page.
        name: of the folder, as shown.
        person: who labels; empty where one person does.

    Raises:
        KinemaError: there is no such folder, no video in it, or a name that no file should have.
    """
    if name not in context.to_label:
        raise KinemaError(f"folder {name!r}: choose from {', '.join(context.to_label)}")
    folder = require_folder(context.to_label[name]).resolve()
    labels = [label for recognizer in context.recognizers.values() for label in recognizer.labels]
    return LabelDesk(folder, folder / table_name(person), labels=labels)


def table_name(person: str) -> str:
    """The file that holds the segments of a person, such as `segments-ann.csv`.

    Raises:
        KinemaError: a name of other signs than letters, digits, `-` and `_`.
    """
    person = person.strip()
    if not person:
        return "segments.csv"
    if not re.fullmatch(r"[\w-]{1,40}", person):
        raise KinemaError(f"name {person!r}: give letters, digits, - and _, at most 40")
    return f"segments-{person}.csv"


def job_folder(desk: LabelDesk) -> Path:
    """Where the training from a desk's table lies: `segments-training` beside `segments.csv`."""
    return desk.table.file.with_name(f"{desk.table.file.stem}-training")


def view(visit: Visit, page: str | None) -> str:
    """The open video and the buttons beside it, as HTML; a sentence where it cannot be read.

    Args:
        visit: of the visitor.
        page: that shows it.
    """
    desk, video, error = visit.desk, None, ""
    try:
        video = visit.videos.open(desk.video)
    except KinemaError as refused:
        error = str(refused)
    visit.videos.prepare(desk.videos[desk.position + 1 : desk.position + 2], page or "")
    return render("label_view", name=name_of(desk), error=error, video=None if video is None else address(video))


def panel(visit: Visit, said: str = "") -> str:
    """Marks, labels, segments and suggestions of the open video, as HTML.

    Args:
        visit: of the visitor.
        said: HTML of a sentence about the last action.
    """
    from markupsafe import Markup

    desk = visit.desk
    ends = [*(s.end or s.start or 0.0 for s in desk.segments), *(s.t_end for s in desk.suggestions)]
    end = max([visit.videos.seconds(desk.video), *ends])
    keys = {label: key for key, label in desk.keys.items()}
    return render(
        "label_panel", name=name_of(desk), answered=visit.answered, number=desk.position, videos=len(desk.videos),
        done=desk.done, sure=visit.sure.get(desk.video, ""), marks=desk.marks,
        labels=[(label, keys.get(label)) for label in desk.labels],
        colours=colours(desk.labels), segments=desk.segments, suggestions=desk.suggestions, length=end,
        steps=desk.steps, table=desk.table.file.name, said=Markup(said),
    )  # fmt: skip


def sort(visit: Visit, recognizer: Recognizer, progress: Any = None) -> None:
    """Puts the videos of which a recognizer is least sure first."""
    entries = queue(recognizer, visit.desk.videos, progress=progress)
    visit.desk.arrange([entry.path for entry in entries])
    visit.sure = {
        entry.path: "cannot be read"
        if entry.margin is None
        else f"recognized: {entry.label}, margin {entry.margin:.2f}"
        for entry in entries
    }


def suggested(visit: Visit, recognizer: Recognizer) -> str:
    """Offers the segments that a recognizer finds in the open video.

    Returns:
        HTML of a sentence where it finds none, else an empty text.

    Raises:
        UnreadableVideo: no part of the video can be read.
    """
    desk, video = visit.desk, visit.desk.video  # another one may be open when the network is done
    seconds = visit.videos.seconds(video, 2.0)
    settings = settled(recognizer, window=None if recognizer.rate is not None else min(2.0, seconds))
    assert settings.sight is not None
    track = read_track(recognizer, video, settings.sight, workers=1)
    desk.suggest(find_segments(track, recognizer.labels, settings), video)
    if desk.video != video or desk.suggestions:
        return ""
    return render("note", text=f"The recognizer finds no further segment in {Path(video).name}.")


def compared(desk: LabelDesk, other: str) -> str:
    """The agreement of two people on a folder, as HTML.

    Raises:
        KinemaError: one of them has labelled nothing yet, or the name is no name.
    """
    file = desk.table.file.with_name(table_name(other))
    found = compare_tables(desk.table.file, file)
    names = {video: relative(video.path, desk.folder) for video in found.videos}
    counted = sum(video.error is None for video in found.videos)
    return render(
        "label_agreement", first=desk.table.file.name, second=file.name, found=found, names=names, counted=counted
    )


def trained(job: TrainingJob) -> str:
    """How far a training is, as HTML; empty where none was started."""
    progress = job.progress()
    if progress is None:
        return ""
    message = relative(progress.message, job.folder.parent)
    return render("label_training", progress=progress, message=message, folder=job.folder.name)
