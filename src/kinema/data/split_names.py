"""The names, in lower case, that data sets use for their splits."""

from __future__ import annotations

TRAIN = ("train", "training")
VALIDATION = ("val", "valid", "validation")
TEST = ("test", "testing")
