"""Findings about folders of frames: pictures that were left out, and missing numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from kinema.data.findings import Finding
from kinema.data.reading.frame_sequence import frame_sequence
from kinema.errors import UnreadableVideo
from kinema.text import plural

SHOWN = 3  # pictures or gaps that are listed per folder


def check_frame_folders(paths: Iterable[str]) -> list[Finding]:
    """Reports on the folders of frames among the readable videos of a data set.

    Args:
        paths: files and folders; only folders are examined.
    """
    left_out, gaps = [], []
    for path in sorted(path for path in paths if os.path.isdir(path)):  # noqa: PTH112 - Path.is_dir() may raise
        try:
            sequence = frame_sequence(Path(path))
        except (UnreadableVideo, OSError):  # it was readable when probed; the next reader reports the reason
            continue
        if sequence.left_out:
            names = ", ".join(sequence.left_out[:SHOWN]) + (", …" if sequence.left_out[SHOWN:] else "")
            pictures = plural(len(sequence.left_out), "picture")
            left_out.append(f"{path}: {pictures} ({names}) beside {plural(len(sequence.names), 'frame')}")
        if sequence.gaps:
            runs = [str(a) if a == b else f"{a} to {b}" for a, b in sequence.gaps]
            shown = ", ".join(runs[:SHOWN]) + (f" and {plural(len(runs) - SHOWN, 'other gap')}" if runs[SHOWN:] else "")
            gaps.append(f"{path}: {shown} missing between {sequence.names[0]} and {sequence.names[-1]}")
    found = []
    if left_out:
        verb = "holds" if len(left_out) == 1 else "hold"
        message = f"{plural(len(left_out), 'folder')} of frames {verb} pictures that were left out because their names "
        message += "do not belong to the sequence: check that the right pictures were used"
        found.append(Finding("warning", "frames-left-out", message, tuple(left_out)))
    if gaps:
        verb = "has" if len(gaps) == 1 else "have"
        message = f"{plural(len(gaps), 'folder')} of frames {verb} gaps in the numbers: the frames before and after a "
        message += "gap are treated as consecutive"
        found.append(Finding("warning", "missing-frames", message, tuple(gaps)))
    return found
