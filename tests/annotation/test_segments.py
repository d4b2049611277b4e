"""Tables of segments: round trips, damage by hand, and several writers at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinema.annotation import SegmentTable
from kinema.data.sources import Sample
from kinema.errors import KinemaError

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda name: name not in (".", "..", "t.csv"))  # fmt: skip
LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(NAMES, LABELS, st.floats(0, 1e5), st.floats(0.001, 1e5), st.sampled_from([None, "train", "my split"]))
def test_what_is_written_is_read(
    tmp_path: Path, name: str, label: str, start: float, length: float, split: str | None
) -> None:
    table = SegmentTable(tmp_path / "t.csv")
    table.file.unlink(missing_ok=True)
    (tmp_path / name).touch()  # what is there is never taken for another spelling
    try:
        rows = table.add(Sample(name, label, split, start, start + length))
    except KinemaError:
        assert not name.strip() or not label.strip() or not label.replace(";", "").strip()
        return
    assert table.read() == rows
    assert (rows[0].start, rows[0].end, rows[0].split) == (start, start + length, split)
    assert SegmentTable(table.file).remove(rows[0]) == ()
    assert table.read() == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label,start,end\na.mp4,walk,3,2\n", "line 2: start 3 must be before end 2"),
        ("path,label,start,end\na.mp4,walk,1,2\nb.mp4,walk,soon,2\n", "line 3: start is 'soon'"),
        ("path,label,start\na.mp4,walk,1\n\nb.mp4,walk,-1\n", "line 4: start is '-1'"),
        ("path,label\na.mp4,walk\na.mp4,fall\n", "line 3: .*walk"),
        ("path,label\na.mp4,walk,1,2\n", "line 2: 4 fields"),
        ('path,label\na.mp4,"walk\n', "line 2: a quote"),
        ("path,lable\na.mp4,walk\n", "lable"),
        ("path,label\n,walk\n", "line 2: the path is empty"),
        ("path,label\na.mp4,\n", "line 2: the label is empty"),
        ("", "path"),
        ("path,label,start,end\na.mp4,walk,nan,2\n", "line 2: start is 'nan'"),
    ],
)  # fmt: skip
def test_damage_is_told_with_the_line_and_stays(tmp_path: Path, text: str, said: str) -> None:
    table = SegmentTable(tmp_path / "segments.csv")
    table.file.write_text(text, encoding="utf-8")
    with pytest.raises(KinemaError, match=rf"segments\.csv.*{said}"):
        table.read()
    with pytest.raises(KinemaError, match=said):
        table.add(Sample("b.mp4", "walk"))
    assert table.file.read_text(encoding="utf-8") == text


def test_what_others_have_written_is_kept_or_refused(tmp_path: Path) -> None:
    table = SegmentTable(tmp_path / "segments.csv")
    # As a spreadsheet in some countries saves it.
    table.file.write_text("path;label;start\r\na.mp4;walk;0,5\r\n", encoding="utf-8-sig")
    assert [r.start for r in table.add(Sample("b.mp4", "fall", None, 1.0, 2.0))] == [0.5, 1.0]
    assert table.file.read_text(encoding="utf-8").splitlines()[1] == "a.mp4,walk,,0.500,"
    table.file.write_text("path,label,note\na.mp4,walk,blurred\n", encoding="utf-8")
    with pytest.raises(KinemaError, match=r"line 1.*note"):
        table.add(Sample("b.mp4", "fall"))
    assert "blurred" in table.file.read_text(encoding="utf-8")


def test_rows_that_cannot_be(tmp_path: Path) -> None:
    table = SegmentTable(tmp_path / "segments.csv")
    for row, said in [
        (Sample("a.mp4", " "), "label"), (Sample("a.mp4", "x", None, 2.0, 2.0), "a.mp4"),
        (Sample("a.mp4", "x", None, -1.0), "start"), (Sample("a.mp4", "x", None, None, float("inf")), "end"),
        (Sample("a\udce9.mp4", "x"), "UTF-8"),
    ]:  # fmt: skip
        with pytest.raises(KinemaError, match=said):
            table.add(row)
    assert not table.file.exists()
    table.add(Sample("a.mp4", "x"))
    with pytest.raises(KinemaError, match="whole video"):
        table.add(Sample("a.mp4", "y"))
    (row,) = table.add(Sample("b.mp4", "y"), 0)[1:]
    with pytest.raises(KinemaError, match="two rows"):
        table.replace(row, Sample("b.mp4", "x"))


def test_several_writers_lose_no_row(tmp_path: Path) -> None:
    file = tmp_path / "segments.csv"
    code = (
        "import sys; from kinema.annotation import SegmentTable; from kinema.data.sources import Sample\n"
        "for i in range(15): SegmentTable(sys.argv[1]).add(Sample(f'{sys.argv[2]} {i}.mp4', 'walk', None, 1.0, 2.0))"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(file), name]) for name in ("a", "b")]

    def write(name: str) -> None:
        for i in range(15):
            SegmentTable(file).add(Sample(f"{name} {i}.mp4", "walk"))

    threads = [threading.Thread(target=write, args=(name,)) for name in ("c", "d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0]
    assert len(SegmentTable(file).read()) == 60
    assert {p.name for p in tmp_path.iterdir()} == {"segments.csv", ".segments.csv.lock"}
