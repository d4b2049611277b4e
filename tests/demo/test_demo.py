"""The demo in miniature: every step of the story, and a page that needs nothing beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kinema.cli import main


@pytest.mark.parametrize("split", ["test", "speed"])
def test_the_demo_needs_what_it_tests_on(split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo"), f"--{split}", "0"]) == 2
    assert f"{split} is 0" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_the_whole_story_in_miniature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    words = ["--train", "1", "--test", "1", "--speed", "1", "--epochs", "1", "--width", "0.0625"]
    assert main(["demo", "--out", str(out), *words]) == 0
    printed = capsys.readouterr().out
    assert "tsn_r18" in printed
    # Every clip of a pair has its exact reversal in the test: whatever TSN has learned, it is right in half of them.
    inside = re.findall(r"direction in the reversal pairs: ([\d.]+)% of 10 videos", printed)
    assert len(inside) == 2
    assert inside[1] == "50.0"
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert page.count("data:image/png;base64,") == 2  # sheet and strip
    assert page.count("<table class=confusion>") == 2
    assert not re.search(r"""(src|href)=['"]https?:""", page)
    for word in ("expected / read / failed", "16 / 16 / 0", "McNemar", "MACs per clip", "torch"):
        assert word in page
    assert re.search(r"stm_r18 takes [\d.]+ times as long as tsn_r18", page)
    assert (out / "stm_r18" / "recognizer" / "card.json").is_file()
    assert main(["compare", str(out / "tsn_r18"), str(out / "stm_r18")]) == 0
    assert "16 videos that both were tested on" in capsys.readouterr().out
