"""Every recipe: what its file says, what the parser makes of it, and one short training and test of it."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import yaml
from miniatures import CLASSES, TEST, TRAIN, lay_out
from PIL import Image
from safetensors.torch import load_file
from tiny import moving_square

from kinema.cli import main
from kinema.data.catalogues import parse
from kinema.data.labels import read_labels
from kinema.errors import KinemaError
from kinema.models import create_model, find_model
from kinema.recipes import find as find_recipe
from kinema.recipes import load, names, weights_of

# fmt: off
EXPECTED = [
    "cidc_hmdb51", "cidc_k400", "cidc_ssv2", "cidc_ucf101",
    "cr_hacs", "cr_k400", "cr_k400_finetune", "cr_k400_scratch",
    "i3d_k400", "i3d_nl_k400",
    "mtnet_hacs", "mtnet_k400", "mtnet_k700", "mtnet_mit", "mtnet_ucf101",
    "r2d_k400", "r2d_nl_k400",
    "srtg_hacs", "srtg_hmdb51", "srtg_hmdb51_via_k700", "srtg_hmdb51_via_mit", "srtg_k700", "srtg_mit", "srtg_ucf101",
    "srtg_ucf101_via_k700", "srtg_ucf101_via_mit",
    "stm_hmdb51", "stm_k400", "stm_ssv1", "stm_ssv2",
    "stm_twins_hmdb51", "stm_twins_k400", "stm_twins_ssv1", "stm_twins_ssv2", "stm_twins_ucf101",
    "stm_ucf101",
]
# fmt: on
SHORT = {
    "k400": "kinetics400",
    "k700": "kinetics700",
    "mit": "moments_in_time",
    "ssv1": "something_v1",
    "ssv2": "something_v2",
}  # fmt: skip


def data_of(name: str) -> str:
    name = name.partition("_via_")[0]
    word = next(part for part in name.split("_")[::-1] if part not in ("scratch", "finetune"))
    return SHORT.get(word, word)


# --- the files


def test_all_are_here() -> None:
    assert names() == EXPECTED
    assert names("stm_twins_*") == [name for name in EXPECTED if name.startswith("stm_twins")]
    assert names("k700") == ["mtnet_k700", "srtg_hmdb51_via_k700", "srtg_k700", "srtg_ucf101_via_k700"]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_header_says_what_one_needs_to_know(name: str) -> None:
    recipe = load(name)
    about = recipe.about
    assert all(asdict(about).values())
    data = f"{recipe.values['data'].partition(':')[0]}:FOLDER"
    assert shlex.split(about.command) == ["kinema", "train", name, "--data", data]
    assert about.parallel.endswith(f"-m kinema train {name} --data {data}")
    assert shlex.split(about.test)[:5] == ["kinema", "test", f"runs/{name}", "--data", data]
    assert re.findall(r"--views (\S+)", about.test) in ([about.views], [] if about.views == "1x1" else None)
    assert f"{about.top1:.1f} % top-1" in about.figure
    assert "table" in about.figure
    assert "Estimate, not measured" in about.time


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("3", "about is 3"),
        ("[a]", "about is"),
        ("{titel: x}", "did you mean 'title'"),
        ("{top1: high}", "about.top1 is 'high'"),
        ("{top1: true}", "about.top1 is True"),
        ("{time: 3}", "about.time is 3"),
        ("{ours: }", "about.ours is None"),
    ],
)
def test_a_block_about_that_is_none_is_refused(
    about: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"about: {about}\nmodel: stm_r18\ndata: nowhere\n", encoding="utf-8")
    assert main(["train", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"kinema: {file}: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", EXPECTED)
def test_the_fields_belong_together(name: str) -> None:
    values = load(name).values
    source = parse(values["data"])
    assert source is not None
    assert (source.name, source.part) == (data_of(name), 1)
    assert values["out"] == f"runs/{name}"
    assert find_model(values["model"]).name == values["model"]
    weights = values.get("weights")
    if weights not in (None, "imagenet"):  # the run of another recipe, of the same network or of the backbone
        assert load(weights).values["model"] == values["model"].removeprefix("cidc_" if name == "cidc_k400" else "")
    assert ("val_split" in values) == (source.name not in ("ucf101", "hmdb51"))


@pytest.mark.parametrize(
    ("pattern", "epochs", "batch", "optim"),
    [  # STM, section 4.2
        ("stm_*k400", 70, 64, (0.01, 5e-4, "step", (30, 40, 60))),
        ("stm_*ssv[12]", 70, 64, (0.01, 5e-4, "step", (30, 40, 60))),
        ("stm_*[fb][15]*1", 50, 32, (0.001, 5e-4, "step", (15, 30, 45))),
        # thesis, sections 4.4.1 and 4.5
        ("srtg_hacs", 150, 32, (0.1, 1e-5, "step", (40, 70, 120))),
        ("srtg_[km]*", 150, 32, (0.1, 1e-5, "step", (40, 70, 120))),
        ("srtg_*[1am]_via_*", 80, 32, (0.01, 1e-5, "step", (40, 60))),
        ("srtg_*1", 80, 32, (0.01, 1e-5, "step", (40, 60))),
        # MTConv, section IV-B
        ("mtnet_[hkm]*", 400, 64, (1.16, 5e-5, "cosine", None)),
        ("mtnet_u*", 150, 64, (0.01, 5e-5, "cosine", None)),
        # thesis, section 6.4.2
        ("cr_*[s0h]", 120, 16, (0.1, 1e-5, "step", (50, 100))),
        ("cr_*_finetune", 120, 16, (0.001, 1e-5, "step", (70,))),
        # CIDC, section 3.3
        ("cidc_*", 100, 64, (0.01, 1e-4, "step", (40, 80))),
        ("[ir][32]d_*", 100, 64, (0.01, 1e-4, "step", (40, 80))),
    ],
)
def test_the_papers_values(pattern: str, epochs: int, batch: int, optim: tuple) -> None:
    assert names(pattern)
    for name in names(pattern):
        values = load(name).values
        given = values["optim"]
        milestones = tuple(given["milestones"]) if "milestones" in given else None
        assert (values["epochs"], values["batch"]) == (epochs, batch), name
        assert (given["lr"], given["weight_decay"], given["schedule"], milestones) == optim, name
        assert given["momentum"] == 0.9


def test_what_else_the_papers_say() -> None:
    strides = {"hacs": 2, "k400": 5, "k700": 5, "mit": 3, "ucf101": 4}
    for name in names("mtnet_*"):
        assert load(name).values["clip"]["stride"] == strides[name.removeprefix("mtnet_")]
    for name in [*names("srtg_*"), *names("mtnet_*"), *names("cr_*")]:
        values = load(name).values
        assert values["photometric"]["clips"] == (0.8 if name.startswith("srtg") else 0.7)
        assert values["multigrid"] == {"cycles": "both", "rate_at": "first"}
    for name in names("stm_*"):
        values = load(name).values
        assert ("twins" in values) == ("twins" in name)
        assert values.get("twins", {"weight": 0.01, "beta": 0.0039}) == {"weight": 0.01, "beta": 0.0039}
    assert {load(name).values.get("trainable") for name in names("srtg_*1")} == {"classifier"}
    frozen = set(names("cr_*")) - {"cr_k400_scratch"}
    assert {load(name).values["trainable"] for name in frozen} == {"class_regularisation"}
    assert load("mtnet_ucf101").values["optim"]["lr_mult"] == {"features": 0.1}
    assert all(load(name).values["options"]["class_regularisation"] == [0.9, 0.8, 0.7, 0.6] for name in names("cr_*"))


def test_words_that_mean_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("stm_ssv2").name == "stm_ssv2.yaml"
    (tmp_path / "run").mkdir()
    (tmp_path / "mine.yaml").write_text("model: stm_r18\n")
    (tmp_path / "run/config.yaml").write_text("model: stm_r18\n")
    assert find_recipe("mine.yaml") == Path("mine.yaml")
    assert find_recipe("run") == Path("run/config.yaml")
    for word, sentence in [
        ("stm_ssv3", "did you mean 'stm_ssv2'"),
        ("mime.yaml", "did you mean 'mine.yaml'"),
        ("elsewhere/stm_ssv2.yaml", "write stm_ssv2, which comes with Kinema"),
        ("elsewhere/other.yaml", "correct the path"),
        (".", "a folder without config.yaml"),
    ]:
        with pytest.raises(KinemaError, match=sentence):
            find_recipe(word)


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in EXPECTED)
    assert main(["recipes", "cidc", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == names("cidc_*")
    assert rows[1]["model"] == "cidc_i3d_50"
    assert rows[1]["figure"].startswith("74.5 % top-1, 91.3 % top-5")
    assert main(["recipes", "cr_k400"]) == 0
    assert capsys.readouterr().out == find_recipe("cr_k400").read_text()
    assert main(["recipes", "nothing"]) == 2
    assert "no recipe matches 'nothing'" in capsys.readouterr().err


# --- each of them trains and is tested, on its data set in miniature


def write_clip(path: Path, frames: np.ndarray) -> None:
    """A file of the form that its suffix says, or a folder of JPEG frames."""
    if not path.suffix:
        path.mkdir(parents=True)
        for i, image in enumerate(frames, 1):
            Image.fromarray(image).save(path / f"{i:05d}.jpg")
        return
    codec = {".mp4": "libx264", ".avi": "mpeg4", ".webm": "libvpx"}[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=12)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Name of a catalogue -> its miniature; all of them hold the same few clips."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(3)
    clips = {(k, i): moving_square(rng, k == 0, size=40) for k in range(2) for i in range(TRAIN + TEST)}
    ready: dict[str, str] = {}

    def put(path: Path, kind: int, number: int) -> None:
        kept = root / "clips" / f"{kind}-{number}{path.suffix}"
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            write_clip(kept, clips[kind, number])
        path.parent.mkdir(parents=True, exist_ok=True)
        if kept.is_dir():
            path.symlink_to(kept)
        else:
            os.link(kept, path)

    def make(name: str) -> str:
        if name not in ready:
            ready[name] = lay_out(name, root / name, put)
        return ready[name]

    return make


def small(name: str, weights: str = "null") -> list[str]:
    """What is smaller than in the recipe, as words of the command line."""
    fields = {
        "options.width": 0.0625, "clip.frames": 8, "clip.short_side": 36, "clip.crop": 32, "epochs": 1, "batch": 2,
        "workers": 0, "processes": 1, "device": "cpu", "logger": "none", "weights": weights, "precision": "32",
    }  # fmt: skip
    values = load(name).values
    if "test_crop" in values["clip"]:
        fields["clip.test_crop"] = 34
    if values["augment"]["scale"] == "jitter":
        fields["augment.jitter"] = "32,40"
    return [word for key, value in fields.items() for word in (f"--{key}", str(value))]


@pytest.mark.parametrize("name", EXPECTED)
def test_one_epoch_and_one_test(
    name: str, data: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only sizes differ from the recipe, that no weights to start from are here, and that a CPU has no float16.

    (In bfloat16, which stands in for it there, PyTorch 2.13 writes beyond its memory in the gradient of a strided 3x3x3
    convolution of maps of one pixel, which only clips as tiny as these lead to.)
    """
    source, run, values = data(data_of(name)), tmp_path / "run", load(name).values
    status = main(["train", name, "--data", source, "--out", str(run), *small(name)])
    said = capsys.readouterr()
    assert status == 0, said.err
    kept = yaml.safe_load((run / "config.yaml").read_text())
    for key, value in values.items():  # all else is as in the recipe
        if key not in ("clip", "options", "augment", "data", "out", "weights", "epochs", "batch", "precision"):
            assert kept[key] == value if not isinstance(value, dict) else kept[key].items() >= value.items()
    status = main(["test", str(run), "--data", source, "--views", "2x3", "--workers", "0", "--json"])
    said = capsys.readouterr()
    assert status == 0, said.err
    result = json.loads(said.out)
    assert result["metrics"]["coverage"] == {"expected": 2 * TEST, "read": 2 * TEST, "failed": 0, "absent": 0}
    card = json.loads((run / "recognizer/card.json").read_text())
    assert card["labels"] == list(read_labels(data_of(name)))
    assert card["training"]["coverage"] == {"expected": 2 * TRAIN, "read": 2 * TRAIN, "failed": 0, "absent": 0}
    assert set(CLASSES[data_of(name)]) <= set(card["labels"])


@pytest.mark.parametrize(
    ("first", "second"), [("srtg_hacs", "srtg_hmdb51"), ("mtnet_k400", "cr_k400"), ("mtnet_k400", "cr_k400_finetune")]
)
def test_one_goes_on_from_another(
    first: str, second: str, data: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What does not learn there stays as it was here."""
    a, b = tmp_path / "a", tmp_path / "b"
    assert main(["train", first, "--data", data(data_of(first)), "--out", str(a), *small(first)]) == 0
    words = small(second, str(a))
    assert main(["train", second, "--data", data(data_of(second)), "--out", str(b), *words]) == 0, capsys.readouterr()
    old, new = (load_file(run / "recognizer/model.safetensors") for run in (a, b))
    learned = {key for key in new if key not in old or not torch.equal(old[key], new[key])}
    beginning = "classifier." if second.startswith("srtg") else "class_regularisation."
    assert learned
    assert all(key.startswith(beginning) for key in learned)


def test_a_chain_of_three_finds_the_run_before_by_its_recipe(
    data: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HACS, Kinetics-700, UCF-101: a training without the one before it names the command that is missing."""
    monkeypatch.chdir(tmp_path)
    chain = ["srtg_hacs", "srtg_k700", "srtg_ucf101_via_k700"]

    def start(name: str) -> tuple[int, str]:
        words = small(name)
        at = words.index("--weights")
        del words[at : at + 2]  # as in the recipe
        status = main(["train", name, "--data", data(data_of(name)), *words])
        said = capsys.readouterr()
        return status, said.out + said.err

    for i, name in enumerate(chain):
        for later in chain[i + 1 :]:  # nothing but the next one can begin
            status, said = start(later)
            before = chain[chain.index(later) - 1]
            assert status == 2
            assert f"weights is {before}" in said
            assert load(before).about.command in said
        status, said = start(name)
        assert status == 0, said
        assert i == 0 or f"starts from runs/{chain[i - 1]}" in said
    for first, second in pairwise(chain):
        old, new = (load_file(f"runs/{name}/recognizer/model.safetensors") for name in (first, second))
        learned = {key for key in new if not torch.equal(old[key], new[key])} if second == chain[2] else None
        assert learned is None or all(key.startswith("classifier.") for key in learned)
        assert yaml.safe_load(Path(f"runs/{second}/config.yaml").read_text())["weights"] == f"runs/{first}"
    status, said = start(chain[2])  # the same command again: the run is that of the same weights
    assert status == 0
    assert "this run is finished" in said
    Path("runs/srtg_hacs/recognizer").rename("elsewhere")
    status, said = start(chain[1])
    assert status == 2
    assert "srtg_hacs, a recipe whose run is not finished" in said


@pytest.mark.parametrize("kind", ["i3d", "r2d_nl"])
def test_cidc_goes_on_from_the_run_of_its_backbone(
    kind: str, data: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With a learning rate of almost nothing, so that the backbone stays what it was."""
    monkeypatch.chdir(tmp_path)
    source = data("kinetics400")
    assert main(["train", f"{kind}_k400", "--data", source, *small(f"{kind}_k400")]) == 0
    words = [*small("cidc_k400", f"{kind}_k400"), "--model", f"cidc_{kind}_50", "--optim.lr", "1e-12"]
    assert main(["train", "cidc_k400", "--data", source, *words]) == 0, capsys.readouterr()
    assert f"starts from runs/{kind}_k400" in capsys.readouterr().out
    old, new = (load_file(f"runs/{name}_k400/recognizer/model.safetensors") for name in (kind, "cidc"))
    weights = {key for key in old if not key.startswith("classifier.") and "running" not in key and "num" not in key}
    assert weights
    assert all(torch.allclose(old[key], new[f"backbone.{key}"], atol=1e-6) for key in weights)


def test_weights_that_are_no_recipe_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for word in (None, "imagenet", "runs/srtg_hacs", "srtg_hac", "mmaction2-i3d-r50"):
        assert weights_of(word) == word
    Path("srtg_hacs").mkdir()  # a folder of that name is what a person sees there
    assert weights_of("srtg_hacs") == "srtg_hacs"


def test_the_full_sizes_fit_the_networks() -> None:
    """At full width, without weights in memory: the options of every recipe are options of its network."""
    for name in EXPECTED:
        values = load(name).values
        with torch.device("meta"):
            model = create_model(
                values["model"], num_classes=len(read_labels(data_of(name))), frames=values["clip"]["frames"],
                **values.get("options", {}),
            )  # fmt: skip
        assert model.clip_spec.frames == values["clip"]["frames"]
        model.clip_spec.replace(**values["clip"])
