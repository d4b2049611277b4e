"""Files of a repository on the Hugging Face hub."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from kinema.errors import RunError

HUB = "hf-hub:"


def from_hub(name: str, files: Sequence[str]) -> Path:
    """Fetches files of a repository, or finds them where they were fetched before.

    Args:
        name: `organisation/name`.
        files: their names.

    Returns:
        The folder that holds them.

    Raises:
        RunError: no network, or no such repository.
    """
    from huggingface_hub import snapshot_download  # a second to import, and few need it

    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)  # it warns of each of its five tries
    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        raise RunError(
            f"{HUB}{name}: cannot be fetched ({type(error).__name__}); check the name and the network"
        ) from error
    finally:
        client.setLevel(level)
