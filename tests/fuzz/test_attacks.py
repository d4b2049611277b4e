"""Files that are made to harm: pickles, libraries, playlists, names that lead out of a folder."""

from __future__ import annotations

import io
import json
import pickle
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from data.plain_videos import write_video
from evaluation.mixed_data import recognizer
from torch import nn

from kinema.backends.torch_program import TorchProgram
from kinema.config_file import read_yaml
from kinema.data.addresses import fetch, list_address
from kinema.data.manifest import read_manifest
from kinema.data.packing.pack import pack
from kinema.data.video import VideoReader, is_video
from kinema.errors import KinemaError, UnreadableVideo
from kinema.labelling import read_labels
from kinema.labelling.ledger import Ledger
from kinema.labelling.rows import Row
from kinema.recognizer import Recognizer
from kinema.training.checkpoint import AtomicCheckpointIO
from kinema.weights.importing import read_tensors


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return _leave_trace, (str(self.trace),)


def _leave_trace(path: str) -> object:
    Path(path).write_text("code was run")
    return {}


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def disguises(trace: Path) -> dict[str, bytes]:
    """Pickles with code, as plain ones, as files of `torch.save`, and nested."""
    return {
        "pickle": pickle.dumps(Evil(trace)),
        "old pickle": pickle.dumps({"w": Evil(trace)}, protocol=0),
        "torch": _saved(Evil(trace)),
        "within": _saved({"state_dict": {"w": torch.zeros(2), "x": [Evil(trace)]}}),
    }


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("kind", ["pickle", "old pickle", "torch", "within"])
def test_a_pickle_with_code_never_runs(kind: str, tmp_path: Path) -> None:
    data = disguises(tmp_path / "trace")[kind]
    folder = recognizer().save(tmp_path / "rec")
    (folder / "model.safetensors").write_bytes(data)
    checkpoint = tmp_path / "epoch-0001.ckpt"
    checkpoint.write_bytes(data)
    readers: list[Callable[[], object]] = [
        lambda: Recognizer.load(folder), lambda: AtomicCheckpointIO().load_checkpoint(checkpoint)
    ]  # fmt: skip
    for name in ("w.pth", "w.safetensors", "w.bin"):
        (tmp_path / name).write_bytes(data)
        readers.append(lambda file=tmp_path / name: read_tensors(file))  # type: ignore[misc]
    for read in readers:
        with pytest.raises(KinemaError):
            read()
    assert not (tmp_path / "trace").exists()


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "a.yaml").write_text(f"model: !!python/object/apply:pathlib.Path.touch [{trace}]\n")
    with pytest.raises(KinemaError, match=r"a\.yaml"):
        read_yaml(tmp_path / "a.yaml")
    assert not trace.exists()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))
    found.example_inputs = None
    path = tmp_path_factory.mktemp("program") / "sound.pt2"
    torch.export.save(found, path, extra_files={"kinema.json": "{}"})
    with zipfile.ZipFile(path) as archive:
        if not any(name.endswith("/archive_format") for name in archive.namelist()):
            pytest.skip("this PyTorch writes programs in another format, which is refused")
    TorchProgram().open(path)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize(
    ("name", "twice"),
    [
        ("sound/data/aotinductor/model/model.so", False),
        ("sound/data/constants/custom_obj_0", False),
        ("sound/data/weights/weight_0.pkl", False),
        ("sound/DATA/SAMPLE_INPUTS/MODEL.PT", False),
        ("sound/data/sample_inputs/model.pt", True),
        ("sound/data/weights/model_weights_config.json", True),
        ("version", False),
        ("serialized_state_dict.pt", False),
        ("sound/../../escape", False),
        ("/etc/escape", False),
    ],
)
def test_a_program_with_anything_else_is_refused_before_pytorch_sees_it(
    name: str, twice: bool, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pt2"
    with zipfile.ZipFile(program) as there, zipfile.ZipFile(path, "w") as changed:
        for old in there.namelist():
            changed.writestr(old, there.read(old))
        assert (name in there.namelist()) == twice
        changed.writestr(name, pickle.dumps(Evil(tmp_path / "trace")))
    monkeypatch.setattr(torch.export, "load", lambda path: pytest.fail("PyTorch was asked to load it"))
    with pytest.raises(KinemaError, match=r"x\.pt2"):
        TorchProgram().open(path)
    assert not (tmp_path / "trace").exists()


def test_the_old_format_of_programs_is_not_unpickled(program: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "x.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/archive_format", "pt2")
        archive.writestr("version", "8.1")
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", _saved(Evil(trace)))
        archive.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(KinemaError, match=r"x\.pt2"):
        TorchProgram().open(path)
    assert not trace.exists()


# --- names


@pytest.mark.parametrize("name", ["../outside.parquet", "/etc/passwd", "a/../../outside.parquet", "..", "", "part\x00"])
def test_a_manifest_of_labels_reaches_no_file_outside(name: str, tmp_path: Path) -> None:
    table = tmp_path / "table"
    settings = {"card_hash": "c"}
    ledger = Ledger(table, settings, features=False)
    ledger.add(Row("a", None, None, 0, "h", "c"))
    ledger.finish({})
    outside = tmp_path / "outside.parquet"
    (table / "part-000001.parquet").rename(outside)
    manifest = json.loads((table / "manifest.json").read_text())
    manifest["parts"][0]["file"] = name
    (table / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(KinemaError, match="manifest"):
        read_labels(table)
    with pytest.raises(KinemaError, match="manifest"):
        Ledger(table, settings, features=False)
    assert outside.exists()


def test_packing_writes_and_removes_within_its_folder_only(tmp_path: Path) -> None:
    (tmp_path / "data" / "walk").mkdir(parents=True)
    write_video(tmp_path / "data" / "walk" / "a.mp4", frames=2)
    out = tmp_path / "out"
    pack(tmp_path / "data", out, short_side=16, workers=1)
    (tmp_path / "victim.mp4").write_bytes(b"x")
    record = json.loads((out / "packed.jsonl").read_text())
    lines = [{**record, "source": "gone", "number": number} for number in ("../../victim", -1, 1.5, None, [0], True)]
    (out / "packed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    packed = pack(tmp_path / "data", out, short_side=16, workers=1)
    assert (tmp_path / "victim.mp4").exists()
    assert packed.videos == packed.written == 1


def test_names_within_an_archive_cannot_leave_the_folder_of_the_copy(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", frames=2)
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        for name in ("../../escape.mp4", f"{tmp_path}/escape.mp4", "in/side.mp4"):
            archive.writestr(name, video.read_bytes())
    target = tmp_path / "copies"
    target.mkdir()
    for address in list_address(f"zip://**/*.mp4::{tmp_path}/clips.zip"):
        try:
            copy = fetch(address, target)
        except UnreadableVideo:
            continue
        assert copy.parent == target
    assert sorted(p.name for p in tmp_path.rglob("*.mp4")) == ["a.mp4", "video.mp4"]


def test_links_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("walk", "run"):
            (tmp_path / split / label).mkdir(parents=True)
            (tmp_path / split / label / "a.mp4").write_bytes(b"x")
            (tmp_path / split / label / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
    assert is_video(tmp_path / "self.mp4")
    with pytest.raises(UnreadableVideo):
        VideoReader(tmp_path / "self.mp4")
    with pytest.raises(KinemaError, match="loop"):
        read_manifest(tmp_path)


# --- what FFmpeg would open besides


def _playlists(folder: Path, port: int) -> dict[str, str]:
    segment = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.0,\n{}\n#EXT-X-ENDLIST\n"
    return {
        "segments of the folder": segment.format("secret.ts"),
        "segments elsewhere": segment.format(folder / "secret.ts"),
        "segments by address": segment.format(f"http://127.0.0.1:{port}/secret.ts"),
        "a list": "ffconcat version 1.0\nfile secret.ts\n",
        "a list with an address": f"ffconcat version 1.0\nfile http://127.0.0.1:{port}/secret.ts\n",
    }


@pytest.mark.parametrize(
    "kind",
    ["segments of the folder", "segments elsewhere", "segments by address", "a list", "a list with an address"],
)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts", ".ffconcat"])
def test_a_playlist_shows_no_other_file_and_asks_nobody(kind: str, suffix: str, tmp_path: Path) -> None:
    write_video(tmp_path / "secret.ts", frames=4)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        path = tmp_path / f"film{suffix}"
        path.write_text(_playlists(tmp_path, server.getsockname()[1])[kind])
        with pytest.raises(UnreadableVideo):
            VideoReader(path)
        with pytest.raises(BlockingIOError):
            server.accept()
