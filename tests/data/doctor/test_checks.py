from __future__ import annotations

import re

from kinema.data.doctor.checks import check_files, check_labels
from kinema.data.manifest import Manifest, Sample
from kinema.data.video import VideoInfo


def manifest_of(*rows: tuple[str, str], flips: dict[str, str] | None = None) -> Manifest:
    samples = tuple(Sample(f"{i}.mp4", label, split) for i, (label, split) in enumerate(rows))
    return Manifest("data.csv", samples, tuple(sorted({label for label, _ in rows})), flips or {})


def codes(manifest: Manifest) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {f.code: (f.severity, f.paths) for f in check_labels(manifest)}


def test_labels_in_one_split_only() -> None:
    rows = [("a", "train"), ("a", "test"), ("b", "train"), ("c", "test"), ("a", "val"), ("d", "test"), ("d", "val")]
    found = [(f.severity, f.code, f.paths) for f in check_labels(manifest_of(*rows))]
    assert ("error", "label-in-one-split", ("b",)) in found
    assert ("error", "label-in-one-split", ("c",)) in found
    assert found.count(("error", "label-not-trained", ("d",))) == 2  # in val and in test
    assert not codes(manifest_of(("a", "train"), ("b", "train"), ("a", "test"), ("b", "test")))
    assert codes(manifest_of(("a", "train"), ("b", "train"), ("a", "test"), ("b", "test"), ("a", "speed"))) == {
        "label-not-in-split": ("warning", ("b",))
    }


def test_one_class_imbalance_and_look_alikes() -> None:
    assert codes(manifest_of(("a", "train")))["one-class"][0] == "error"
    rows = [("a", "train")] * 20 + [("b", "train")] * 2 + [("a", "test"), ("b", "test")]
    assert codes(manifest_of(*rows)) == {"imbalance": ("warning", ("b: 2", "a: 20"))}
    assert not codes(manifest_of(*rows, ("b", "train")))
    pairs = check_labels(manifest_of(("Sit down", "x"), ("sit_down", "x"), ("1", "x"), ("2", "x")))
    assert [f.code for f in pairs] == ["similar-labels"]
    assert "'Sit down' and 'sit_down'" in pairs[0].message


def test_handed_labels_want_a_flip_map() -> None:
    rows = [("Push from left to right", "x"), ("push from right to left", "x"), ("leftover", "x"), ("turn left", "x")]
    found = check_labels(manifest_of(*rows))
    assert [(f.severity, f.code, len(f.paths)) for f in found] == [("warning", "no-flip-map", 1)]
    assert '{"Push from left to right": "push from right to left"}' in found[0].message
    a, b = rows[0][0], rows[1][0]
    assert not check_labels(manifest_of(*rows, flips={a: b, b: a}))


def test_two_spellings_of_one_label_are_not_left_and_right() -> None:
    assert "no-flip-map" not in codes(manifest_of(("Wave", "x"), ("wave", "x"), ("1", "x"), ("01", "x")))
    assert codes(manifest_of(("1", "x"), ("01", "x"), ("-1", "x"))).keys() == {"similar-labels"}


def test_parts_outside_of_the_video() -> None:
    info = VideoInfo("a", 50, 25.0, 2.0, 320, 240, "h264", False, False)
    samples = tuple(
        Sample("a", "x", None, start, end)
        for start, end in ((None, None), (0.5, 2.04), (2.0, 3.0), (1.0, 2.5), (0, 0.2))
    )
    found = {f.code: (f.severity, f.paths) for f in check_files(Manifest("m", samples, ("x",)), {"a": info}, 8)}
    assert found == {
        "start-outside": ("error", ("a: start 2 s of 2.00 s",)),
        "end-outside": ("warning", ("a: end 3 s of 2.00 s", "a: end 2.5 s of 2.00 s")),
        "too-short": ("warning", ("a: 5 frames",)),
    }


def all_messages(number: int) -> dict[str, str]:
    """What is said where `number` videos or labels have each fault, by the code of the fault."""
    samples, infos = [], {}
    for i in range(9):  # what is usual
        infos[f"u{i}"] = VideoInfo(f"u{i}", 50, 25.0, 2.0, 320, 240, "h264", False, False)
        samples.append(Sample(f"u{i}", "a", None))
    for i in range(number):
        infos[f"t{i}"] = VideoInfo(f"t{i}", 4, 100.0, 0.04, 190, 60, "h264", False, False)
        infos[f"o{i}"] = VideoInfo(f"o{i}", 50, 25.0, 2.0, 1600, 1200, "h264", False, False)
        samples += [Sample(f"t{i}", "a", None), Sample(f"o{i}", "a", None, 3.0, None), Sample(f"u{i}", "a", None, 1, 9)]
    found = check_files(Manifest("m", tuple(samples), ("a",)), infos, 8)
    rows = [("all", split) for split in ("train", "val", "test")]
    for i in range(number):
        rows += [(f"only test {i}", "test"), (f"no train {i}", "test"), (f"no train {i}", "val")]
        rows += [(f"no val {i}", "train"), (f"no val {i}", "test")]
    found += check_labels(manifest_of(*rows))
    return {f.code: f.message for f in found}


def test_one_and_several_are_told_in_their_grammar() -> None:
    one, two = all_messages(1), all_messages(2)
    assert one.keys() == two.keys()
    assert one.keys() >= {
        "start-outside", "end-outside", "too-short", "tiny", "stretched", "odd-size", "odd-rate", "label-in-one-split",
        "label-not-trained", "label-not-in-split",
    }  # fmt: skip
    for code, message in one.items():
        assert not re.search(r"\b1 (videos|labels)|\b1 video (are|have)|\(.*\) are|\bthey\b|\bthem\b", message), message
        assert message != two[code]
    for message in two.values():
        assert not re.search(r"2 (video|label)\b|videos (is|has)|\(.*\) is|\bit can never|nothing about it", message), (
            message
        )
    assert one["stretched"].startswith("1 video has a long side over 3 times the short side")
    assert one["odd-rate"].startswith("1 video is far slower or faster than the rest")
    assert two["too-short"].startswith("2 videos have fewer frames than a clip (8)")
