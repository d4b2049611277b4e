"""A run goes on with the same videos under any path, and not with others."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from kinema.cli import main
from kinema.data.manifest import read_manifest
from kinema.errors import KinemaError
from kinema.training import videos
from kinema.training.config import Optim, TrainConfig
from kinema.training.loading import fingerprint
from kinema.training.run import train
from kinema.training.videos import FILE, difference, listed, read_videos, relative_names, write_videos

Change = Callable[[Path], None]  # of a data folder


def config(data: Path | str, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        model="tsn_r18", data=str(data), out=str(out), options={"width": 0.0625},
        clip={"frames": 2, "short_side": 36, "crop": 32}, epochs=2, batch=6, workers=0, device="cpu",
        optim=Optim(lr=0.05), logger="none",
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def home(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, `data`, and a whole run on them, `whole`."""
    home = tmp_path_factory.mktemp("resume")
    shutil.copytree(tiny.parent, home / "data")
    train(config(home / "data", home / "whole"), say=str)
    return home


@pytest.fixture
def half(home: Path, tmp_path: Path) -> Path:
    """The run as it stood after its first epoch, in a folder with a copy of the data, `data`."""
    shutil.copytree(home / "data", tmp_path / "data")
    shutil.copytree(home / "whole", tmp_path / "half", ignore=shutil.ignore_patterns("recognizer", "epoch-0002*"))
    return tmp_path / "half"


def same(a: Path, b: Path) -> bool:
    first, second = (load_file(run / "recognizer" / "model.safetensors") for run in (a, b))
    return all(torch.equal(first[k], second[k]) for k in first)


def spell_relative(data: Path, here: Path) -> str:
    return f"./{os.path.relpath(data, here)}"


def spell_link(data: Path, here: Path) -> str:
    (here / "link").symlink_to(data)
    return str(here / "link")


def spell_csv(data: Path, here: Path) -> str:
    return str(data / "manifest.csv")


def spell_copy(data: Path, here: Path) -> str:
    shutil.copytree(data, here / "local disk" / "copied", copy_function=shutil.copyfile)  # other times of change
    return str(here / "local disk" / "copied")


def spell_address(data: Path, here: Path) -> str:
    return data.as_uri()


def spell_list(data: Path, here: Path) -> str:
    """A CSV elsewhere with whole paths."""
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    shutil.copy(data / "flip_map.json", here)
    with (here / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *([str(data / row[0]), *row[1:]] for row in rows)])
    return str(here / "list.csv")


@pytest.mark.parametrize(
    "spell", [spell_relative, spell_link, spell_csv, spell_copy, spell_address, spell_list], ids=lambda f: f.__name__
)
def test_the_same_videos_go_on_under_any_path(
    spell: Callable[[Path, Path], str], home: Path, half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(half.parent)
    lines: list[str] = []
    run = train(config(spell(home / "data", half.parent), half), say=lines.append)
    assert any(line.startswith("resuming from") for line in lines)
    assert same(run, home / "whole")


def test_what_is_no_part_of_a_run_may_be_given_otherwise(
    home: Path, half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(half.parent)
    given = config(home / "data", Path("half"), workers=1, device="cpu:0", checkpoint_steps=1, logger="csv")
    assert same(train(given, say=str), home / "whole")


def test_weights_may_be_given_by_another_path(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = str(home / "whole")
    run = train(config(home / "data", tmp_path / "run", weights=start, epochs=1), say=str)
    monkeypatch.chdir(home)
    shutil.rmtree(run / "recognizer")
    train(config(home / "data", run, weights="whole", epochs=1), say=str)
    with pytest.raises(KinemaError, match="differs in weights;"):
        train(config(home / "data", run, weights=None, epochs=1), say=str)


def replaced(data: Path) -> None:
    shutil.copy(data / "train go right 1.mp4", data / "train go left 1.mp4")
    with (data / "train go left 1.mp4").open("ab") as file:
        file.write(b"\0" * 8)


def same_size(data: Path) -> None:
    file = data / "train go left 2.mp4"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)


def edit(old: str, new: str) -> Change:
    def change(data: Path) -> None:
        text = (data / "manifest.csv").read_text(encoding="utf-8")
        assert old in text
        (data / "manifest.csv").write_text(text.replace(old, new), encoding="utf-8")

    return change


def one_less(data: Path) -> None:
    edit("train go left 3.mp4,go left,train\n", "")(data)


def no_flips(data: Path) -> None:
    (data / "flip_map.json").write_text("{}", encoding="utf-8")


CHANGES: list[tuple[Change, str]] = [
    (replaced, "train go left 1.mp4 has the size"),
    (same_size, "train go left 2.mp4 has other content"),
    (one_less, "train go left 3.mp4 is missing"),
    (
        edit("train go left 4.mp4,go left", "train go left 4.mp4,go right"),
        "go left 4.mp4 has the label 'go right'",
    ),
    (no_flips, "the flip map differs"),
]


@pytest.mark.parametrize("moved", [False, True], ids=["in place", "moved"])
@pytest.mark.parametrize(("change", "what"), CHANGES, ids=[what for _, what in CHANGES])
def test_other_videos_are_refused_with_the_first_that_differs(
    change: Change, what: str, moved: bool, home: Path, half: Path
) -> None:
    data = half.parent / "data"
    if not moved:  # the run began with these
        text = (half / "config.yaml").read_text().replace(str(home / "data"), str(data))
        (half / "config.yaml").write_text(text)
    before = sorted((half / "checkpoints").iterdir())
    change(data)
    with pytest.raises(KinemaError) as caught:
        train(config(data, half), say=str)
    assert str(caught.value).startswith(f"{data}: ")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted((half / "checkpoints").iterdir()) == before


def test_a_finished_run_is_not_another_data_sets(home: Path, half: Path) -> None:
    lines: list[str] = []
    assert train(config(half.parent / "data", home / "whole"), say=lines.append) == home / "whole"
    assert "finished" in lines[-1]
    replaced(half.parent / "data")
    with pytest.raises(KinemaError, match=r"train go left 1\.mp4 has the size"):
        train(config(half.parent / "data", home / "whole"), say=str)


def test_a_run_without_the_list_of_its_videos_goes_on_where_it_began(home: Path, half: Path) -> None:
    (half / FILE).unlink()  # as an earlier version left it
    with pytest.raises(KinemaError, match="differs in data"):
        train(config(half.parent / "data", half), say=str)
    assert same(train(config(home / "data", half), say=str), home / "whole")


def test_a_damaged_list_of_videos_is_one_sentence(home: Path, half: Path) -> None:
    for content in (b"", b"PAR1 not a table PAR1", (half / FILE).read_bytes()[:-40]):
        (half / FILE).write_bytes(content)
        with pytest.raises(KinemaError, match=rf"{FILE}: cannot be read \(.+\); restore it, or remove it"):
            train(config(home / "data", half), say=str)


def test_videos_that_cannot_be_reached_are_not_known_to_differ(
    home: Path, half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = half.parent / "data"
    now = listed(read_manifest(data).split("train"))
    (data / "train go left 0.mp4").unlink()
    gone = listed(read_manifest(data, check=False).split("train"))
    assert gone.sizes["train go left 0.mp4"] is gone.digests["train go left 0.mp4"] is None
    assert difference(now, gone) is difference(gone, now) is None
    for file in data.glob("*.mp4"):
        file.unlink()
    monkeypatch.setattr("kinema.training.run.read_manifest", lambda data: read_manifest(data, check=False))
    with pytest.raises(KinemaError, match="none of them can be read to compare it"):
        train(config(data, half), say=str)


def test_the_list_of_videos_is_read_as_it_was_written(tmp_path: Path) -> None:
    odd = "caf\udce9 ‘行く’.mp4"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / odd).write_bytes(b"x" * 5)
    for i in range(3):
        folder = tmp_path / "b" / "sequence"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(folder / f"{i}.png")
    found = listed(read_manifest(tmp_path))
    assert found.sizes == {"a/caf\\udce9 ‘行く’.mp4": 5, "b/sequence": 3}
    write_videos(tmp_path, found)
    assert read_videos(tmp_path) == found
    (folder / ".DS_Store").write_bytes(b"no frame")
    again = listed(read_manifest(tmp_path))
    assert difference(found, again) is None
    Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(folder / "2.png")
    assert difference(found, listed(read_manifest(tmp_path))) == "b/sequence has other content"
    (folder / "1.png").unlink()
    assert "b/sequence has the size" in str(difference(found, listed(read_manifest(tmp_path))))


def test_large_files_are_compared_in_parts_and_many_by_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "SAMPLED", 10)
    for i in range(40):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.mp4").write_bytes(bytes([i]) * 100)
    large = tmp_path / "a" / "0.mp4"
    large.write_bytes(bytes(3 << 20))
    manifest = read_manifest(tmp_path).split("train")
    found = listed(manifest)
    assert (len(found.digests), set(found.digests)) == (10, set(listed(manifest).digests))
    assert {name[0] for name in found.digests} == {"a", "b"}
    first = videos._digest(str(large))
    for place in (0, (3 << 20) - 1, 3 << 19):
        content = bytearray(3 << 20)
        content[place] = 1
        large.write_bytes(content)
        seen = videos._digest(str(large)) != first
        assert seen or place == 3 << 19  # between two parts


def test_names_do_not_depend_on_where_the_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["x/a.mp4", "x/y/b.mp4", "z/c.mp4"]
    assert relative_names([f"/data/{name}" for name in names]) == names
    assert relative_names([f"/data/train/../{name}" for name in names]) == names
    monkeypatch.chdir(tmp_path)
    assert relative_names(names) == relative_names([f"./{name}" for name in names]) == names
    assert relative_names(["/data/x/a.mp4"]) == ["a.mp4"]
    assert relative_names(["/a.mp4", "/b/c.mp4"]) == ["a.mp4", "b/c.mp4"]
    assert relative_names([]) == []


def test_the_fingerprint_of_a_csv_in_the_working_folder_is_that_of_its_path(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fingerprint(read_manifest(tiny).split("train"))
    monkeypatch.chdir(tiny.parent)
    assert fingerprint(read_manifest("manifest.csv").split("train")) == whole
    assert fingerprint(read_manifest(".").split("train")) == whole


def test_factors_by_part_survive_a_stop_and_a_changed_one_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, whole = tmp_path / "half", tmp_path / "whole"
    words = [
        "train", "--model", "tsn_r18", "--data", str(home / "data"), "--options.width", "0.0625", "--clip.frames", "2",
        "--clip.short_side", "36", "--clip.crop", "32", "--epochs", "2", "--batch", "6", "--workers", "0", "--device",
        "cpu", "--logger", "none", "--optim.lr_mult.features", "0.1", "--optim.lr_mult.layer4.1", "0",
    ]  # fmt: skip
    assert main([*words, "--out", str(whole)]) == 0
    kept = yaml.safe_load((whole / "config.yaml").read_text())
    assert kept["optim"]["lr_mult"] == {"features": 0.1, "layer4.1": 0.0}
    shutil.copytree(whole, out, ignore=shutil.ignore_patterns("recognizer", "epoch-0002*"))
    assert main([*words, "--out", str(out), "--optim.lr_mult.features", "0.2"]) == 2
    assert "optim.lr_mult.features" in capsys.readouterr().err
    assert main([*words, "--out", str(out), "--optim.lr_mult", "{features: 0.1}"]) == 2
    assert "optim.lr_mult.layer4.1" in capsys.readouterr().err
    assert main(["train", str(whole), "--out", str(out)]) == 0  # its config.yaml as a recipe
    assert same(whole, out)
