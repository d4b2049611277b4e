"""The tab Live: the camera of the visitor's browser, whose frames `static/live.js` sends one by one."""

# FastAPI reads annotations as values, so they are not postponed in this module.
from collections.abc import Callable
from typing import Any

from kinema.app.context import COOKIE, Context
from kinema.app.markup import render
from kinema.errors import KinemaError
from kinema.media.cameras import MOST_BYTES, Cameras
from kinema.media.sessions import Session

ADDRESS = "/session/camera"


def add_tab(context: Context) -> None:
    """Adds the tab to the page that is being built.

    Args:
        context: of the page.
    """
    import gradio as gr

    with gr.Tab("Live"):
        gr.HTML(render("live", names=context.names, address=ADDRESS))


def add_routes(app: Any, context: Context, cameras: Cameras) -> None:
    """Adds the addresses to which frames are sent.

    Only a visitor who has the page open may use them: where the server asks for a password, that is one who knew it.

    Args:
        app: `fastapi.FastAPI`.
        context: of the page.
        cameras: what is watched.
    """
    from fastapi import Request, Response
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import JSONResponse

    async def answered(request: Request, work: Callable[[Session], Any]) -> Response:
        try:
            session = context.sessions.find(request.cookies.get(COOKIE))
            if not session.pages:
                raise KinemaError("the page is not open: load it again")
            return JSONResponse(await run_in_threadpool(work, session))
        except KinemaError as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    @app.post(ADDRESS + "/begin")
    async def begin(request: Request, recognizer: str) -> Response:
        return await answered(request, lambda s: cameras.begin(s, context.recognizer(recognizer)))

    @app.post(ADDRESS + "/frame/{key}")
    async def frame(request: Request, key: str, seconds: float) -> Response:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > MOST_BYTES:
                break  # `feed` refuses it
            parts.append(part)
        data = b"".join(parts) if size <= MOST_BYTES else bytes(MOST_BYTES + 1)
        return await answered(request, lambda s: cameras.feed(s, key, data, seconds))

    @app.post(ADDRESS + "/end")
    async def end(request: Request) -> Response:
        return await answered(request, cameras.end)
