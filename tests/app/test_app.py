"""The page without a browser: sessions, addresses, the jobs of the tabs, bad input on the command line."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from tiny import moving_square, write_video

pytest.importorskip("gradio")

from fastapi.testclient import TestClient

from kinema import ClipSpec, create_model
from kinema.app import packages
from kinema.app.markup import render
from kinema.app.names import short_names
from kinema.app.recognise import recognise
from kinema.app.server import bind, make_site
from kinema.app.why import why
from kinema.cli import main
from kinema.data.video import probe
from kinema.errors import KinemaError, UnreadableVideo
from kinema.media.limits import UploadLimits
from kinema.media.sessions import Sessions
from kinema.media.uploads import take
from kinema.recognizer import Recognizer

LABELS = ("go left", "go <b>right</b>")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    model = create_model("tsn_r18", num_classes=2, frames=4, width=0.125)
    return Recognizer(model.eval(), LABELS, ClipSpec(frames=4, short_side=32, crop=32))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a film.mp4", moving_square(np.random.default_rng(0), True))


def test_a_session_reaches_its_own_files_only(recognizer: Recognizer) -> None:
    site = make_site({"tiny": recognizer})
    try:
        one, two = TestClient(site.app), TestClient(site.app)
        assert one.get("/health").json()["status"] == "ok"
        assert one.get("/").status_code == two.get("/").status_code == 200
        assert one.cookies["kinema_session"] != two.cookies["kinema_session"]
        file = site.sessions.find(one.cookies["kinema_session"]).place(".mp4", "film.mp4")
        file.write_bytes(b"pictures")
        answer = one.get(f"/session/files/{file.name}")
        assert answer.content == b"pictures" and answer.headers["cache-control"] == "private, no-store"
        assert two.get(f"/session/files/{file.name}").status_code == 404
        assert TestClient(site.app).get(f"/session/files/{file.name}").status_code == 404
        for address in (
            f"/gradio_api/file={file}",
            f"/gradio_api/file/{file}",
            f"/file={file}",
            "/session/files/..%2Fx",
        ):
            assert one.get(address).status_code == 404, address
    finally:
        site.close()
    assert not site.root.exists()


def test_an_upload_is_recognised_and_explained(recognizer: Recognizer, video: Path, tmp_path: Path) -> None:
    session_of = Sessions(tmp_path / "sessions")
    session = session_of.find(session_of.new())
    sent = tmp_path / "sent.mp4"
    shutil.copy(video, sent)
    upload = take(sent, session, UploadLimits(), name="../../<i>film.exe")
    assert not sent.exists() and upload.file.parent == session.folder and upload.name == "<i>film.exe"
    found = recognise(recognizer, upload, session)
    assert probe(found.video).codec == "h264"
    assert found.track.scores.shape[1] == 2
    assert found.tables[0].read_text().startswith("path,label,start,end\n")
    file, facts = why(
        {"tiny": recognizer}, upload, session, names=["tiny"], methods=["cam"], target="go left", start=None, end=None
    )
    assert probe(file).frames == 12 and facts[0]["label"] == "go left"


def test_a_refused_upload_leaves_nothing(video: Path, tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    session = sessions.find(sessions.new())
    with pytest.raises(UnreadableVideo, match="film"):
        take(video, session, UploadLimits(seconds=0.1), name="film")
    assert not video.exists() and not list(session.folder.iterdir())


def test_values_are_escaped() -> None:
    assert "<script>" not in render("sentence", text="<script>alert(1)</script>")


def test_an_old_or_absent_gradio_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "version", lambda name: "6.9.0")
    with pytest.raises(KinemaError, match=r"gradio 6\.9\.0.*pip install"):
        packages.require_packages()

    def absent(name: str) -> str:
        raise packages.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "version", absent)
    with pytest.raises(KinemaError, match="pip install"):
        packages.require_packages()


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(KinemaError, match=f"--port {port}"):
            bind("127.0.0.1", port)
    with pytest.raises(KinemaError, match="--port 70000"):
        bind("127.0.0.1", 70000)


@pytest.mark.parametrize(
    ("words", "named"),
    [([], "RECOGNIZER"), (["absent"], "absent"), (["absent", "--limit-seconds", "0"], "--limit-seconds"),
     (["absent", "--auth", "me"], "--auth"), (["absent", "--data", "no/folder"], "no/folder")],
)  # fmt: skip
def test_bad_input_is_one_sentence(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", "--port", "0", *words]) == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1


def test_names_show_no_more_of_a_path_than_needed() -> None:
    paths = ["/runs/a/recognizer", "/runs/b/recognizer", "/other/b", "hf-hub:org/name"]
    names = short_names(paths)
    assert list(names.values()) == paths
    assert list(names) == ["a", "runs/b", "other/b", "name"]
    assert list(short_names(["recognizer", "./recognizer"]).values()) == ["recognizer", "./recognizer"]


def test_an_upload_beyond_the_limit_is_refused_by_the_server(recognizer: Recognizer) -> None:
    site = make_site({"tiny": recognizer}, limits=UploadLimits(megabytes=0.01))
    try:
        visitor = TestClient(site.app)
        visitor.get("/")
        assert visitor.post("/gradio_api/upload", files={"files": ("a.mp4", bytes(9_000))}).status_code == 200
        assert visitor.post("/gradio_api/upload", files={"files": ("a.mp4", bytes(50_000))}).status_code == 413
        assert sum(f.stat().st_size for f in site.root.rglob("*") if f.is_file()) < 20_000
    finally:
        site.close()
