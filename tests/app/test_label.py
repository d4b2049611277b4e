"""What the tab Label does with what a browser sends, without a browser."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinema.annotation import LabelDesk, SegmentTable
from kinema.app.label import Visit, open_desk, panel, perform, table_name
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
