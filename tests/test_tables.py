"""CSV files as spreadsheets and text editors of many systems write them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kinema
from kinema.data.catalogues.annotation import read_csv
from kinema.data.labels import read_label_file
from kinema.data.manifest import read_manifest
from kinema.errors import KinemaError, RunError
from kinema.tables import csv_text, read_text, write_csv
from kinema.text import printable

PLAIN = "path,label,split,start,end\na.mp4,sit,train,0.5,2\nb.mp4,wink,test,,\n"
FORMS = {
    "plain": PLAIN.encode(),
    "commas at the end": (PLAIN + ",,,,\n,,,,\n").encode(),
    "commas everywhere": PLAIN.replace("\n", ",,\n").encode() + b",,,,,,\n",
    "spaces in an empty line": (PLAIN + " , ,, ,\n   \n\n").encode(),
    "empty lines above": ("\n,,,,\n" + PLAIN).encode(),
    "UTF-8 with a mark": ("\ufeff" + PLAIN).encode(),
    "UTF-16 with a mark": PLAIN.encode("utf-16"),
    "UTF-16 LE": PLAIN.encode("utf-16-le"),
    "UTF-16 BE": PLAIN.encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
    "Windows lines": PLAIN.replace("\n", "\r\n").encode(),
    "old Mac lines": PLAIN.replace("\n", "\r").encode(),
    "semicolons": PLAIN.replace(",", ";").replace("0.5", "0,5").encode(),
    "semicolons, a mark, empty lines": ("\ufeff" + PLAIN.replace(",", ";") + ";;;;\r\n").encode(),
    "tabulators": PLAIN.replace(",", "\t").encode(),
    "UTF-16 and tabulators": PLAIN.replace(",", "\t").encode("utf-16"),
    "sep=": ("sep=;\r\n" + PLAIN.replace(",", ";")).encode(),
    "quoted": b'"path","label","split","start","end"\n"a.mp4","sit","train","0.5","2"\n"b.mp4","wink","test","",""\n',
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_table(tmp_path: Path, form: str) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "data.csv").write_bytes(FORMS[form])
    samples = read_manifest(tmp_path / "data.csv").samples
    assert [(Path(s.path).name, s.label, s.split, s.start, s.end) for s in samples] == [
        ("a.mp4", "sit", "train", 0.5, 2.0),
        ("b.mp4", "wink", "test", None, None),
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b'path,label\n"a.mp4,sit\nb.mp4,wink\n', ("line 2", "quote")),
        (b'path,label\na.mp4,"sit\nb.mp4,wink"\n', ("line 3", "quote")),
        (b"path,label\na.mp4,sit,,x\n", ("line 2", "4 fields under 2 columns")),
        (b"path;label\na.mp4;sit;now\n", ("line 2", "3 fields under 2 columns", "';'")),
        ("path,label\na.mp4,Gr\u00f6\u00dfe\n".encode("cp1252"), ("not UTF-8",)),
        (b"\xff\xfepath,label", ("no column 'path'",)),
    ],
)
def test_what_cannot_be_read_is_told_with_its_reason(tmp_path: Path, text: bytes, parts: tuple[str, ...]) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "data.csv").write_bytes(text)
    with pytest.raises(KinemaError) as caught:
        read_manifest(tmp_path / "data.csv")
    for part in ("data.csv", *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-8"])
def test_other_files_beside_the_data(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "labels.txt").write_bytes("walk\r\nstep left\r\n\r\nstep right\r\n".encode(encoding))
    (tmp_path / "flip_map.json").write_bytes('{"step left": "step right"}'.encode(encoding))
    (tmp_path / "absent.csv").write_bytes("path;split\r\nc.mp4;train\r\n;\r\n".encode(encoding))
    (tmp_path / "data.csv").write_bytes("path,label,split\na.mp4,walk,train\n".encode(encoding))
    (tmp_path / "a.mp4").touch()
    manifest = read_manifest(tmp_path / "data.csv")
    assert manifest.labels == ("walk", "step left", "step right")
    assert manifest.flip_map == {"step left": "step right", "step right": "step left"}
    assert manifest.absent == {"train": ("c.mp4",)}


def test_old_mac_lines_of_labels_and_empty_lines_of_annotations(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"walk\rrun\r\r")
    assert read_label_file(tmp_path / "labels.txt") == ("walk", "run")
    (tmp_path / "train.csv").write_bytes(b"label,id\nwalk,1\n,\n , \nrun,2\n")
    assert [cells for _, cells in read_csv(tmp_path / "train.csv", ["label", "id"])] == [["walk", "1"], ["run", "2"]]


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match=r"gone\.csv"):
        read_text(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("header", "rows", "text"),
    [
        (("path", "label"), [("a.mp4", "x")], "path,label\na.mp4,x\n"),
        ((), [("a", 1, 0.5, None)], "a,1,0.5,\n"),
        (("a",), [], "a\n"),
        (("a", "b"), [("x,y", 'say "z"')], 'a,b\n"x,y","say ""z"""\n'),
        (("a", "b"), [("two\nlines", "")], 'a,b\n"two\nlines",\n'),
        (("a",), [("\udce9.mp4",)], "a\n\\udce9.mp4\n"),
        (("a",), [("café",)], "a\ncafé\n"),
        ((), [], ""),
    ],
)
def test_a_table_is_written_as_csv_that_reads_back(tmp_path: Path, header: tuple, rows: list, text: str) -> None:
    assert csv_text(header, rows) == text
    file = tmp_path / "new" / "table.csv"
    write_csv(file, header, rows)
    assert file.read_bytes() == text.encode("utf-8")
    with file.open(newline="", encoding="utf-8") as handle:
        read = list(csv.reader(handle))
    wanted = [
        [printable("" if cell is None else str(cell)) for cell in row] for row in ([header] if header else []) + rows
    ]
    assert read == wanted


def test_a_csv_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    write_csv(file, ("a",), [("1",)])

    def broken() -> Iterator[tuple[str]]:
        yield ("2",)
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        write_csv(file, ("a",), broken())
    assert file.read_text() == "a\n1\n"
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file"):
        write_csv(tmp_path / "file" / "table.csv", ("a",), [])


def test_one_module_writes_csv() -> None:
    package = Path(kinema.__file__).parent
    writing = {p.name for p in package.rglob("*.py") if re.search(r"csv\.(Dict)?[wW]riter\(", p.read_text("utf-8"))}
    assert writing == {"tables.py"}
