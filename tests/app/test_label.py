"""What the tab Label does with what a browser sends, without a browser."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny import moving_square, write_video

from kinema.annotation import LabelDesk, SegmentTable, TrainingJob
from kinema.app.label import (
    Visit,
    compared,
    job_folder,
    open_desk,
    panel,
    table_name,
    trained,
)
from kinema.app.label_actions import Action, perform, read_actions
from kinema.app.label_videos import LabelVideos
from kinema.app.names import relative, without_folder
from kinema.data.sources import Sample
from kinema.errors import KinemaError, UnreadableVideo
from kinema.media.jobs import Jobs
from kinema.media.limits import UploadLimits
from kinema.media.sessions import Sessions
from kinema.streaming.segments import Segment


@pytest.fixture
def desk(tmp_path: Path) -> LabelDesk:
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(b"")
    return LabelDesk(tmp_path, labels=["walk", "fall <i>"])


def sent(*acts: str, video: str = "a.mp4", **more: Any) -> list[Action]:
    return read_actions(json.dumps([{"act": act, "video": video, "id": 1, "time": 1.5, **more} for act in acts]))


@pytest.fixture
def videos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelVideos]:
    sessions, ahead = Sessions(tmp_path_factory.mktemp("sessions")), ThreadPoolExecutor(1)
    yield LabelVideos(sessions.find(sessions.new()), UploadLimits(), Jobs(), ahead)
    ahead.shutdown()


def test_actions_in_order(desk: LabelDesk) -> None:
    start, end = sent("start"), sent("end", time=2.5)
    perform(desk, [*start, *end, *sent("label", label="walk"), *sent("next")])
    assert [(r.label, r.start, r.end) for r in desk.rows] == [("walk", 1.5, 2.5)]
    assert desk.position == 1
    # A key that was pressed while the video before was shown marks nothing in this one.
    with pytest.raises(KinemaError, match=r"b\.mp4"):
        perform(desk, sent("start"))
    perform(desk, sent("previous", "edit", "clear", number=0))
    perform(desk, sent("new", label="jump") + sent("remove", number=0))
    assert (desk.labels, desk.rows) == (("walk", "fall <i>", "jump"), ())
    perform(desk, sent("undo"))
    assert len(desk.rows) == 1


@pytest.mark.parametrize(
    ("action", "named"),
    [({"act": "delete everything"}, "delete everything"), ({"act": "undo"}, "undo"), ({"act": "start"}, "a.mp4"),
     ({"act": "label", "label": "<b>"}, "<b>"), ({"act": "remove", "number": -1}, "segment"),
     ({"act": "remove"}, "segment"), ({"act": "remove", "number": 0.5}, "0.5"),
     ({"act": "end", "time": "soon"}, "time"),
     ({"act": "end", "time": float("nan")}, "time"), ({"act": "end", "time": True}, "time"), ({}, "act"),
     ({"act": 3}, "act"), ({"act": "label", "label": ["walk"]}, "label"), ({"act": "start", "id": "1"}, "id"),
     ({"act": "label", "label": "walk", "path": "/etc"}, "path"), ({"act": "clear", "video": 0}, "video")],
)  # fmt: skip
def test_actions_that_cannot_be_done(desk: LabelDesk, action: dict[str, Any], named: str) -> None:
    with pytest.raises(KinemaError, match=re.escape(named)):
        perform(desk, read_actions(json.dumps([{"video": "a.mp4", **action}])))
    assert desk.rows == ()


@pytest.mark.parametrize("text", ["", "{}", "null", "[1]", "[[]]", "[" * 100_000, '[{"act": "start"', '"label"'])
def test_what_no_page_sends_is_refused(text: str) -> None:
    with pytest.raises(KinemaError, match="actions"):
        read_actions(text)


def test_the_next_video_is_converted_in_advance(
    tmp_path: Path, videos: LabelVideos, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinema.app import label_videos

    films = [str(write_video(tmp_path / f"{name}.mp4", moving_square(np.random.default_rng(0), True))) for name in "ab"]
    broken, converted = tmp_path / "c.mp4", []
    broken.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)))
    convert = label_videos.convert

    def counted(source: Path, *more: Any, **options: Any) -> Any:
        converted.append((source.name, threading.current_thread() is threading.main_thread()))
        return convert(source, *more, **options)

    monkeypatch.setattr(label_videos, "convert", counted)
    assert videos.open(films[0]).is_file()
    videos.prepare([films[1]], "page")
    videos.prepare([films[1]], "page")
    assert videos.open(films[1]).is_file() and videos.seconds(films[1]) > 0
    # It was waited for, or had not begun and was converted at once; never twice.
    assert [name for name, _ in converted] == ["a.mp4", "b.mp4"] and converted[0][1]
    assert videos.open(films[0]).is_file() and len(converted) == 2
    # What cannot be read in advance gives its sentence when it is opened.
    videos.prepare([str(broken)], "page")
    with pytest.raises(UnreadableVideo, match=r"c\.mp4"):
        videos.open(str(broken))


def test_a_suggestion_belongs_to_the_video_that_was_open_when_it_was_asked_for(desk: LabelDesk) -> None:
    video = desk.video
    perform(desk, sent("next"))
    desk.suggest([Segment("walk", 0.5, 1.0, 0.9, 1.0)], video)
    assert desk.suggestions == ()
    perform(desk, sent("previous"))
    assert len(desk.suggestions) == 1


def test_what_is_shown_is_escaped(desk: LabelDesk, videos: LabelVideos) -> None:
    perform(desk, sent("start") + sent("label", label="fall <i>"))
    desk.suggest([Segment("walk", 0.5, 1.0, 0.9, 1.0)])
    # A row whose label is not offered is shown as well.
    SegmentTable(desk.table.file).add(Sample(desk.video, "<script>"))
    desk.refresh()
    shown = panel(Visit(desk, videos))
    assert "<i>" not in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert 'data-act="accept"' in shown


def test_only_folders_of_the_server_and_names_that_are_names(desk: LabelDesk) -> None:
    context: Any = SimpleNamespace(to_label={"films": str(desk.folder)}, recognizers={})
    assert open_desk(context, "films", " ann ").table.file.name == "segments-ann.csv"
    assert table_name("") == "segments.csv"
    for name in ("../ann", "a/b", "a.b", "a" * 41, "\n", "a\x00"):
        if name.strip():
            with pytest.raises(KinemaError, match="name"):
                table_name(name)
    with pytest.raises(KinemaError, match="films"):
        open_desk(context, "/etc", "")


def test_no_sentence_shows_where_the_folder_lies(desk: LabelDesk, tmp_path: Path) -> None:
    context: Any = SimpleNamespace(to_label={"films": str(desk.folder), "gone": str(tmp_path / "x")}, recognizers={})
    with pytest.raises(KinemaError) as gone, without_folder(tmp_path / "x", "gone"):
        open_desk(context, "gone", "")
    assert str(gone.value).startswith("gone: ")
    desk.table.file.write_text("path,label,split,start,end\na.mp4,walk,,soon,2\n", encoding="utf-8")
    with pytest.raises(KinemaError, match=r"^segments\.csv line 2") as damaged, without_folder(desk.folder):
        perform(desk, sent("label", label="walk"))
    desk.table.file.write_text("path,label,split,start,end\n", encoding="utf-8")
    with pytest.raises(KinemaError, match=r"^segments-ben\.csv") as nobody, without_folder(desk.folder):
        compared(desk, "ben")
    for error in (gone, damaged, nobody):
        assert str(tmp_path) not in str(error.value)
    # A link to the folder is one more way to write it; a longer name that begins with it is another folder.
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    assert relative(f"{link}/a.mp4, {tmp_path}/deep/b.mp4: no", link) == "a.mp4, deep/b.mp4: no"
    assert relative(f"{tmp_path}er/a.mp4", tmp_path) == f"{tmp_path}er/a.mp4"
    job = TrainingJob(job_folder(desk))
    job.folder.mkdir()
    run = job.folder / "run"
    (job.folder / "recipe.yaml").write_text(f'epochs: 3\nout: "{run}"\n', encoding="utf-8")
    (job.folder / "log.txt").write_text(f"recognizer saved in {run}\n", encoding="utf-8")
    page = trained(job)
    assert "saved in segments-training/run" in page
    assert str(tmp_path) not in page


def test_any_video_is_reached_by_its_number(desk: LabelDesk) -> None:
    perform(desk, sent("go_to", number=1))
    assert desk.position == 1
    for number in (2, -1, None):
        with pytest.raises(KinemaError, match="video"):
            perform(desk, sent("go_to", number=number))
    assert desk.position == 1
