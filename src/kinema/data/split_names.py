"""The names, in lower case, by which data sets call their splits."""

from __future__ import annotations

TRAIN = ("train", "training")
VALIDATION = ("val", "valid", "validation")
TEST = ("test", "testing")
