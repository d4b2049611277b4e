"""An upload in the folder of its visitor: checked, named safely, converted."""

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

_LONGEST_NAME = 80  # characters that are shown of a visitor's name of a file


@dataclass(frozen=True)
class Upload:
    """A visitor's video.

    Attributes:
        name: as the visitor knows it, printable.
        file: what was sent, in the session's folder.
        shown: the same as MP4 for the browser.
        facts: of `shown`.
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
        sent: where the server stored it; it is not there afterwards.
        session: of the visitor.
        limits: of uploads.
        name: that the visitor gave it.
        progress: of the conversion, see `convert`.

    Raises:
        UnreadableVideo: it is refused, or nothing of it can be decoded.
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
