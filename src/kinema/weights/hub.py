"""Files of a repository on the Hugging Face hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from kinema.errors import KinemaError, RunError

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


def to_hub(folder: Path, name: str, *, private: bool = False) -> str:
    """Puts the files of a folder into a repository, which is made where there is none.

    Args:
        folder: whose files go there.
        name: `organisation/name`.
        private: whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        KinemaError: not such a name.
        RunError: no network, or the hub refuses.
    """
    name = name.removeprefix(HUB)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise KinemaError(f"{name!r} is not a repository of the hub: give organisation/name")
    from huggingface_hub import HfApi

    client = HfApi()
    try:
        client.create_repo(name, private=private, exist_ok=True)
        commit = client.upload_folder(repo_id=name, folder_path=str(folder), commit_message="Recognizer of Kinema")
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        raise RunError(
            f"{HUB}{name}: cannot be written ({type(error).__name__}); log in with `hf auth login`, and check the name "
            "and the network"
        ) from error
    return str(commit.commit_url)
