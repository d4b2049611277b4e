"""A small input for labelling, with sound and broken videos, and a network whose answers differ."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from evaluation.mixed_data import picture_sequence, recognizer
from tiny import write_video

from kinema.labelling import label, read_labels

__all__ = ["GOOD", "assert_same", "label_quietly", "plain", "recognizer", "small_input"]

GOOD = 5


def small_input(folder: Path) -> Path:
    """Five videos, one that is cut off, an empty one and a text."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(GOOD):
        write_video(folder / f"clip {i}.mp4", picture_sequence(i, 8 + 3 * i))
    whole = (folder / "clip 1.mp4").read_bytes()
    (folder / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mkv").write_text("no video\n" * 30)
    return folder


def label_quietly(inputs: object, output: Path, **options: object) -> object:
    """`label` in this process, one view in a pass, so that a run takes little time."""
    options = {"recognizer": None, "workers": 0, "batch": 2, **options}
    rec = options.pop("recognizer") or recognizer()
    return label(rec, inputs, output, **options)  # type: ignore[arg-type]


def plain(output: Path) -> pa.Table:
    """The table without what two equal runs may differ in: whether a file was old enough for its stamp to count."""
    return read_labels(output).drop_columns(["stamp"])


def assert_same(ours: pa.Table, theirs: pa.Table) -> None:
    """Two tables of `plain` are equal, scores to 1e-6."""
    scores = ["score", "top_scores"]
    assert ours.drop_columns(scores).equals(theirs.drop_columns(scores))
    for one, other in zip(ours["top_scores"].to_pylist(), theirs["top_scores"].to_pylist(), strict=True):
        assert (one is None and other is None) or one == pytest.approx(other, abs=1e-6)
