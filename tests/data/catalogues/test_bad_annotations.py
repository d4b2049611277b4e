"""Annotation files that are damaged or number the labels in another way: one sentence each, with file and mend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from miniatures import lay_out, write

from kinema.data.labels import read_labels
from kinema.data.manifest import read_manifest
from kinema.errors import KinemaError

V2 = [{"id": "1", "template": "Holding [something]"}]
ONE_BASED = {label: str(i) for i, label in enumerate(read_labels("something_v2"), 1)}


@pytest.mark.parametrize(
    ("name", "file", "text", "sentence"),
    [
        ("ucf101", "ucfTrainTestlist/trainlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 0\n",
         "line 1: ApplyEyeMakeup has the number 0, but in kinema's list of ucf101 it is 1"),
        ("ucf101", "ucfTrainTestlist/trainlist01.txt", "Apply/v_x.avi 1\n",
         "line 1: 'Apply/v_x.avi' does not start with a class"),
        ("ucf101", "ucfTrainTestlist/testlist01.txt", "", "testlist01.txt is empty"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "0 ApplyEyeMakeup\n1 HandstandPushups\n",
         "its labels start at 0 but must start at 1"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "ApplyEyeMakeup 1\n", "line 1: 'ApplyEyeMakeup 1' is not a number"),
        ("hmdb51", "testTrainMulti_7030_splits/wave_test_split1.txt", "a.avi 1\nb.avi 3\n",
         "line 2: 'b.avi 3' does not end with 0, 1"),
        ("hmdb51", "testTrainMulti_7030_splits/waving_test_split1.txt", "a.avi 1\n", "did you mean 'wave'"),
        ("hmdb51", "hug/a.txt", "", "has no hug_test_split1.txt for the videos in"),
        ("kinetics400", "annotations/train.csv", "label,youtube,time_start,time_end\nabseiling,a,1,2\n",
         "no column 'youtube_id' in its first line (unknown column 'youtube_id': did you mean 'youtube'?)"),
        ("kinetics400", "annotations/train.csv", "label,youtube_id,time_start,time_end\n", "lists no video"),
        ("kinetics400", "annotations/train.csv", "", "the file is empty"),
        ("kinetics400", "annotations/train.csv", "label,youtube_id,time_start,time_end\nabseiling,a\n",
         "line 2: fewer than 4 cells"),
        ("kinetics400", "annotations/train.csv", "label,youtube_id,time_start,time_end\nabseiling,a,one,2\n",
         "line 2: 'one' is not a time in seconds"),
        ("kinetics400", "annotations/train.csv", "label,youtube_id,time_start,time_end\n1,a,1,2\n400,b,1,2\n",
         "its labels go from 1 to 400, but the indices of kinema's list of kinetics400 go from 0 to 399: subtract 1"),
        ("hacs", "HACS_v1.1.1/HACS_clips_v1.1.1.csv",
         "classname,youtube_id,subset,start,end,label\nArchery,a,trainin,1,2,1\n", "the subset 'trainin' is not"),
        ("hacs", "HACS_v1.1.1/HACS_clips_v1.1.1.csv",
         "classname,youtube_id,subset,start,end,label\nArchery,a,training,1,2,-1\n", "has no row with the label 1"),
        ("moments_in_time", "moments_categories.txt", "clapping,1\nplaying+fun,2\n",
         "its labels start at 1 but must start at 0"),
        ("moments_in_time", "moments_categories.txt", "clapping 0\n",
         "line 1: 'clapping 0' is not a class and its number"),
        ("moments_in_time", "validationSet.csv", "clapping/a.mp4\n", "line 1: fewer than 2 cells"),
        ("something_v1", "something-something-v1-train.csv", "1,Holding something\n", "fewer than 2 cells"),
        ("something_v1", "something-something-v1-train.csv", "1;174\n2;1\n", "go from 1 to 174"),
        ("something_v2", "labels/something-something-v2-train.json", "[", "is not JSON"),
        ("something_v2", "labels/something-something-v2-train.json", '[{"name": 1}]', "is not a list of entries"),
        ("something_v2", "labels/something-something-v2-train.json", json.dumps([{**V2[0], "template": "Hold it"}]),
         "line 1: unknown label 'Hold it'"),
        ("something_v2", "labels/something-something-v2-train.json", "{}", "lists no video"),
        ("something_v2", "labels/something-something-v2-validation.json", "{}", "lists no video"),
        ("something_v2", "labels/something-something-v2-validation.json", "[]", "lists no video"),
        ("something_v2", "labels/something-something-v2-labels.json", json.dumps(ONE_BASED),
         "its labels start at 1 but must start at 0"),
        ("something_v2", "labels/something-something-v2-labels.json", "[]", "is not a JSON object of labels"),
    ],
)  # fmt: skip
def test_one_sentence(name: str, file: str, text: str, sentence: str, tmp_path: Path) -> None:
    data = lay_out(name, tmp_path)
    write(tmp_path / file, text)
    with pytest.raises(KinemaError) as caught:
        read_manifest(data)
    message = str(caught.value)
    assert sentence in message
    assert Path(file).name in message or "has no hug" in message
    assert "\n" not in message


def test_the_segments_of_hacs_in_another_form(tmp_path: Path) -> None:
    write(tmp_path / "HACS_segments_v1.1.1.json", '{"videos": []}')
    with pytest.raises(KinemaError, match="the form of ActivityNet"):
        read_manifest(f"hacs:{tmp_path}")
    video = {"subset": "training", "annotations": [{"label": "Tangoo", "segment": [1, 4.5]}]}
    write(tmp_path / "HACS_segments_v1.1.1.json", json.dumps({"database": {"x": video}}))
    with pytest.raises(KinemaError, match="unknown label 'Tangoo': did you mean 'Tango'"):
        read_manifest(f"hacs:{tmp_path}")


@pytest.mark.parametrize(
    "database", [{}, {"x": {"subset": "testing"}}, {"x": {"subset": "training", "annotations": []}}]
)
def test_segments_of_hacs_that_name_no_video(tmp_path: Path, database: dict[str, object]) -> None:
    write(tmp_path / "HACS_segments_v1.1.1.json", json.dumps({"database": database}))
    with pytest.raises(KinemaError, match=r"HACS_segments_v1.1.1.json has no segment for training or validation: "):
        read_manifest(f"hacs:{tmp_path}")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    data = lay_out("kinetics400", tmp_path)
    (tmp_path / "annotations/val.csv").write_bytes(b"label,\xff")
    with pytest.raises(KinemaError, match=r"val\.csv is not UTF-8 \(byte 6\)"):
        read_manifest(data)
