"""Labels of any script in the figures: as they are, with room, without a word from Matplotlib."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from html import unescape
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from kinema.report import figures
from kinema.report.letters import NOTE, Letters, needs_note

SCRIPTS = {
    "Chinese": "步行",
    "Japanese": "手を振る",
    "Korean": "걷다",
    "Hindi": "लहराना",
    "Thai": "ลุกขึ้นยืน",
    "Arabic": "التلويح باليد",
    "emoji": "👋🏽 wave 🏃‍♀️",
    "mixed": "wave 挥手 <b>&",
}
INKS = {"跑 1": "#2563eb", "run 2": "#d97706"}
ROWS = [{"epoch": i, "train_loss": 1 / i, "train_top1": 0.2, "val_top1": 0.1, "lr": 0.1} for i in (1, 2, 3)]


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg[: svg.rindex("</svg>") + 6])
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def all_figures(labels: list[str]) -> list[list[str]]:
    values = dict(zip(labels, np.linspace(-3, 3, len(labels)), strict=True))
    shares = {name: dict.fromkeys(labels, 0.4) for name in INKS}
    histories = dict.fromkeys(INKS, ROWS)
    points = np.random.default_rng(0).random((len(labels), 2))
    drawn = [
        figures.bars(shares, INKS), figures.gains(values), figures.scores([(label, 0.2) for label in labels]),
        figures.loss_curves(histories, INKS), figures.scatter("跑 1", points, labels, labels),
        figures.top1_curves(histories, INKS), figures.rate_curves(histories, INKS),
    ]  # fmt: skip
    return [texts(svg) for svg in drawn]


@pytest.mark.parametrize("label", SCRIPTS.values(), ids=SCRIPTS)
def test_a_label_stands_in_the_figures_as_it_is(label: str) -> None:
    bars, gains, scores, loss, scatter, *_ = all_figures([label, "ordinary"])
    for shown in (bars, gains, scores):
        assert shown.count(label) == shown.count("ordinary") == 1
    for shown in (bars, loss):
        assert {"跑 1", "run 2"} <= set(shown)
    assert "跑 1" in scatter


def test_labels_that_take_equal_room_are_not_exchanged() -> None:
    labels = ["走路", "跑步", "跳舞", "坐下", "$1 and $2", "$3 and $4", "03 and 04"]
    bars = all_figures(labels)[0]
    assert [text for text in bars if text in labels] == labels


@pytest.mark.parametrize("family", ["DejaVu Serif", "cmr10", "SimHei, which nobody has"])
def test_a_persons_own_font_for_figures_changes_nothing(family: str) -> None:
    plain = figures.gains({"步行": 1.0, "wave": -1.0})
    with matplotlib.rc_context({"font.family": family, "svg.fonttype": "path"}):
        assert figures.gains({"步行": 1.0, "wave": -1.0}) == plain


@pytest.mark.parametrize(
    ("label", "em"),
    [("步行走路", 4), ("手を振る", 4), ("🏃🏃", 2.4), ("लहराना", 2.5), ("ก้", 0.5), ("步行 walking", 5.5)],
)
def test_there_is_room_for_a_label_and_little_more(label: str, em: float) -> None:
    stand_in = Letters()(label).rstrip("\u200c\u200d")
    width = TextPath((0, 0), stand_in + "|", size=100, prop=FontProperties(family="DejaVu Sans")).get_extents().x1
    assert em - 0.2 < width / 100 - 0.2 < em * 1.3 + 0.6


def test_what_neither_xml_nor_utf_8_can_hold_is_replaced() -> None:
    labels = ["two\nlines", "bell\x07", "caf\udce9", "\ufffe not a letter", "tab\tand\r\nend"]
    shown = all_figures(labels)[0]
    assert {"two lines", "bell�", "caf\\udce9", "� not a letter", "tab and  end"} <= set(shown)
    assert figures.gains(dict.fromkeys(labels, 1.0)).encode("utf-8")


def test_a_label_without_room_keeps_its_ends_and_tells_the_rest() -> None:
    labels = [f"Moving something and something so that they {end}" for end in ("collide with each other", "do not")]
    labels.append("穿着红色衣服的人在公园里慢慢地向右边走过去然后又慢慢地走回来最后坐下")
    svg = figures.gains(dict.fromkeys(labels, 1.0))
    shown = [text for text in texts(svg) if " … " in text]
    assert len(set(shown)) == 3
    for label, text in zip(labels, shown, strict=True):
        head, tail = text.split(" … ")
        assert label.startswith(head)
        assert label.endswith(tail)
    assert [unescape(title) for title in re.findall(r"<title>(.*?)</title>", svg)] == labels


def test_what_the_own_font_has_needs_nothing() -> None:
    for label in ("walk", "Über die Straße", "идти", "περπατώ", "التلويح"):
        assert Letters()(label) == label
        assert not needs_note([label])
    assert needs_note(["walk", "步行"])
    assert needs_note(["👋"])
    assert not needs_note(["e\u0301"])
    assert "install a font" in NOTE
