"""Export of recognizers to files that other programs run: `export` writes and checks a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.export.files import Exported, export

__all__ = ["Exported", "export"]

__getattr__ = lazy_names(__name__, {"Exported": "kinema.export.files", "export": "kinema.export.files"})
