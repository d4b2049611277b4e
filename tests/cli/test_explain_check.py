"""`kinema explain REC --check DATA`: tables, verdicts in the card, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from explain.test_verdicts import activation, small
from torch import Tensor, nn

from kinema import Recognizer
from kinema.card import CARD, read_card
from kinema.cli import main
from kinema.explain import explain
from kinema.puppets import generate
from kinema.puppets.actions import LABELS


@pytest.fixture(scope="module")
def puppets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("puppets"), seed=4, train=1, test=1, speed=0, size=64, workers=1)


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods: class activation of the last stage, and the picture itself."""

    def explain(model: nn.Module, clip: Tensor, *, method: str, target: int, layer: str | None) -> list:
        found = activation(model, clip, target) if method == "cam" else clip[0].abs().mean(0)
        return [SimpleNamespace(map=None if method == "none" else found, layer="layer4" if method == "cam" else None)]

    module = ModuleType("kinema.explain.explanation")
    module.METHODS = {"cam": 0, "edges": 0, "none": 0}  # type: ignore[attr-defined]
    module.explain = explain  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kinema.explain.explanation", module)


def check(recognizer: Path, data: Path, *words: str) -> int:
    return main(["explain", str(recognizer), "--check", str(data), "--clips", "9", "--device", "cpu", *words])


@pytest.mark.usefixtures("methods")
def test_tables_and_verdicts(puppets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recognizer = small(LABELS).save(tmp_path / "recognizer")
    assert check(recognizer, puppets, "--method", "cam,edges") == 0
    printed = capsys.readouterr().out
    for word in ("cam", "edges", "random", "centre", "pointing", "layer4", "other", "stored in"):
        assert word in printed
    verdicts = read_card(recognizer / CARD).more["verdicts"]
    assert verdicts.keys() == {"cam", "edges"} and verdicts["cam"]["layer"] == "layer4"
    assert any("weights" in reason for reason in verdicts["edges"]["reasons"])


@pytest.mark.usefixtures("methods")
def test_json_and_an_unreadable_video(puppets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recognizer = small(LABELS).save(tmp_path / "recognizer")
    broken = generate(tmp_path / "puppets", seed=4, train=1, test=1, speed=0, size=64, workers=1)
    for label in LABELS[:3]:
        (broken / "test" / label / "0000.mp4").write_bytes(b"no video")
    assert main(["explain", str(recognizer), "--check", str(broken), "--clips", "99", "--method", "cam", "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["faithfulness"]["clips"] == len(LABELS) - 3 == len(LABELS) - len(found["failures"])
    assert found["verdicts"]["cam"]["passed"] in (True, False)
    assert all(label in err for label in LABELS[:3])


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--check", "DATA", "--method", "cma"], "cam"),
        (["--check", "DATA", "--method", "none", "--clips", "9"], "none"),
        (["--check", "DATA", "--method", "cam", "--clips", "3"], "--clips"),
        (["--check", "nowhere", "--method", "cam"], "nowhere"),
        (["walk.mp4", "--check", "DATA", "--method", "cam"], "walk.mp4"),
        (["--method", "cam"], "VIDEO"),
    ],
)
def test_refuses(
    words: list[str], named: str, puppets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recognizer = small(LABELS).save(tmp_path / "recognizer")
    before = (recognizer / CARD).read_bytes()
    assert main(["explain", str(recognizer), *(str(puppets) if word == "DATA" else word for word in words)]) == 2
    assert named in capsys.readouterr().err
    assert (recognizer / CARD).read_bytes() == before


@pytest.mark.usefixtures("methods")
def test_a_recognizer_of_the_hub_is_refused_before_it_is_measured(
    puppets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "hf-hub:some/one", "--check", str(puppets), "--method", "cam"]) == 2
    assert "hf-hub:some/one" in capsys.readouterr().err


def test_the_real_methods(puppets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recognizer = small(LABELS).save(tmp_path / "recognizer")
    assert check(recognizer, puppets, "--method", "tube,cam,gradcam,attention", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["faithfulness"]["rows"]) == ["tube", "cam", "gradcam", "attention", "random", "centre"]
    assert {verdict["layer"] for verdict in found["verdicts"].values()} == {"layer4"}
    assert found["sanity"]["attention"]["other_class"]["mean"] == pytest.approx(1)
    # an untrained network explains nothing, and its explanations say so
    loaded = Recognizer.load(recognizer)
    failed = [name for name, verdict in found["verdicts"].items() if not verdict["passed"]]
    assert failed
    for name in found["verdicts"]:
        (one,) = explain(loaded, puppets / "test" / "wave" / "0000.mp4", method=name)
        assert one.verdict == (found["verdicts"][name]["text"] if name in failed else None)
    assert check(recognizer, puppets, "--method", "pyramid") == 0
    for name in ("features", "piramid"):
        assert check(recognizer, puppets, "--method", name) == 2
        assert name in capsys.readouterr().err


def test_faithfulness_is_called_by_its_public_name() -> None:
    import kinema.explain
    import kinema.explain.faithful

    assert kinema.explain.faithfulness is kinema.explain.faithful.faithfulness
