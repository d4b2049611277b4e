"""Labels for many videos: one row per input, including inputs that fail, in a folder of Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.labelling.ledger import read_labels
    from kinema.labelling.run import Labelled, label

__all__ = ["Labelled", "label", "read_labels"]

__getattr__ = lazy_names(
    __name__,
    {
        "Labelled": "kinema.labelling.run",
        "label": "kinema.labelling.run",
        "read_labels": "kinema.labelling.ledger",
    },
)
