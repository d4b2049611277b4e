"""The server of the page: cookies of sessions, their files, a health address, and the end."""

import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.app.markup import static
from kinema.app.packages import require_packages
from kinema.errors import KinemaError
from kinema.media.cameras import Cameras
from kinema.media.jobs import Jobs
from kinema.media.limits import UploadLimits
from kinema.media.sessions import Sessions
from kinema.recognizer import Recognizer

_SWEEP = 5.0  # seconds between two looks for sessions that have ended
_FORGOTTEN = 600.0  # seconds after which an upload is removed that no job has taken
_KINDS = {".mp4": "video/mp4", ".csv": "text/csv; charset=utf-8", ".json": "application/json"}


@dataclass
class Site:
    """A page that is ready to be served.

    Attributes:
        app: the ASGI application.
        sessions: of its visitors.
        root: the folder of all its files; gone after `close`.
        jobs: what runs for its visitors.
        ahead: converts in advance.
    """

    app: Any
    sessions: Sessions
    root: Path
    jobs: Jobs
    ahead: ThreadPoolExecutor

    def sweep(self) -> None:
        """Removes what ended sessions and forgotten uploads have left."""
        self.sessions.sweep()
        for file in (self.root / "incoming").rglob("*"):
            with suppress(OSError):
                if not file.is_dir() and time.time() - file.lstat().st_mtime > _FORGOTTEN:
                    file.unlink()

    def close(self) -> None:
        """Stops all jobs and removes all files."""
        self.jobs.stop_all()
        self.ahead.shutdown(cancel_futures=True)
        self.sessions.close()
        shutil.rmtree(self.root, ignore_errors=True)


def make_site(
    recognizers: dict[str, Recognizer], *, limits: UploadLimits | None = None, folders: Mapping[str, str] | None = None,
    to_label: Mapping[str, str] | None = None,
    auth: Sequence[tuple[str, str]] = (), keep: float = 60.0, about: str = "",
) -> Site:  # fmt: skip
    """Builds the page and the routes beside it.

    Files of a session are served under `/session/files` to whoever sends the session's cookie. Gradio's own address
    for files is closed, since it does not ask who wants them.

    Args:
        recognizers: by the names to show, at least one.
        limits: of uploads; default: those of `UploadLimits`.
        folders: data sets that the Data tab may show, by the names to show.
        to_label: folders of videos that the tab Label may show and write segments into, by the names to show.
        auth: names and passwords; everybody is let in where there are none.
        keep: seconds for which the files of a visitor stay after the last page is closed.
        about: a sentence on what the recognizers know, for the page.

    Raises:
        KinemaError: Gradio is not installed or too old.
    """
    require_packages()
    limits = limits or UploadLimits()
    root = Path(tempfile.mkdtemp(prefix="kinema-app-"))
    os.environ["GRADIO_TEMP_DIR"] = str(root / "incoming")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse

    from kinema.app.context import COOKIE, FILES, Context
    from kinema.app.examples import Examples
    from kinema.app.live import add_routes
    from kinema.app.page import build

    sessions = Sessions(root / "sessions", keep=keep)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable) -> Response:
        path = request.url.path
        if path.startswith(("/gradio_api/file", "/file", "/gradio_api/stream", "/gradio_api/proxy")):
            return PlainTextResponse("not served here", status_code=404)
        response = await go_on(request)
        if path == "/" and request.method == "GET" and not _known(sessions, request.cookies.get(COOKIE)):
            secure = request.url.scheme == "https"
            response.set_cookie(COOKIE, sessions.new(), httponly=True, samesite="strict", secure=secure)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.get("/health")
    def health() -> Response:
        return JSONResponse({"status": "ok", "sessions": len(sessions)})

    @app.get(FILES + "/{name}")
    def session_file(name: str, request: Request) -> Response:
        try:
            file, shown = sessions.file(request.cookies.get(COOKIE), name)
        except KinemaError:
            return PlainTextResponse("there is no such file in this session", status_code=404)
        headers = {"Cache-Control": "private, no-store"}
        return FileResponse(
            file, media_type=_KINDS.get(file.suffix, "application/octet-stream"), filename=shown,
            content_disposition_type="inline" if file.suffix == ".mp4" else "attachment", headers=headers,
        )  # fmt: skip

    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
        # The colours of the theme itself have too little contrast to their text.
        button_primary_background_fill="#1d4ed8", button_primary_background_fill_hover="#1e40af",
        button_primary_background_fill_dark="#1d4ed8", button_primary_background_fill_hover_dark="#1e40af",
        button_primary_text_color="white", button_primary_text_color_dark="white",
    )  # fmt: skip
    context = Context(
        recognizers,
        sessions,
        limits,
        root / "incoming",
        folders or {},
        Examples(folders or {}, root / "examples"),
        to_label or {},
        about=about,
    )
    add_routes(app, context, Cameras())
    page = build(context)
    app = gr.mount_gradio_app(
        app, page, "/", auth=list(auth) or None, show_error=False,
        max_file_size=int(limits.megabytes * 1e6), ssr_mode=False, theme=theme,
        css=static("page.css") + static("label.css"),
        head=f"<script>{static('page.js')}{static('live.js')}{static('label.js')}</script>", footer_links=[],
    )  # fmt: skip
    return Site(app, sessions, root, context.jobs, context.ahead)


def _known(sessions: Sessions, secret: str | None) -> bool:
    try:
        sessions.find(secret)
    except KinemaError:
        return False
    return True


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything slow begins.

    Raises:
        KinemaError: the port is in use or not allowed, or the host is not one of this machine.
    """
    if not 0 <= port <= 65535:
        raise KinemaError(f"--port {port}: give a number from 0 to 65535, 0 for any free one")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        why = error.strerror or str(error)
        raise KinemaError(f"--host {host} --port {port}: {why}; give another --port or --host") from error
    return listening


def serve(site: Site, listening: socket.socket) -> None:
    """Serves until the process is told to end (Ctrl-C or SIGTERM), then removes all files."""
    import uvicorn

    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(_SWEEP):
            site.sweep()

    sweeper = threading.Thread(target=sweep, daemon=True)
    sweeper.start()
    try:
        config = uvicorn.Config(site.app, log_level="warning", timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        ended.set()
        sweeper.join()
        site.close()


@contextmanager
def served(site: Site) -> Iterator[str]:
    """Serves the page on a free port of this machine for as long as the block runs, as in tests or a notebook.

    Yields:
        The address.
    """
    import uvicorn

    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(site.app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        site.close()
