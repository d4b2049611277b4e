from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinema.data import lettering
from kinema.data.lettering import fitted, missing, warn_of_missing, width_of, wrapped, write
from kinema.errors import KinemaWarning


def drawn(text: str, size: int = 20) -> np.ndarray:
    image = Image.new("RGB", (max(8, width_of(text, size) + 4), 30))
    write(image, (0, 0), text, size, (255, 255, 255))
    return np.asarray(image)[..., 0]


@pytest.mark.parametrize("text", ["jump", "Müßiggang", "прыжок", "άλμα", "şapka çıkar", "→ ½ ≥"])
def test_many_scripts_need_no_other_font(text: str) -> None:
    assert missing([text]) == ""
    ink = drawn(text)
    assert ink.max() > 200
    assert np.flatnonzero(ink.max(0) > 100)[-1] >= width_of(text, 20) - 5
    assert not np.array_equal(ink, drawn("\ue000" * len(text))[: ink.shape[0], : ink.shape[1]])


def test_letters_without_a_font_are_named_once_and_drawn_as_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_other", lambda letter: None)
    assert missing(["跳 jump 跳", "跑"]) == "".join(sorted("跳跑"))
    assert drawn("跳").max() > 200


def test_another_font_is_taken_where_it_has_the_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    other = f"{matplotlib.get_data_path()}/fonts/ttf/cmsy10.ttf"
    default = lettering._default()
    monkeypatch.setattr(lettering, "_has", lambda path, letter: path == other if letter == "∀" else path == default)
    monkeypatch.setattr(lettering, "_other", lambda letter: other)
    assert lettering._runs("a ∀ b") == [("a ", default), ("∀ ", other), ("b", default)]
    assert drawn("a∀b").max() > 200


def test_marks_stay_with_their_letter() -> None:
    assert len(lettering._runs("e\u0301a\u0308")) == 1
    assert missing(["e\u0301"]) == ""
    for width in range(10, 120, 7):
        assert "…\u0301" not in fitted("e\u0301" * 12, 20, width)


@pytest.mark.parametrize("text", ["a very long name of a class, the second", "x" * 300, "прыжок через верёвку"])
def test_what_does_not_fit_loses_its_middle(text: str) -> None:
    for width in (40, 90, 200):
        short = fitted(text, 16, width)
        assert width_of(short, 16) <= width
        if short != text:
            assert "…" in short
            assert short.endswith(text[-1])
    assert fitted("jump", 16, 200) == "jump"
    assert fitted("", 16, 200) == ""


def test_long_sentences_are_broken_at_spaces() -> None:
    text = "not faithful on this network: no better than a random map"
    lines = wrapped(text, 14, 220, 3)
    assert 1 < len(lines) <= 3
    assert " ".join(lines) == text
    assert all(width_of(line, 14) <= 220 for line in lines)
    assert len(wrapped(text * 20, 14, 220, 2)) == 2
    assert wrapped("", 14, 220, 2) == [""]
    assert width_of(wrapped("x" * 500, 14, 220, 2)[0], 14) <= 220


def test_control_characters_and_broken_names_do_no_harm() -> None:
    assert lettering.clean("a\nb\tc") == "a b c"
    assert lettering.clean("a\x00b\udce9") == "a\ufffdb\\udce9"
    assert drawn("a\nb\x07\udce9").max() > 200


def test_a_font_that_was_installed_since_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Matplotlib's own list is of the time at which it was first imported on the machine."""
    import matplotlib
    from matplotlib import font_manager

    own = Path(matplotlib.get_data_path(), "fonts", "ttf")
    new, broken = tmp_path / "new.ttf", tmp_path / "broken.ttf"
    new.write_bytes((own / "STIXGeneral.ttf").read_bytes())
    broken.write_bytes(b"no font")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(broken), str(new)])
    lettering._installed.cache_clear()
    try:
        assert lettering._installed() == (str(new),)
        assert lettering._other.__wrapped__("a") == str(new)
        assert lettering._other.__wrapped__("跳") is None
    finally:
        lettering._installed.cache_clear()


@pytest.mark.parametrize(("text", "font"), [("跳 jump", "Noto Sans CJK"), ("ᎠᎡ", "Noto")])
def test_one_warning_names_the_letters_and_a_font(text: str, font: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_other", lambda letter: None)
    with pytest.warns(KinemaWarning, match=text[0]) as caught:
        assert warn_of_missing([text, text]) == missing([text])
    assert len(caught) == 1
    assert font in str(caught[0].message)
    assert warn_of_missing(["jump"]) == ""
    many = "".join(chr(0x4E00 + i) for i in range(300))
    with pytest.warns(KinemaWarning) as caught:
        warn_of_missing([many])
    assert len(str(caught[0].message)) < 250
