"""Uploads in the folder of their visitor: checked, safely named and converted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kinema.errors import KinemaError
from kinema.media.conversion import Converted, convert
from kinema.media.limits import UploadLimits, check_file
from kinema.media.sessions import Session
from kinema.text import printable

_LONGEST_NAME = 80  # characters of the visitor's file name that are shown


@dataclass(frozen=True)
class Upload:
    """A visitor's video.

    Attributes:
        name: the visitor's name of the file, printable.
        file: the uploaded file, in the session's folder.
        shown: the video as MP4 for the browser.
        facts: properties of `shown`.
    """

    name: str
    file: Path
    shown: Path
    facts: Converted


def take(
    sent: Path, session: Session, limits: UploadLimits, *, name: str,
    progress: Callable[[float, float], None] | None = None,
) -> Upload:  # fmt: skip
    """Moves an upload into the session's folder and converts it.

    Args:
        sent: path at which the server stored it; the file is moved.
        session: session of the visitor.
        limits: limits of uploads.
        name: the visitor's name of the file.
        progress: progress of the conversion, see `convert`.

    Raises:
        UnreadableVideo: the upload is refused, or no frame can be decoded.
    """
    shown_name = printable(Path(name).name)[:_LONGEST_NAME] or "video"
    try:
        suffix = check_file(sent, limits, name=shown_name)
        file = session.place(suffix, shown_name)
        shutil.move(sent, file)
    finally:
        sent.unlink(missing_ok=True)
    shown = session.place(".mp4", f"{Path(shown_name).stem}.mp4")
    try:
        facts = convert(file, shown, limits, name=shown_name, progress=progress)
    except KinemaError:
        file.unlink(missing_ok=True)
        raise
    return Upload(shown_name, file, shown, facts)
