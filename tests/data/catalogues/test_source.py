from __future__ import annotations

from pathlib import Path

import pytest

from kinema.data.catalogues import NAMES, Source, parse
from kinema.data.labels import read_labels
from kinema.data.manifest import data_name, data_root, read_manifest
from kinema.errors import KinemaError


def test_a_catalogue_and_its_folder() -> None:
    assert parse("kinetics400:/data/k400") == Source("kinetics400", 1, Path("/data/k400"))
    assert parse("ucf101:relative/ucf") == Source("ucf101", 1, Path("relative/ucf"))
    assert parse("ucf101/3:/data/a b:c") == Source("ucf101", 3, Path("/data/a b:c"))
    assert parse("hacs:~/hacs") == Source("hacs", 1, Path.home() / "hacs")
    assert parse(Path("something_v2:/data/ssv2")) == Source("something_v2", 1, Path("/data/ssv2"))


def test_paths_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("data/clips", "clips.csv", "C:/clips", "https://host/clips", "a/b:c", "", ".", "ucf-101"):
        assert parse(text) is None, text
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ucf101").mkdir()
    assert parse("ucf101") is None  # a folder of that name is a folder


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ucf101", "ucf101 is a catalogue without its folder: give ucf101:FOLDER"),
        ("ucf101:", "give ucf101:FOLDER"),
        ("hmdb51/2", "give hmdb51/2:FOLDER"),
        ("ucf100:/data", "unknown catalogue 'ucf100': did you mean 'ucf101'?"),
        ("no-such-set:/data", "unknown catalogue 'no-such-set'; choose from "),
        ("ucf101/4:/data", "no official split '4': give one of ucf101/1, ucf101/2, ucf101/3 before :/data"),
        ("hmdb51/a:/data", "no official split 'a'"),
        ("kinetics400/2:/data", "give kinetics400:/data instead of kinetics400/2:/data"),
        ("hacs:/no/such/folder", "no folder '/no/such/folder' for the catalogue hacs"),
    ],
)
def test_what_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(KinemaError) as caught:
        read_manifest(text)
    assert sentence in str(caught.value)


def test_names_for_folders(tmp_path: Path) -> None:
    assert data_name("ucf101:/data") == "ucf101-1"
    assert data_name("hmdb51/3:/data") == "hmdb51-3"
    assert data_name("something_v2:/data") == "something_v2"
    assert data_name(tmp_path / "my clips" / "manifest.csv") == "my_clips"
    assert data_name(tmp_path / "split 1.csv") == "split_1"
    assert data_name(tmp_path / "clips.v2") == "clips.v2"
    assert data_name(tmp_path / "clips" / "..") == data_name(tmp_path)
    assert data_name("/") == "data"


def test_root_of_the_paths(tmp_path: Path) -> None:
    assert data_root("ucf101/2:/data") == Path("/data")
    assert data_root(tmp_path) == tmp_path
    assert data_root(tmp_path / "a.csv") == tmp_path


def test_every_catalogue_has_its_labels() -> None:
    counts = {"ucf101": 101, "hmdb51": 51, "kinetics400": 400, "kinetics700": 700, "hacs": 200,
              "moments_in_time": 339, "something_v1": 174, "something_v2": 174}  # fmt: skip
    for name, count in counts.items():
        assert len(set(read_labels(name))) == count
    for name in NAMES:
        assert read_labels(name), name
