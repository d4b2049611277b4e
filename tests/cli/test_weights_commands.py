"""`kinema weights list` and `kinema weights get`, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cli.test_main import refused, run
from web import Web, serving
from weights.test_fetch import closed_port
from weights.test_importing import Evil, torchvision_resnet

from kinema.data.labels import read_labels
from kinema.recognizer import Recognizer
from kinema.weights import releases as module
from kinema.weights.releases import Release, find_release, releases

CLIP = {"frames": 3, "short_side": 40, "crop": 32, "mean": [0.5, 0.5, 0.5], "colour": "bgr"}


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server with one release of a small network, which the table of releases then holds."""
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as found:
        small = replace(
            find_release("torchvision-resnet18"),
            name="small", options={"width": 0.125}, classes=174, labels="something_v2", clip=CLIP, sha256="",
            address=f"{found.address}/small.pth", file="small.pth",
        )  # fmt: skip
        monkeypatch.setattr(module, "releases", lambda: (small,))
        put(found, tmp_path, torchvision_resnet(18, base=8, classes=174))
        yield found


def put(web: Web, folder: Path, content: object) -> None:
    torch.save(content, folder / "made.pth")
    web.files["/small.pth"] = (folder / "made.pth").read_bytes()


def only() -> Release:
    (found,) = module.releases()
    return found


def fetched(tmp_path: Path) -> list[str]:
    return [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_the_list_is_readable_at_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "weights", "list")
    assert status == 0
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
    assert all(release.name in out for release in releases())
    assert "SlowFast · Apache-2.0 · github.com/facebookresearch/SlowFast" in out


def test_the_list_for_programs_has_every_fact(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "weights", "list", "tsm_r50", "--json")
    rows = json.loads(out)
    assert status == 0
    assert {row["model"] for row in rows} == {"tsm_r50"}
    assert set(rows[0]) == {
        "name", "project", "model", "options", "fits", "data", "classes", "labels", "clip", "top1", "top5", "views",
        "licence", "address", "file", "sha256", "page", "here",
    }  # fmt: skip


def test_what_no_program_can_fetch_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "weights", "list", "3dresnets*")[1].splitlines()
    by_hand = {r.name for r in releases() if not r.address and r.name.startswith("3dresnets")}
    assert by_hand
    assert {line.split()[0] for line in lines if " + " in line} == by_hand


def test_one_release_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "weights", "list", "torchvision-resnet50")  # -v2 has this name in its own
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in out
    assert "BSD-3-Clause" in out
    assert "76.1 (1x1)" in out
    assert "kinema weights get torchvision-resnet50" in out
    _, out, _ = run(capsys, "weights", "list", "3dresnets-r3d50-km")
    assert "r3d50_KM_200ep.pth" in out
    assert "order not published" in out
    assert "no release matches 'r9d'" in refused(capsys, "weights", "list", "r9d")


def test_get_fetches_checks_converts_and_saves(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "weights", "get", "small", "--out", str(tmp_path / "r"))
    assert (status, err) == (0, "")
    assert "122 tensors loaded; classifier taken over" in out
    assert f"recognizer saved in {tmp_path / 'r'}" in out
    found = Recognizer.load(tmp_path / "r")
    assert found.labels == read_labels("something_v2")
    assert {key: found.spec.to_dict()[key] for key in CLIP} == {**CLIP, "mean": (0.5, 0.5, 0.5)}
    weights = torchvision_resnet(18, base=8, classes=174)
    assert torch.equal(found.model.get_submodule("stem.conv").weight, weights["conv1.weight"])  # type: ignore[arg-type]
    card = found.card["weights"]
    assert (card["release"], card["licence"], card["classifier"]) == ("small", "BSD-3-Clause", "imported")
    assert card["sha256"] in out
    status, out, _ = run(capsys, "weights", "get", "small", "--json")
    assert json.loads(out)["complete"]
    assert web.asked == ["/small.pth"]  # once
    _, out, _ = run(capsys, "weights", "get", "small")
    assert "--weights small" in out


def test_another_number_of_classes_has_a_new_classifier(
    web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.txt").write_text("one\ntwo\n\nthree\n")
    out = str(tmp_path / "r")
    words = ("weights", "get", "small", "--classes", "3", "--out", out)
    assert "new classifier of 3 classes needs the names of its outputs (--labels FILE)" in refused(capsys, *words)
    assert web.asked == []  # nothing is fetched for a question that can be asked before
    status, text, _ = run(capsys, *words, "--labels", str(tmp_path / "labels.txt"))
    assert status == 0
    assert "classifier new" in text
    found = Recognizer.load(out)
    assert found.labels == ("one", "two", "three")
    assert found.card["weights"]["classifier"] == "random"
    sentence = refused(capsys, "weights", "get", "small", "--out", out, "--labels", str(tmp_path / "labels.txt"))
    assert "has 3 labels for 174 outputs" in sentence


def test_labels_that_nobody_published_have_to_be_given(
    web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed = replace(only(), labels="")
    monkeypatch.setattr(module, "releases", lambda: (unnamed,))
    assert "the order of its 174 outputs is not known here; give labels (--labels FILE)" in refused(
        capsys, "weights", "get", "small", "--out", str(tmp_path / "r")
    )
    assert run(capsys, "weights", "get", "small")[0] == 0


def test_a_file_that_does_not_fit_is_not_saved(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = torchvision_resnet(18, base=8, classes=174)
    del weights["layer2.0.conv1.weight"]
    put(web, tmp_path, weights)
    status, out, err = run(capsys, "weights", "get", "small", "--out", str(tmp_path / "r"))
    assert status == 1
    assert "missing in the file: layer2.0.conv1.weight" in out
    assert err == "kinema: small: its file does not fit tsn_r18 completely; nothing was saved\n"
    assert not (tmp_path / "r").exists()
    put(web, tmp_path, torchvision_resnet(18, base=8, classes=7))
    (tmp_path / "cache" / "weights" / "small" / "small.pth").unlink()
    status, _, err = run(capsys, "weights", "get", "small", "--out", str(tmp_path / "r"))
    assert (status, "does not fit" in err) == (1, True)  # its own classifier is part of a release


def test_a_pickle_with_code_does_not_run_and_is_not_kept(
    web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(web, tmp_path, {"conv1.weight": Evil(tmp_path / "ran")})
    status, _, err = run(capsys, "weights", "get", "small")
    assert status == 1
    assert "is not unpickled" in err
    assert "the fetched file was deleted" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    assert fetched(tmp_path) == []


def test_half_a_file_of_unknown_length_is_not_kept(
    web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.files["/small.pth"] = web.files["/small.pth"][:-1000]
    status, _, err = run(capsys, "weights", "get", "small")
    assert status == 1
    assert "damaged" in err
    assert fetched(tmp_path) == []


def test_a_wrong_hash_and_no_network_are_one_sentence_each(
    web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(only(), sha256="0123abcd")
    monkeypatch.setattr(module, "releases", lambda: (wrong,))
    status, out, err = run(capsys, "weights", "get", "small")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "instead of the published 0123abcd" in err
    lost = replace(only(), address=f"http://127.0.0.1:{closed_port()}/small.pth")
    monkeypatch.setattr(module, "releases", lambda: (lost,))
    status, out, err = run(capsys, "weights", "get", "small")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("kinema: small: cannot be fetched from 127.0.0.1 (")
    assert fetched(tmp_path) == []


def test_a_file_that_was_downloaded_by_hand(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "weights", "get", "small", "--file", str(tmp_path / "made.pth"))
    assert (status, web.asked) == (0, [])
    assert "classifier taken over" in out
    assert "there is no such file of weights" in refused(capsys, "weights", "get", "small", "--file", "none.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "made.pth").read_bytes()[:-100])
    assert "damaged" in refused(capsys, "weights", "get", "small", "--file", str(tmp_path / "half.pth"))
    assert (tmp_path / "half.pth").exists()  # what is not ours is not deleted


def test_bad_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'torchvision-resnet18'" in refused(capsys, "weights", "get", "torchvision-resnet1")
    assert "classes is 0: give a number above 0" in refused(
        capsys, "weights", "get", "efficientnet-lite0", "--classes", "0"
    )
    assert "timeout is -1.0: give" in refused(capsys, "weights", "get", "efficientnet-lite0", "--timeout", "-1")
