"""What many tests need once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import tiny_data


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a tiny data set; do not change its files."""
    return tiny_data(tmp_path_factory.mktemp("tiny data"))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the cache of the person who runs them."""
    patch = pytest.MonkeyPatch()
    patch.setenv("KINEMA_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()
