"""The recognizer that comes with the page, on clips that it has not seen."""

from __future__ import annotations

from pathlib import Path

from kinema.app.shipped import FOLDER, shipped_recognizer
from kinema.data.manifest import read_manifest
from kinema.evaluation.runner import evaluate
from kinema.puppets import generate
from kinema.puppets.actions import LABELS


def test_it_knows_generated_figures_of_another_seed(tmp_path: Path) -> None:
    recognizer, about = shipped_recognizer()
    assert set(recognizer.labels) == set(LABELS)
    data = read_manifest(generate(tmp_path / "puppets", seed=7, train=1, test=2, speed=0, workers=1))
    result = evaluate(recognizer, data.split("test"), views=(1, 1), workers=0)
    assert result.coverage.read == 2 * len(LABELS)
    # Chance is 6 %. 98 % is what it reached on 256 test clips of seed 0, 0.8 allows for the few clips here.
    assert result.metrics.top1 >= 0.8 and recognizer.card["metrics"]["test"]["top1"] >= 0.95
    assert f"{100 * recognizer.card['metrics']['test']['top1']:.0f} %" in about and "nothing else" in about


def test_it_is_small_and_names_no_machine() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 2_100_000
    card = (FOLDER / "card.json").read_text()
    assert "/tmp" not in card and "/work" not in card and "/home" not in card
