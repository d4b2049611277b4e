"""What the tab Label does with what a browser sends, without a browser."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinema.annotation import LabelDesk, SegmentTable, TrainingJob
from kinema.app.label import (
    Visit,
    compared,
    job_folder,
    open_desk,
    panel,
    perform,
    shown,
    table_name,
    trained,
    without_folder,
)
from kinema.data.sources import Sample
from kinema.errors import KinemaError
from kinema.streaming.segments import Segment


@pytest.fixture
def desk(tmp_path: Path) -> LabelDesk:
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(b"")
    return LabelDesk(tmp_path, labels=["walk", "fall <i>"])


def sent(*acts: str, **more: Any) -> list[dict[str, Any]]:
    return [{"act": act, "video": 0, "time": 1.5, **more} for act in acts]


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
    "action",
    [{"act": "delete everything"}, {"act": "undo"}, {"act": "start", "time": None}, {"act": "label", "label": "<b>"},
     {"act": "remove", "number": -1}, {"act": "end", "time": "soon"}, {}],
)  # fmt: skip
def test_actions_that_cannot_be_done(desk: LabelDesk, action: dict[str, Any]) -> None:
    with pytest.raises(KinemaError):
        perform(desk, [{"video": 0, **action}])
    assert desk.rows == ()


def test_what_is_shown_is_escaped(desk: LabelDesk) -> None:
    perform(desk, sent("start") + sent("label", label="fall <i>"))
    desk.suggest([Segment("walk", 0.5, 1.0, 0.9, 1.0)])
    # A row whose label is not offered is shown as well.
    SegmentTable(desk.table.file).add(Sample(desk.video, "<script>"))
    desk.refresh()
    shown = panel(Visit(desk))
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
    assert shown(f"{link}/a.mp4, {tmp_path}/deep/b.mp4: no", link) == "a.mp4, deep/b.mp4: no"
    assert shown(f"{tmp_path}er/a.mp4", tmp_path) == f"{tmp_path}er/a.mp4"
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
            perform(desk, [{"act": "go_to", "video": 1, "number": number}])
    assert desk.position == 1
