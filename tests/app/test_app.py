"""The page without a browser: sessions, addresses, the jobs of the tabs, bad input on the command line."""

from __future__ import annotations

import shutil
import socket
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import moving_square, tiny_data, write_video

pytest.importorskip("gradio")

from fastapi.testclient import TestClient

from kinema import ClipSpec, create_model
from kinema.app import packages
from kinema.app.markup import render
from kinema.app.names import short_names
from kinema.app.recognise import recognise
from kinema.app.server import bind, make_site
from kinema.app.why import told, why
from kinema.cli import main
from kinema.data.manifest import read_manifest
from kinema.data.video import probe
from kinema.errors import KinemaError, UnreadableVideo
from kinema.evaluation.runner import evaluate
from kinema.media.jobs import Job, Jobs, Stopped
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


@pytest.mark.parametrize("begins", ["Step 2", "Step 3"])
def test_a_job_that_is_stopped_leaves_no_result(
    begins: str, recognizer: Recognizer, video: Path, tmp_path: Path
) -> None:
    sessions = Sessions(tmp_path / "sessions")
    session = sessions.find(sessions.new())
    upload = take(video, session, UploadLimits(), name="film.mp4")
    before, jobs, told = set(session.folder.iterdir()), Jobs(), []

    def report(share: float, what: str) -> None:
        told.append(what)
        if what.startswith(begins):
            assert jobs.stop("another page") == 0
            assert jobs.stop("page") == 1

    with pytest.raises(Stopped), jobs.run("page", report) as job:
        recognise(recognizer, upload, session, job)
    assert told[-1].startswith(begins) and len(jobs) == 0
    assert set(session.folder.iterdir()) == before


def test_a_refused_upload_leaves_nothing(video: Path, tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    session = sessions.find(sessions.new())
    with pytest.raises(UnreadableVideo, match="film"):
        take(video, session, UploadLimits(seconds=0.1), name="film")
    assert not video.exists() and not list(session.folder.iterdir())


def test_a_page_has_the_tabs_that_it_has_something_for(recognizer: Recognizer, tmp_path: Path) -> None:

    def labels(recognizers: dict[str, Recognizer], folders: dict[str, str]) -> list[str]:
        site = make_site(recognizers, folders=folders)
        try:
            config = TestClient(site.app).get("/config").json()
            return [c["props"]["label"] for c in config["components"] if c["type"] == "tabitem"]
        finally:
            site.close()

    assert labels({"one": recognizer}, {}) == ["Recognise", "Why", "Live"]
    data = str(tiny_data(tmp_path / "data"))
    assert labels({"one": recognizer, "two": recognizer}, {"set": data}) == [
        "Recognise", "Why", "Compare", "Live", "Data"
    ]  # fmt: skip


def test_two_recognizers_are_compared_on_data(tmp_path: Path) -> None:
    from kinema.app.compare import compared_on_data, pair

    data = str(tiny_data(tmp_path / "data"))
    labels = read_manifest(data).labels
    both = []
    for seed, name in enumerate(("one", "two <i>")):
        torch.manual_seed(seed)
        model = create_model("tsn_r18", num_classes=len(labels), frames=4, width=0.125)
        both.append((name, Recognizer(model.eval(), labels, ClipSpec(frames=4, short_side=32, crop=32))))
    session_of = Sessions(tmp_path / "sessions")
    session = session_of.find(session_of.new())
    seen = []
    html = compared_on_data("my set", data, *both, session, Job(lambda share, what: seen.append((share, what))))
    assert "two &lt;i&gt; against one on my set, split test" in html and "<i>" not in html and "McNemar" in html
    results = [evaluate(r, read_manifest(data).part("test"), workers=0) for _, r in both]
    rows = next(session.folder.glob("*.csv")).read_text().splitlines()
    assert rows[0] == "path,start,end,label,one,two <i>" and str(tmp_path) not in html + "".join(rows)
    assert len(rows) - 1 == int((results[0].correct != results[1].correct).sum())
    assert seen[-1] == (1.0, "Step 2 of 2: testing two <i>, about 0 s left")
    context = type("Page", (), {"recognizer": dict(both).__getitem__})()
    with pytest.raises(KinemaError, match="one"):
        pair(context, "one", "one")


def test_two_recognizers_are_compared_on_a_video(recognizer: Recognizer, video: Path, tmp_path: Path) -> None:
    from kinema.app.compare import compared_on_video

    session_of = Sessions(tmp_path / "sessions")
    upload = take(video, session_of.find(session_of.new()), UploadLimits(), name="film.mp4")
    swapped = Recognizer(recognizer.model, LABELS[::-1], recognizer.spec)
    html = compared_on_video(upload, ("one", recognizer), ("two", swapped))
    assert "for 0 % of the time" in html and html.count('class="k-chart"') == 2 and html.count("data-seek") == 1
    same = compared_on_video(upload, ("one", recognizer), ("two", recognizer))
    assert "for 100 % of the time" in same and "They differ nowhere" in same


def test_what_is_known_of_a_method_stands_under_its_overlay(recognizer: Recognizer) -> None:
    from kinema.explain.verdicts import fingerprint

    context = type("Page", (), {"recognizers": {"tiny": recognizer}})()
    fact = {"label": "a", "score": 0.5, "method": "cam", "layer": "x"}
    assert "not checked" in told(context, "tiny", fact)["checked"]
    entry = {
        "method": "cam", "layer": "x", "reasons": ["is no better than a random map"], "gain": 0.0,
        "over_random": -0.1, "over_centre": 0.1, "untrained": 0.0, "other_class": 0.0, "clips": 9, "data": "d",
        "network": fingerprint(recognizer.model),
    }  # fmt: skip
    checked = Recognizer(recognizer.model, LABELS, recognizer.spec, {"verdicts": {"cam": entry}})
    context.recognizers["tiny"] = checked
    found = told(context, "tiny", fact)
    assert not found["believed"] and "random map" in found["checked"]
    checked.card["verdicts"]["cam"]["reasons"] = []
    found = told(context, "tiny", fact)
    assert found["believed"] and "passed on 9 clips" in found["checked"]


def test_examples_come_from_the_data_or_are_generated(tmp_path: Path) -> None:
    from kinema.app.examples import Examples

    data = tiny_data(tmp_path / "data")
    offered = Examples({"set": str(data)}, tmp_path / "cache")
    assert len(offered.names) == 2 and all(offered.file(name).is_file() for name in offered.names)
    generated = Examples({}, tmp_path / "cache")
    file = generated.file(generated.names[0])
    assert probe(file).width == 224 and generated.file(generated.names[0]) == file
    for name in ("../../etc/passwd", "", offered.names[0]):
        with pytest.raises(KinemaError, match="example"):
            generated.file(name)


def test_frames_of_a_camera_need_an_open_page(recognizer: Recognizer) -> None:
    site = make_site({"tiny": recognizer})
    try:
        visitor = TestClient(site.app)
        assert visitor.post("/session/camera/begin?recognizer=tiny").status_code == 400
        visitor.get("/")
        assert visitor.post("/session/camera/begin?recognizer=tiny").status_code == 400
        site.sessions.enter(visitor.cookies["kinema_session"], "a page")
        assert "absent" in visitor.post("/session/camera/begin?recognizer=absent").json()["error"]
        key = visitor.post("/session/camera/begin?recognizer=tiny").json()["key"]
        picture = BytesIO()
        Image.fromarray(np.zeros((36, 48, 3), np.uint8)).save(picture, "JPEG")
        address = f"/session/camera/frame/{key}?seconds="
        assert visitor.post(address + "0", content=picture.getvalue()).json()["label"] in LABELS
        for time, content in (("1", b"x"), ("1", bytes(2_000_000)), ("0", picture.getvalue())):
            answer = visitor.post(address + time, content=content)
            assert answer.status_code == 400 and "frame" in answer.json()["error"]
        assert visitor.post(address + "soon", content=b"x").status_code == 422
        stranger = TestClient(site.app)
        stranger.get("/")
        site.sessions.enter(stranger.cookies["kinema_session"], "another page")
        assert stranger.post(address + "9", content=picture.getvalue()).status_code == 400
    finally:
        site.close()


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
