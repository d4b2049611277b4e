"""What many tests need once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_data


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a tiny data set; do not change its files."""
    return tiny_data(tmp_path_factory.mktemp("tiny data"))
