"""Exported files compute what the network computes, and what does not is not kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from export.small import LABELS, SPEC, Bare, Clip, Fixed, Padded, Streamed, recognizer

from kinema.backends.base import find_backend
from kinema.backends.formats import FORMATS
from kinema.cli import main
from kinema.errors import KinemaError, RunError
from kinema.export import export
from kinema.models import create_model
from kinema.ops.recurrence import SqueezeRecursion
from kinema.recognizer import Recognizer
from kinema.streaming.live import Live

for _package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(_package)
DOCS = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same network in all formats, and its step."""
    folder = tmp_path_factory.mktemp("files")
    export(recognizer(Clip("lstm")), "onnx", folder / "mine.onnx")
    export(recognizer(Clip("gru")), "openvino", folder / "mine.xml")
    export(recognizer(Clip("gru")), "torch", folder / "mine.pt2", preprocessing=True)
    export(recognizer(Streamed()), "onnx", folder / "step.onnx", streaming=True, state_rank=4)
    return folder


def clips(batch: int = 3, frames: int = SPEC.frames) -> torch.Tensor:
    return torch.randint(0, 256, (batch, frames, SPEC.crop, SPEC.crop, 3), dtype=torch.uint8)


@pytest.mark.parametrize(("name", "cell"), [("mine.onnx", "lstm"), ("mine.xml", "gru"), ("mine.pt2", "gru")])
def test_an_exported_file_is_a_recognizer(exported: Path, name: str, cell: str) -> None:
    loaded = Recognizer.load(exported / name)
    own = recognizer(Clip(cell))
    pixels = clips()
    assert torch.allclose(loaded.scores(pixels), own.scores(pixels), atol=1e-5)
    assert (loaded.labels, loaded.spec) == (LABELS, SPEC)
    live = Live(loaded, rate=5)
    assert live.mode == "window"
    live.feed(pixels[0, 0].numpy(), 0.0)


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_recurrent_cells_take_any_length(tmp_path: Path, cell: str) -> None:
    own = recognizer(Clip(cell))
    found = export(own, "onnx", tmp_path / "x.onnx")
    assert [(a.batch, a.frames) for a in found.checked] == [(1, 4), (3, 7)]
    assert found.difference < 1e-5
    model = Recognizer.load(tmp_path / "x.onnx").model
    for batch, frames in ((2, 2), (5, 11)):
        x = torch.randn(batch, 3, frames, 16, 16)
        with torch.no_grad():
            assert torch.allclose(model(x), own.model(x), atol=1e-5)


class Gated(Clip):
    """A gate that is closed where a clip has one frame only."""

    def __init__(self) -> None:
        super().__init__()
        self.gated = SqueezeRecursion(8, gate="hard", fusion="residual", compare="fused")

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        return self.gated(features).mean((2, 3, 4))


def test_a_gate_that_depends_on_the_length(tmp_path: Path) -> None:
    own = recognizer(Gated())
    export(own, "onnx", tmp_path / "x.onnx")
    model, open_rates = Recognizer.load(tmp_path / "x.onnx").model, set()
    for frames in (1, 2, 3):
        x = 3 * torch.randn(8, 3, frames, 16, 16, generator=torch.Generator().manual_seed(frames))
        with torch.no_grad():
            assert torch.allclose(model(x), own.model(x), atol=1e-4)
        open_rates.add((frames, float(own.model.gated.open_rate)))
    assert (1, 0.0) in open_rates
    assert max(rate for _, rate in open_rates) > 0  # else nothing would have been compared


@pytest.mark.parametrize("to", FORMATS)
def test_padding_that_depends_on_the_length_fixes_it(tmp_path: Path, to: str) -> None:
    path = tmp_path / f"x{FORMATS[to].suffix}"
    found = export(recognizer(Padded()), to, path)
    assert found.description.frames == (4, 4)
    pixels = clips()
    assert torch.allclose(Recognizer.load(path).scores(pixels), recognizer(Padded()).scores(pixels), atol=1e-5)


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_bare_lstm_takes_any_length(tmp_path: Path, to: str) -> None:
    found = export(recognizer(Bare()), to, tmp_path / f"x{FORMATS[to].suffix}")
    assert found.description.frames == (1, None)
    assert [(a.batch, a.frames) for a in found.checked] == [(1, 4), (3, 7)]


def test_a_network_of_one_length(tmp_path: Path) -> None:
    found = export(recognizer(Fixed()), "onnx", tmp_path / "x.onnx")
    assert found.description.frames == (4, 4)
    assert found.description.input.shape == (None, 3, 4, 16, 16)
    with pytest.raises(KinemaError, match=r"x\.onnx: takes float32 .* with 4 frames, not float32 1 3 5 16 16"):
        Recognizer.load(tmp_path / "x.onnx").model(torch.zeros(1, 3, 5, 16, 16))


def test_the_state_goes_round(exported: Path) -> None:
    own, loaded = recognizer(Streamed()).model, Recognizer.load(exported / "step.onnx").model
    frames = torch.randn(2, 3, 7, 16, 16)
    state, theirs = own.initial_state(2), loaded.initial_state(2)
    assert {key: value.ndim for key, value in theirs.items()} == {"seen": 1, "past.0": 4}
    for chunk in frames.split((1, 1, 3, 2), 2):
        with torch.no_grad():
            wanted, state = own.step(chunk, state)
        found, theirs = loaded.step(chunk, theirs)
        assert torch.allclose(found, wanted, atol=1e-5)
    assert theirs["seen"].tolist() == [7, 7]
    with pytest.raises(KinemaError, match=r"step\.onnx: .*kinema stream"):
        loaded(frames)
    assert Live(Recognizer.load(exported / "step.onnx"), rate=5).mode == "step"


class Wrong(Clip):
    """Traced, it computes something else than run."""

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        return super().pool(features) * (1.01 if torch.compiler.is_compiling() else 1.0)


@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_a_file_that_differs_is_not_kept(tmp_path: Path, to: str) -> None:
    out = tmp_path / f"x{FORMATS[to].suffix}"
    with pytest.raises(RunError, match=rf"{out.name}: .*differs from the network by .*1 clip of 4 frames.*not kept"):
        export(recognizer(Wrong()), to, out)
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_was_frozen_is_found(tmp_path: Path) -> None:
    class Frozen(Clip):
        def pool(self, features: torch.Tensor) -> torch.Tensor:
            length = 9 if torch.compiler.is_compiling() else features.shape[2]  # 9 is traced
            return features.sum((2, 3, 4)) / length

    with pytest.raises(RunError, match=r"differs from the network by"):
        export(recognizer(Frozen()), "torch", tmp_path / "x.pt2")


@pytest.mark.parametrize(
    ("to", "out", "words"),
    [
        ("onxx", "x.onnx", "unknown format 'onxx': did you mean 'onnx'"),
        ("onnx", "x.xml", r"x\.xml: .*ends in \.onnx"),
        ("onnx", "folder", "folder: is a folder"),
        ("torch", "folder.pt2", r"folder\.pt2: is a folder"),
        ("onnx", "file/x.onnx", r"x\.onnx: cannot be written"),
        ("onnx", "taken.onnx", r"taken\.onnx\.json: is a folder"),
    ],
)
def test_places_and_formats_that_cannot_be(tmp_path: Path, to: str, out: str, words: str) -> None:
    for name in ("folder", "folder.pt2", "taken.onnx.json"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(KinemaError, match=words):
        export(recognizer(), to, tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "folder.pt2", "taken.onnx.json"]


def test_networks_that_cannot_stream_say_why(tmp_path: Path) -> None:
    model = create_model("r3d_34", num_classes=3, width=0.125).eval()
    own = Recognizer(model, LABELS, SPEC)
    with pytest.raises(KinemaError, match="r3d_34 cannot stream"):
        export(own, "onnx", tmp_path / "x.onnx", streaming=True)
    for rank, streaming in ((3, True), (6, True), (4, False)):
        with pytest.raises(KinemaError, match=f"state_rank is {rank}"):
            export(recognizer(Streamed()), "onnx", tmp_path / "x.onnx", streaming=streaming, state_rank=rank)


def test_a_missing_package_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(KinemaError, match=r"onnxscript cannot be imported: pip install 'kinema\[export\]'"):
        export(recognizer(), "onnx", tmp_path / "x.onnx")


def test_a_missing_runtime_is_named_with_the_command(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(KinemaError, match=r"mine\.xml: openvino cannot be imported: pip install 'kinema\[export\]'"):
        Recognizer.load(exported / "mine.xml")


@pytest.mark.parametrize("name", ["mine.onnx", "mine.xml", "mine.bin", "mine.pt2"])
@pytest.mark.parametrize("how", ["empty", "cut", "noise", "gone"])
def test_damaged_files(exported: Path, tmp_path: Path, name: str, how: str) -> None:
    for file in ("mine.onnx", "mine.xml", "mine.bin", "mine.pt2"):
        (tmp_path / file).write_bytes((exported / file).read_bytes())
    file, data = tmp_path / name, (exported / name).read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "noise": bytes(range(256)) * 8}[how])
    source = tmp_path / name.replace(".bin", ".xml")
    with pytest.raises(KinemaError, match=re.escape(Path(name).stem)) as caught:
        Recognizer.load(source).scores(clips())
    assert "\n" not in str(caught.value)


def test_another_programs_file(tmp_path: Path) -> None:
    from kinema.backends.tracing import trace

    traced = trace(Clip().eval(), torch.randn(2, 3, 4, 16, 16), fixed_length=True)
    for form in FORMATS.values():
        if form.name != "openvino":  # traced without the cells for ONNX, which is slower
            form.write(traced, tmp_path / f"x{form.suffix}", {})
            with pytest.raises(KinemaError, match=rf"x\{form.suffix}: contains no labels"):
                Recognizer.load(tmp_path / f"x{form.suffix}")


def test_a_program_with_pickles_is_refused(exported: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(exported / "mine.pt2") as there, zipfile.ZipFile(tmp_path / "x.pt2", "w") as changed:
        for name in there.namelist():
            data = there.read(name)
            if name.endswith("_weights_config.json"):
                data = data.replace(b'"use_pickle": false', b'"use_pickle": true', 1)
            changed.writestr(name, data)
    with pytest.raises(KinemaError, match=r"x\.pt2: contains pickled objects"):
        Recognizer.load(tmp_path / "x.pt2")


def test_what_a_file_cannot_do_is_said(exported: Path, tmp_path: Path) -> None:
    from kinema.explain import explain

    loaded = Recognizer.load(exported / "mine.onnx")
    for job in (
        lambda: explain(loaded, torch.zeros(1, 3, 4, 16, 16)),
        lambda: loaded.save(tmp_path / "folder"),
        lambda: loaded.model.train(),
        lambda: loaded.model.forward_features(torch.zeros(1, 3, 4, 16, 16)),
        lambda: export(loaded, "torch", tmp_path / "y.pt2"),
        lambda: Live(loaded, rate=5, mode="step"),
    ):
        with pytest.raises(KinemaError, match=r"mine\.onnx: "):
            job()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_the_backends_run_a_network(name: str) -> None:
    backend, model = find_backend(name), Clip("lstm").eval()
    assert backend.available() is None
    run = backend.build(model, torch.randn(1, 3, 4, 16, 16))
    x = torch.randn(3, 3, 4, 16, 16)
    with torch.no_grad():
        assert torch.allclose(run(x), model(x), atol=1e-5)


def test_the_description_beside_the_file(exported: Path) -> None:
    about = json.loads((exported / "step.onnx.json").read_text(encoding="utf-8"))
    assert about["labels"] == list(LABELS)
    assert about["clip"] == json.loads(json.dumps(SPEC.to_dict()))
    shapes = {part["name"]: part["shape"] for part in about["initial_state"]}
    assert shapes == {"seen": [None], "past.0": [None, 6, 16, 16]}
    assert about["files"] == ["step.onnx"]
    assert all(check["difference"] <= check["tolerance"] for check in about["checked"])


def test_the_programs_in_the_documentation_run(exported: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    for program, lines in zip(programs[:3], (1, 1, 5), strict=True):
        code = f"import sys; sys.modules['kinema'] = sys.modules['torch'] = None\n{program}"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=exported, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        said = done.stdout.splitlines()
        assert len(said) == lines
        assert set(said) <= set(LABELS)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "nothing"), "--to", "onnx", "--out", str(tmp_path / "x.onnx")]) == 2
    assert "nothing" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "x.onnx"), "a.mp4"]) == 2
    assert "x.onnx: there is no such file" in capsys.readouterr().err
