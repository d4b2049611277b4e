"""What the system refuses for one video costs that video: in a test, a training, the doctor, a pack, a prediction."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image
from system_errors import REFUSALS, as_nobody, refuse
from tiny import moving_square, write_video

from kinema import Recognizer, create_model
from kinema.cli import main
from kinema.data.datasets import TrainClips
from kinema.data.doctor import index
from kinema.data.doctor.duplicates import identical
from kinema.data.doctor.examine import examine
from kinema.data.manifest import Manifest, read_manifest, survey
from kinema.data.packing.pack import pack
from kinema.errors import KinemaError, UnreadableVideo
from kinema.evaluation.views import explain
from kinema.files import describe, is_folder, local_path, look_up, on_behalf_of, reason

LONG = "n" * 260 + ".mp4"
TRAIN = [
    "--model", "tsn_r18", "--options", "{width: 0.0625}", "--clip", "{frames: 2, short_side: 36, crop: 32}",
    "--epochs", "1", "--batch", "4", "--workers", "0", "--device", "cpu", "--logger", "none",
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Class folders in splits, with a folder of frames in each: 8 videos of training and 4 of a test."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 1)):
        for label in ("left", "right"):
            place = tmp_path / "data" / split / label
            for i in range(count):
                write_video(place / f"{i}.mp4", moving_square(rng, label == "right"))
            (place / "frames").mkdir()
            for i, picture in enumerate(moving_square(rng, label == "right")):
                Image.fromarray(picture).save(place / "frames" / f"{i:03}.jpg")
    return tmp_path / "data"


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = create_model("tsn_r18", num_classes=2, width=0.0625)
    spec = model.clip_spec.replace(frames=2, short_side=36, crop=32)
    return Recognizer(model, ("left", "right"), spec).save(tmp_path_factory.mktemp("network"))


def odd_rows(data: Path) -> list[str]:
    """Adds a CSV with the training videos and rows that no system can hold; gives the names of these."""
    odd = [LONG, f"{'m' * 5000}/a.mp4", "nul\0byte.mp4", f"train/left/{LONG}/deeper.mp4"]
    rows = [(f"train/{label}/{i}.mp4", label) for label in ("left", "right") for i in range(3)]
    with (data / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), *rows, *((name, "left") for name in odd)])
    return odd


@pytest.mark.parametrize("looks_fine", [False, True], ids=["unknown", "known"])
@pytest.mark.parametrize("number", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("name", ["0.mp4", "frames"])
def test_a_test_goes_on_and_says_why(
    name: str, number: int, looks_fine: bool, data: Path, network: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    refuse(monkeypatch, data / "test" / "left" / name, number=number, looks_fine=looks_fine)
    out = tmp_path / "out"
    words = ["test", str(network), "--data", str(data), "--out", str(out), "--workers", "0", "--device", "cpu"]
    assert main(words) == 0
    with (out / "ledger.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == [f"test/left/{name}"]
    assert reason(OSError(number, os.strerror(number))) in rows[0][1] or looks_fine
    coverage = json.loads((out / "metrics.json").read_text())["metrics"]["coverage"]
    assert (coverage["expected"], coverage["read"], coverage["failed"]) == (4, 3, 1)
    captured = capsys.readouterr()
    assert "None" not in captured.out.replace("none", "") + captured.err


def test_a_training_goes_on_when_a_folder_is_closed_meanwhile(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = TrainClips.__getitem__, []

    def close(self: TrainClips, key: object) -> object:
        calls.append(key)
        if len(calls) == 4:
            refuse(monkeypatch, data / "train" / "right", number=REFUSALS["EACCES"])
        return plain(self, key)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainClips, "__getitem__", close)
    run = tmp_path / "run"
    assert main(["train", *TRAIN, "--epochs", "2", "--data", str(data), "--out", str(run)]) == 0
    with (run / "training-ledger.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    names = [str(data / "train" / "right" / name) for name in ("0.mp4", "1.mp4", "2.mp4", "frames")]
    assert [row[0] for row in rows] == names
    assert all("permission denied" in row[1].lower() for row in rows)
    assert json.loads((run / "recognizer" / "card.json").read_text())["training"]["coverage"]["failed"] == 4


def test_names_that_no_file_can_have_are_rows(
    data: Path, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = odd_rows(data)
    table = str(data / "list.csv")
    found = survey(table)
    assert [f.code for f in found.findings] == ["unreachable"]
    assert len(found.findings[0].paths) == len(odd)
    assert main(["train", *TRAIN, "--data", table, "--out", str(tmp_path / "run")]) == 0
    assert "4 paths cannot be reached and will count as unreadable" in capsys.readouterr().out
    held_out = {s.path for s in read_manifest(table).split("test").samples}
    with (tmp_path / "run" / "training-ledger.csv").open(newline="", encoding="utf-8") as file:
        assert {row[0] for row in list(csv.reader(file))[1:]} == {str(data / name) for name in odd} - held_out
    words = ["--split", "all", "--workers", "0", "--device", "cpu", "--out", str(tmp_path / "test"), "--json"]
    assert main(["test", str(network), "--data", table, *words]) == 0
    coverage = json.loads(capsys.readouterr().out)["metrics"]["coverage"]
    assert (coverage["expected"], coverage["failed"]) == (10, 4)
    report = examine(table)
    (unreadable,) = (f for f in report.findings if f.code == "unreadable")
    assert [path.rsplit(": ", 2)[0].startswith(str(data)) for path in unreadable.paths] == [True] * 4
    assert "unreachable" not in {f.code for f in report.findings}
    packed = pack(table, tmp_path / "packed", workers=1)
    assert {path for path, _ in packed.failures} == {str(data / name) for name in odd}
    assert (packed.written, len(read_manifest(tmp_path / "packed", check=False).samples)) == (6, 10)


@pytest.mark.parametrize("number", REFUSALS.values(), ids=REFUSALS)
def test_the_doctor_names_it_and_looks_at_the_rest(
    number: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    bad = [data / "train" / "left" / "0.mp4", data / "train" / "right" / "frames"]
    with monkeypatch.context() as patch:
        refuse(patch, *bad, number=number)
        report = examine(data)
    (unreadable,) = (f for f in report.findings if f.code == "unreadable")
    assert [line.startswith(f"{path}: ") for line, path in zip(unreadable.paths, bad, strict=True)] == [True, True]
    assert sum(split.samples for split in report.splits.values()) == 12
    # What has passed is not remembered.
    assert not [f for f in examine(data).findings if f.code == "unreadable"]


@pytest.mark.parametrize("looks_fine", [False, True])
def test_an_error_of_the_system_is_not_kept(
    looks_fine: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    video = str(data / "train" / "left" / "0.mp4")
    with monkeypatch.context() as patch:
        refuse(patch, Path(video), number=REFUSALS["EIO"], looks_fine=looks_fine)
        assert isinstance(index.probe_all([video], data)[video], UnreadableVideo)
    assert not isinstance(index.probe_all([video], data)[video], UnreadableVideo)


def test_copies_are_looked_for_among_what_can_be_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c, d = (data / "train" / "left" / f"{name}.mp4" for name in "0abc")
    for copy in (b, c, d):
        shutil.copy(a, copy)
    refuse(monkeypatch, b, number=REFUSALS["ESTALE"])
    with monkeypatch.context() as patch:
        refuse(patch, c, number=REFUSALS["EIO"], looks_fine=True)  # found out while its bytes are hashed
        groups, unread = identical(map(str, (a, b, c, d)))
    assert groups == [(str(a), str(d))]
    assert set(unread) == {str(b), str(c)}
    assert "Stale" in unread[str(b)]
    assert "Input/output" in unread[str(c)]


@pytest.mark.parametrize("looks_fine", [False, True])
def test_packing_goes_on_and_leaves_no_half_copies(
    looks_fine: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "packed"
    bad = [data / "train" / "left" / "1.mp4", data / "train" / "right" / "frames" / "005.jpg"]
    with monkeypatch.context() as patch:
        refuse(patch, *bad, number=REFUSALS["EIO"], looks_fine=looks_fine)
        done = pack(data, out, workers=1)
    assert [Path(path) for path, _ in done.failures] == [bad[0], bad[1].parent]
    assert (done.videos, done.written) == (12, 10)
    left = {row["packed_from"]: row["path"] for row in csv.DictReader((out / "manifest.csv").open(encoding="utf-8"))}
    for name in ("train/left/1.mp4", "train/right/frames"):
        assert not (out / left[name]).exists()
    assert not list(out.rglob("*.part"))
    again = pack(data, out, workers=1)  # the disk is back
    assert (again.written, again.kept, again.failures) == (2, 10, ())
    with monkeypatch.context() as patch:
        refuse(patch, data / "train" / "left" / "0.mp4", number=REFUSALS["ESTALE"])
        assert pack(data, out, workers=1).kept == 12  # what is packed already is not lost with its source


@pytest.mark.parametrize("window", [[], ["--window", "0.5"]], ids=["whole", "windows"])
def test_predicting_goes_on(
    window: list[str], data: Path, network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [data / "train" / "left" / "1.mp4", data / "train" / "left" / "frames", data / "train" / "right"]
    refuse(monkeypatch, bad[0], bad[1], number=REFUSALS["EIO"])
    refuse(monkeypatch, bad[2], number=REFUSALS["EACCES"], looks_fine=True)
    long = str(data / LONG)
    assert main(["predict", str(network), str(data / "train"), long, "--json", "--device", "cpu", *window]) == 1
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    failed = {row["path"]: row["error"] for row in rows if row["error"] is not None}
    assert set(failed) >= {str(bad[0]), str(bad[2]), long}
    assert "Input/output" in failed[str(bad[0])]
    assert "Permission denied" in failed[str(bad[2])]
    assert {row["path"] for row in rows if row["error"] is None} == {
        str(data / "train" / "left" / f"{i}.mp4") for i in (0, 2)
    }


def test_views_are_explained_by_the_first_video_that_can_be_read(
    data: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, data / "test" / "left", number=REFUSALS["EIO"])
    tested = read_manifest_of(data)
    assert "right/0.mp4" in explain(tested, Recognizer.load(network).spec, 1, 1)


def read_manifest_of(data: Path) -> Manifest:
    """The test split, listed before its disk fails."""
    rows = ["path,label,split"] + [f"{data}/test/{k}/0.mp4,{k},test" for k in ("left", "right")]
    (data / "test.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return read_manifest(data / "test.csv", check=False).split("test")


@pytest.mark.parametrize("which", ["class", "split", "root"])
@pytest.mark.parametrize("command", ["train", "test", "doctor"])
def test_a_folder_that_cannot_be_listed_is_named(
    command: str, which: str, data: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    closed = {"class": data / "train" / "left", "split": data / "train", "root": data}[which]
    refuse(monkeypatch, closed, number=REFUSALS["EACCES"], looks_fine=True)
    words = {
        "train": ["train", *TRAIN, "--data", str(data), "--out", str(tmp_path / "run")],
        "test": ["test", str(network), "--data", str(data), "--workers", "0", "--device", "cpu"],
        "doctor": ["data", "doctor", str(data)],
    }[command]
    status = main(words)
    out, err = capsys.readouterr()
    assert status == (1 if command == "doctor" and which != "root" else 2)
    assert str(closed) in out + err
    assert "Permission denied" in out + err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://camera:554/1",
        "RTMP://a/b",
        "http://x.invalid/a.mp4",
        "https://x.invalid/a?b=c",
        "s3://bucket/key",
        "gs://b/k",
    ],
)
@pytest.mark.parametrize("command", ["predict", "test", "train", "doctor", "pack", "row"])
def test_an_address_is_refused_with_the_true_reason(
    command: str, address: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.csv").write_text(f"path,label\n{address},left\n")
    words = {
        "predict": ["predict", str(network), address, "--device", "cpu"],
        "test": ["test", str(network), "--data", address, "--device", "cpu"],
        "train": ["train", *TRAIN, "--data", address],
        "doctor": ["data", "doctor", address],
        "pack": ["data", "pack", address, str(tmp_path / "out")],
        "row": ["train", *TRAIN, "--data", str(tmp_path / "list.csv")],
    }[command]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert address in err
    assert "Kinema reads files" in err


def test_paths_that_look_like_addresses(tmp_path: Path) -> None:
    for text in ("C://videos/a.mp4", "kinetics400:/data", "a:b//c", "clips//a.mp4", "hf-hub:org/name", "0"):
        assert local_path(text) == text
    assert local_path("file:///data/a%20b.mp4") == local_path("file://localhost/data/a b.mp4") == "/data/a b.mp4"
    assert local_path((tmp_path / "größe 大.mp4").as_uri()) == str(tmp_path / "größe 大.mp4")
    with pytest.raises(KinemaError, match="stream"):
        local_path("rtsp://camera")


def test_reasons_are_never_empty() -> None:
    for error in (OSError(), OSError("text"), OSError(5, ""), OSError(None, None), ValueError("embedded null byte")):
        assert reason(error).strip(" :") not in ("", "None")
        if isinstance(error, OSError):
            assert describe(error, "kinema train").startswith("kinema train: ")
    for path in ("a\0b", "\ud800.mp4"):
        assert not is_folder(path)
        with pytest.raises(ValueError, match=r"null|surrogates"):
            look_up(path)
        with pytest.raises(UnreadableVideo, match="no file can have this name"), on_behalf_of(path):
            look_up(path)
    with pytest.raises(ValueError, match="a bug"), on_behalf_of("a.mp4"):
        raise ValueError("a bug")


AS_NOBODY = """
import contextlib, io, json, sys
import kinema.recognizer
from kinema.cli import main
print("ready", flush=True)
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(json.loads(line))
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may enter; pytest closes its own ones whenever one of its processes begins."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_rights_of_another_user(data: Path, network: Path, shared: Path) -> None:
    """Without any stand-in: a user who may not enter a folder, nor open a file."""
    command = as_nobody([sys.executable, "-c", AS_NOBODY])
    data, network = shutil.copytree(data, shared / "data"), shutil.copytree(network, shared / "network")
    network.chmod(0o755)
    free = shared / "out"
    free.mkdir()
    free.chmod(0o777)
    closed = [data / "test" / "left" / "0.mp4", data / "test" / "right" / "frames", data / "train" / "left"]
    for path in closed[:2]:
        path.chmod(0)
    listed = [f"{split}/{label}/0.mp4,{label},{split}" for split in ("train", "test") for label in ("left", "right")]
    (data / "list.csv").write_text("\n".join(["path,label,split", *listed]) + "\n")
    environment = os.environ | {"KINEMA_CACHE": str(free / "cache"), "HOME": str(free), "MPLCONFIGDIR": str(free)}
    device = ("--device", "cpu")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        told, heard = other.stdin, other.stdout

        def kinema(*words: str) -> tuple[int, str, str]:
            told.write(json.dumps(words) + "\n")
            told.flush()
            return tuple(json.loads(heard.readline()))

        if heard.readline() != "ready\n":
            pytest.skip("this Python is not another user's")
        status, out, err = kinema("test", str(network), "--data", str(data), "--out", str(free / "t"), *device)
        assert (status, "4 expected / 2 read / 2 failed" in out) == (0, True), err
        report = json.loads(kinema("data", "doctor", str(data), "--json")[1])
        found = {finding["code"]: finding["paths"] for finding in report["findings"]}
        assert [path.split(": ")[0] for path in found["unreadable"]] == list(map(str, closed[:2]))
        closed[2].chmod(0)
        status, out, err = kinema("train", *TRAIN, "--data", str(data), "--out", str(free / "run"))
        assert (status, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"kinema: {closed[2]}: Permission denied")
        status, out, err = kinema("train", *TRAIN, "--data", str(data / "list.csv"), "--out", str(free / "run"))
        assert status == 0, err
        assert "1 path cannot be reached and will count as unreadable" in out
        assert "1 training and 0 validation videos could not be read" in out
        out = kinema("predict", str(network), str(data / "train"), "--json", *device)[1]
        rows = [json.loads(line) for line in out.splitlines()]
        assert [row["path"] for row in rows if row["error"]] == [str(closed[2])]
        assert len(rows) == 4 + 1
        told.close()
