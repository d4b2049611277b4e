"""Files and folders that systems leave beside data: archives of macOS, thumbnails, recycle bins, editors' copies."""

from __future__ import annotations

_NAMES = frozenset(
    (
        "__macosx", "icon\r", "network trash folder", "temporary items",  # macOS, AFP
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",  # Windows
        "$recycle.bin", "recycler", "system volume information",
        "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@sharebin",  # disk stations
        "lost+found", "__pycache__",
    )
)  # fmt: skip
_BEGINNINGS = (".", "~$")  # `._a.mp4`, `.DS_Store`, `.ipynb_checkpoints`; lock files of office programs
_ENDS = (":zone.identifier",)  # where Windows' mark of a download was copied as a file


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name was left by a system and is no data.

    Args:
        name: without folders.
    """
    name = name.lower()
    return name in _NAMES or name.startswith(_BEGINNINGS) or name.endswith(_ENDS)
