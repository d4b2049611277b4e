"""Files and folders that systems leave beside data: macOS archives, thumbnails, recycle bins, editor backups."""

from __future__ import annotations

_NAMES = frozenset(
    (
        "__macosx", "icon\r", "network trash folder", "temporary items",  # macOS, AFP
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",  # Windows
        "$recycle.bin", "recycler", "system volume information",
        "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@sharebin",  # network storage
        "lost+found", "__pycache__",
    )
)  # fmt: skip
_BEGINNINGS = (".", "~$")  # `._a.mp4`, `.DS_Store`, `.ipynb_checkpoints`; office lock files
_ENDS = (":zone.identifier",)  # Windows' mark of a download, copied as a file


def is_clutter(name: str) -> bool:
    """True if a file or folder with this name was left by a system and is not data.

    Args:
        name: name without folders.
    """
    name = name.lower()
    return name in _NAMES or name.startswith(_BEGINNINGS) or name.endswith(_ENDS)
