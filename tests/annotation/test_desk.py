"""The state of the tab Label: what is on the disk is what is shown, and undoing everything gives the original."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinema.annotation import LabelDesk, SegmentTable
from kinema.annotation.desk import COMMANDS, KEYS, Marks
from kinema.data.manifest import read_manifest
from kinema.data.sources import Sample
from kinema.errors import KinemaError
from kinema.streaming.segments import Segment


def films(folder: Path, count: int = 3) -> Path:
    """Files that count as videos by their names; nothing here decodes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"film {i}.mp4").write_bytes(b"")
    return folder


def desk_of(folder: Path, **options: Any) -> LabelDesk:
    return LabelDesk(folder, labels=("walk", "fall"), **options)


TIMES = st.one_of(st.floats(0, 20, allow_nan=False), st.sampled_from([0.0, 1.0, 2.0, 2.0004, -1.0, float("nan")]))
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["mark_start", "mark_end"]), TIMES),
    st.tuples(st.just("pick"), st.sampled_from(["1", "2", "walk", "fall", "3", "nothing"])),
    st.tuples(st.sampled_from(["accept", "correct", "edit", "remove", "go_to"]), st.integers(-1, 3)),
    st.tuples(st.sampled_from(["next", "previous", "undo", "clear_marks"])),
    st.tuples(st.just("add_label"), st.sampled_from(["jump", "", "a;b"])),
)
WRITTEN = "path,label,split,start,end\nfilm 1.mp4,walk,,0.12345,1\nfilm 1.mp4,sit,,,\nelsewhere.mp4,fall,,2.000,3.5\n"


def seen(desk: LabelDesk) -> tuple:
    return desk.rows, desk.marks, desk.video, desk.steps


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTIONS, max_size=25), st.booleans())
def test_the_disk_equals_the_state_and_undoing_all_gives_the_original(actions: list[tuple], there: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = films(Path(name).resolve())
        if there:
            (folder / "segments.csv").write_text(WRITTEN, encoding="utf-8")
        desk = desk_of(folder)
        original = desk.rows
        desk.suggest([Segment("fall", 0.5, 1.25, 0.9, 1.25), Segment("walk", 3.0, 4.0001, 0.8, 4.0)])
        for action, *given_values in actions:
            before = seen(desk)
            try:
                getattr(desk, action)(*given_values)
            except KinemaError as error:
                assert str(error)
                assert seen(desk) == before
            assert SegmentTable(desk.table.file).read() == desk.rows
            assert desk.segments == tuple(sorted(desk.segments, key=lambda r: r.start or 0.0))
        again = desk_of(folder)  # what another start finds
        assert again.rows == desk.rows
        while desk.steps:
            desk.undo()
            assert SegmentTable(desk.table.file).read() == desk.rows
        assert desk.rows == original
        assert desk.marks == Marks()


def test_a_segment_by_keys_and_training_reads_it(tmp_path: Path) -> None:
    desk = desk_of(films(tmp_path / "my films"))
    desk.mark_start(1.0)
    desk.mark_end(2.5004)
    desk.pick("1")
    desk.next()
    desk.pick("2")
    assert (tmp_path / "my films" / "segments.csv").read_text(encoding="utf-8").splitlines() == [
        "path,label,split,start,end", "film 0.mp4,walk,,1.000,2.500", "film 1.mp4,fall,,,",
    ]  # fmt: skip
    manifest = read_manifest(tmp_path / "my films" / "segments.csv")
    assert [(s.label, s.start, s.end) for s in manifest.samples] == [("walk", 1.0, 2.5), ("fall", None, None)]
    assert manifest.labels == ("fall", "walk")
    assert desk.done == 2
    # Tomorrow it opens where nothing is labelled yet.
    assert Path(desk_of(tmp_path / "my films").video).name == "film 2.mp4"


def test_a_folder_that_is_reached_by_a_link(tmp_path: Path) -> None:
    films(tmp_path / "films")
    (tmp_path / "link").symlink_to(tmp_path / "films")
    desk = desk_of(tmp_path / "link")
    desk.arrange([str(tmp_path / "link" / "film 2.mp4")])
    assert Path(desk.video).name == "film 2.mp4"
    desk.pick("walk")
    assert len(desk.segments) == 1
    assert [r.path for r in desk_of(tmp_path / "films", table=tmp_path / "link" / "segments.csv").segments] == []
    assert desk_of(tmp_path / "films").done == 1


def test_a_segment_is_corrected(tmp_path: Path) -> None:
    desk = desk_of(films(tmp_path))
    desk.mark_end(3.0)
    desk.pick("walk")
    desk.edit(0)
    desk.mark_start(1.0)
    desk.pick("fall")
    assert [(r.label, r.start, r.end) for r in desk.segments] == [("fall", 1.0, 3.0)]
    desk.undo()
    assert [(r.label, r.start, r.end) for r in desk.segments] == [("walk", None, 3.0)]
    assert desk.marks.editing is not None


def test_suggestions_are_accepted_or_corrected(tmp_path: Path) -> None:
    desk = desk_of(films(tmp_path))
    desk.suggest([Segment("walk", 0.1234567, 1.0, 0.9, 1.0), Segment("fall", 2.0, 3.0, 0.9, 3.0)])
    desk.accept(0)
    assert [s.label for s in desk.suggestions] == ["fall"]
    assert desk.segments[0].start == 0.123
    desk.undo()
    assert len(desk.suggestions) == 2
    desk.correct(1)
    assert desk.marks == Marks(2.0, 3.0)
    desk.next()
    assert desk.suggestions == ()
    assert desk.marks == Marks()
    desk.undo()  # back where the marks were
    assert desk.marks == Marks(2.0, 3.0)
    assert desk.position == 0


def test_a_video_stays_in_its_split(tmp_path: Path) -> None:
    films(tmp_path)
    (tmp_path / "segments.csv").write_text("path,label,split\nfilm 1.mp4,walk,test\n", encoding="utf-8")
    desk = desk_of(tmp_path)
    desk.pick("walk")
    desk.next()
    desk.mark_end(1.0)
    desk.pick("fall")
    assert [(Path(r.path).name, r.split) for r in desk.rows] == [
        ("film 1.mp4", "test"), ("film 0.mp4", "train"), ("film 1.mp4", "test"),
    ]  # fmt: skip
    read_manifest(tmp_path / "segments.csv")


def test_keys_and_labels(tmp_path: Path) -> None:
    films(tmp_path)
    assert len(set(KEYS)) == len(KEYS)
    assert not set(KEYS) & set(COMMANDS)
    desk = LabelDesk(tmp_path, labels=[f"action {i}" for i in range(40)])
    assert len(desk.keys) == len(KEYS)
    desk.pick(KEYS[12])
    assert desk.rows[0].label == "action 12"
    (tmp_path / "labels.txt").write_text("sit\nstand\n", encoding="utf-8")
    with pytest.raises(KinemaError, match=r"labels\.txt"):
        LabelDesk(tmp_path).add_label("walk")
    assert LabelDesk(tmp_path, labels=["walk"]).labels == ("sit", "stand")


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match="nowhere"):
        LabelDesk(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KinemaError, match="empty"):
        LabelDesk(tmp_path / "empty")
    desk = desk_of(films(tmp_path / "films"))
    for action, said in [
        (lambda: desk.pick("run"), "run"), (lambda: desk.mark_end(0.0), "film 0"), (desk.undo, "segments.csv"),
        (desk.previous, "first"), (lambda: desk.go_to(3), "3 videos"), (lambda: desk.arrange(["x.mp4"]), "x.mp4"),
        (lambda: desk.mark_start("1"), "start"),  # type: ignore[arg-type]
        (lambda: LabelDesk(tmp_path / "films", tmp_path / "labels.json"), "labels.json"),
    ]:  # fmt: skip
        with pytest.raises(KinemaError, match=said):
            action()
    desk.pick("walk")
    with pytest.raises(KinemaError, match="walk"):
        desk.pick("fall")
    # Somebody else removes the row: undo says so and nothing else changes.
    SegmentTable(desk.table.file).remove(Sample(desk.video, "walk"))
    with pytest.raises(KinemaError, match="another person"):
        desk.undo()
    desk.refresh()
    assert desk.rows == ()
