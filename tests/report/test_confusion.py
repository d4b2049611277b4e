from __future__ import annotations

import re

from kinema.report.confusion import confusion, most_confused

TRUTH = ["a", "a", "a", "a", "b", "b", "c <i>"]
SAID = ["a", "a", "a", "b", "b", None, "a"]
LABELS = ["a", "b", "c <i>"]


def rows(html: str) -> list[list[str]]:
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)[1:]]


def test_shares_by_hand() -> None:
    html = confusion("run & co", TRUTH, SAID, LABELS)
    assert rows(html) == [["75", "25", "", ""], ["", "50", "", "50"], ["100", "", "", ""]]
    assert re.findall(r"<th><span>(.*?)</span>", html) == ["a", "b", "c &lt;i&gt;", "unreadable"]
    assert "<caption>run &amp; co</caption>" in html
    assert 'title="a: 1 of 4 predicted as b"' in html


def test_right_is_blue_and_wrong_is_orange() -> None:
    html = confusion("run", ["a", "b"], ["a", "a"], ["a", "b"])
    assert re.findall(r"rgb\((.*?)\)", html) == ["29,78,216", "194,65,12"]


def test_classes_that_are_left_out_become_one_column() -> None:
    html = confusion("run", TRUTH, ["b", "b", "c <i>", "a", "b", "b", "b"], ["a", "c <i>"])
    assert rows(html) == [["25", "25", "50"], ["", "", "100"]]
    assert "other classes" in html


def test_the_classes_with_the_most_errors_are_kept_in_order() -> None:
    labels = ["z", "y", "x", "w"]
    assert most_confused(["z", "y"], [["y", "z"]], labels, most=4) == labels
    # x is right, w is taken for y twice, z for y once, and what is unreadable is no confusion.
    truth, said = ["x", "w", "w", "z", "x"], ["x", "y", "y", "y", None]
    assert most_confused(truth, [said], labels, most=2) == ["y", "w"]
    assert most_confused(truth, [said, said], labels, most=3) == ["z", "y", "w"]


def test_small_shares_leave_a_dot() -> None:
    html = confusion("run", ["a"] * 1000, ["a"] * 999 + ["b"], ["a", "b"])
    assert rows(html)[0] == ["100", "·"]
