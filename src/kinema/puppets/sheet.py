"""`contact_sheet`: a picture with which people can check what the clips show."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kinema.errors import KinemaError, UnreadableVideo, unknown
from kinema.puppets.actions import ACTIONS
from kinema.puppets.clips import SPLITS

_INK, _PAPER, _GAP = (40, 42, 54), (250, 249, 246), 2


def contact_sheet(folder: Path, out: Path, *, split: str = "test", columns: int = 8, clips: int = 1) -> Path:
    """Draws rows of evenly spaced frames, `clips` rows per class, with the label beside them.

    Args:
        folder: folder written by `generate`.
        out: path of the PNG file.
        split: `train`, `test` or `speed`.
        columns: number of frames per row.
        clips: number of rows per class.

    Returns:
        The path of the PNG file.

    Raises:
        KinemaError: the folder contains no puppets, the split is unknown or empty, or a clip cannot be read.
    """
    manifest = Path(folder) / "manifest.csv"
    if not manifest.is_file():
        raise KinemaError(f"{manifest} is missing: give a folder that `kinema data puppets` has written")
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    paths: dict[str, list[str]] = {}
    with manifest.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                paths.setdefault(row["label"], []).append(row["path"])
    if not paths:
        raise KinemaError(f"{manifest} has no clip in the split {split!r}: give another split")
    rows = []
    for rank, label in enumerate(label for action in ACTIONS for label in action.labels if label in paths):
        # other clips for every class, so that the sheet does not show the same scene forwards and backwards
        for k in range(min(clips, len(paths[label]))):
            path = paths[label][(rank + k) % len(paths[label])]
            rows.append((label, _frames(Path(folder) / path, columns)))

    font = ImageFont.load_default(14)
    margin = 16 + max(round(font.getlength(label)) for label, _ in rows)
    side = rows[0][1][0].width
    width, height = margin + columns * (side + _GAP), len(rows) * (side + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for r, (label, frames) in enumerate(rows):
        top = _GAP + r * (side + _GAP)
        draw.text((margin - 8, top + side / 2), label, fill=_INK, font=font, anchor="rm")
        for c, frame in enumerate(frames):
            sheet.paste(frame, (margin + c * (side + _GAP), top))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, format="PNG")
    return out


def _frames(path: Path, count: int) -> list[Image.Image]:
    try:
        with av.open(path) as container:
            frames = list(container.decode(video=0))
    except (OSError, av.FFmpegError) as error:
        raise UnreadableVideo(path, f"cannot be decoded ({error}): generate the puppets again") from error
    middles = (np.arange(count) + 0.5) * len(frames) / count
    return [frames[int(i)].to_image() for i in middles]
