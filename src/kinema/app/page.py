"""The tabs of the page: components, and which function of `kinema.app.work` each of them calls."""

# Gradio reads annotations as values, so they are not postponed in this module.
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kinema.app.markup import chart_lines, render
from kinema.app.work import Upload, by_severity, recognise, take, top_classes, why
from kinema.data.doctor.examine import examine
from kinema.errors import KinemaError
from kinema.explain.explanation import METHODS
from kinema.media.limits import UploadLimits
from kinema.media.sessions import Sessions
from kinema.recognizer import Recognizer

COOKIE = "kinema_session"
FILES = "/session/files"  # address of the files of a session


def build(
    recognizers: dict[str, Recognizer], sessions: Sessions, limits: UploadLimits, incoming: Path,
    folders: Mapping[str, str] | None = None,
) -> Any:  # fmt: skip
    """The page as Gradio's Blocks.

    Args:
        recognizers: by the names to show, at least one.
        sessions: of the visitors.
        limits: of uploads.
        incoming: folder in which the server stores uploads; no other file is taken.
        folders: data sets that the Data tab may show, by the names to show; without any there is no such tab.
    """
    import gradio as gr

    names = list(recognizers)
    labels = sorted({label for recognizer in recognizers.values() for label in recognizer.labels})

    def recognise_upload(sent: str | None, name: str, request: gr.Request, progress: Any = gr.Progress()) -> tuple:  # noqa: B008
        if sent is None:
            return None, None, ""

        def work() -> tuple:
            session = sessions.find(request.cookies.get(COOKIE))
            progress(0.1, desc="converting")
            if not Path(sent).resolve().is_relative_to(incoming.resolve()):
                raise KinemaError("video: it was not sent through this page; send it again")
            upload = take(Path(sent), session, limits, name=Path(sent).name)
            progress(0.5, desc="recognising")
            return None, upload, _recognised(recognizers[name], upload, session)

        return _guarded(work, lambda text: (None, None, text))

    def again(upload: Upload | None, name: str, request: gr.Request) -> str:
        if upload is None:
            return ""
        return _guarded(lambda: _recognised(recognizers[name], upload, sessions.find(request.cookies.get(COOKIE))), str)

    def explain_upload(
        upload: Upload | None, chosen: list[str], methods: list[str], target: str, start: float | None,
        end: float | None, request: gr.Request,
    ) -> str:  # fmt: skip
        def work() -> str:
            if upload is None:
                raise KinemaError("there is no video yet: choose one in the tab Recognise")
            session = sessions.find(request.cookies.get(COOKIE))
            file, facts = why(
                recognizers, upload, session, names=chosen, methods=methods, target=target, start=start or None,
                end=end or None,
            )  # fmt: skip
            known = [
                {key: fact.get(key) for key in ("recognizer", "label", "score", "method", "layer", "verdict")}
                for fact in facts
            ]
            return render(
                "why", name=upload.name, source=address(upload.shown), overlay=address(file), start=start or 0.0,
                facts=known,
            )  # fmt: skip

        return _guarded(work, str)

    def enter(request: gr.Request) -> None:
        if request.session_hash and COOKIE in request.cookies:
            sessions.enter(request.cookies[COOKIE], request.session_hash)

    def leave(request: gr.Request) -> None:
        if request.session_hash:
            sessions.leave(request.session_hash)

    network: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1}
    with gr.Blocks(title="Kinema", analytics_enabled=False) as page:
        gr.Markdown("# Kinema\nRecognises human actions in video, and shows why.")
        upload = gr.State(None)
        with gr.Tab("Recognise"):
            name = gr.Dropdown(names, value=names[0], label="Recognizer")
            sent = gr.File(label="Video", file_count="single", height=170)
            gr.Markdown(_invitation(limits))
            result = gr.HTML()
            sent.upload(recognise_upload, [sent, name], [sent, upload, result], **network)
            name.input(again, [upload, name], result, **network)
        with gr.Tab("Why"):
            chosen = gr.CheckboxGroup(names, value=names[:1], label="Recognizers, side by side")
            methods = gr.CheckboxGroup(list(METHODS), value=["cam"], label="Methods, side by side")
            target = gr.Dropdown(["top", *labels], value="top", label="Class (top: the one with the highest score)")
            with gr.Row():
                start = gr.Number(0, label="From second", minimum=0)
                end = gr.Number(0, label="To second (0: the end)", minimum=0)
            ask = gr.Button("Show why", variant="primary")
            shown = gr.HTML()
            ask.click(explain_upload, [upload, chosen, methods, target, start, end], shown, **network)
        if folders:
            with gr.Tab("Data"):
                folder = gr.Dropdown(list(folders), value=next(iter(folders)), label="Data set")
                check = gr.Button("Check", variant="primary")
                report = gr.HTML()
                check.click(
                    lambda name: _guarded(lambda: _examined(name, folders[name]), str), folder, report, **network
                )
        page.load(enter)
        page.unload(leave)
    page.queue(max_size=limits.queue)
    return page


def address(file: Path) -> str:
    """Where a visitor's browser finds a file of the session."""
    return f"{FILES}/{file.name}"


def _invitation(limits: UploadLimits) -> str:
    return f"At most {limits.megabytes:g} MB, {limits.seconds:g} s, {limits.megapixels:g} megapixels"


def _guarded(work: Callable[[], Any], failed: Callable[[str], Any]) -> Any:
    """What a job gives; a sentence where it cannot be done, so that the page lives on."""
    try:
        return work()
    except KinemaError as error:
        return failed(render("sentence", text=str(error)))
    except Exception:
        traceback.print_exc()  # for the person who runs the server: this is a fault of ours
        return failed(render("sentence", text="This job failed unexpectedly; the server's log tells why."))


def _recognised(recognizer: Recognizer, upload: Upload, session: Any) -> str:
    found = recognise(recognizer, upload, session)
    middles = [float(time) for time in (found.track.starts + found.track.ends) / 2]
    table, document = found.tables
    return render(
        "recognised", name=upload.name, video=address(found.video), duration=found.track.duration,
        segments=found.line.segments, lost=found.line.lost, csv=address(table), json=address(document),
        lines=chart_lines(top_classes(found.track, recognizer.labels), middles, found.track.duration),
    )  # fmt: skip


def _examined(name: str, data: str) -> str:
    found = examine(data)
    kinds = by_severity(found.findings)
    return render(
        "data", source=name, files=found.files, labels=len(found.labels), splits=list(found.splits.items()),
        errors=kinds["error"], warnings=kinds["warning"],
    )  # fmt: skip
