"""What several commands are tried on: a data set of good and bad videos, and a recognizer of its labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation.mixed_data import mixed_data, recognizer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_data(tmp_path_factory.mktemp("mixed data")).parent


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recognizer().save(tmp_path_factory.mktemp("recognizers") / "rec")
