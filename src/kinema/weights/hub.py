"""Files of a repository on the Hugging Face hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from kinema.errors import KinemaError, RunError

HUB = "hf-hub:"


def from_hub(name: str, files: Sequence[str]) -> Path:
    """Fetches files of a repository, unless they were fetched before.

    Args:
        name: `organisation/name`.
        files: names of the files.

    Returns:
        The folder that contains them.

    Raises:
        RunError: there is no network, or no such repository.
    """
    from huggingface_hub import snapshot_download  # takes a second to import, and is rarely needed

    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)  # it warns at each of its five attempts
    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # the hub's client raises many unrelated kinds of errors
        raise RunError(
            f"{HUB}{name}: cannot be fetched ({type(error).__name__}); check the name and the network"
        ) from error
    finally:
        client.setLevel(level)


def to_hub(folder: Path, name: str, *, private: bool = False) -> str:
    """Uploads the files of a folder to a repository, which is created if it is missing.

    Args:
        folder: the folder with the files.
        name: `organisation/name`.
        private: make a new repository private.

    Returns:
        The address of the commit.

    Raises:
        KinemaError: the name has another form.
        RunError: there is no network, or the hub refuses.
    """
    name = name.removeprefix(HUB)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise KinemaError(f"{name!r} is not the name of a repository on the hub: give organisation/name")
    from huggingface_hub import HfApi

    client = HfApi()
    try:
        client.create_repo(name, private=private, exist_ok=True)
        commit = client.upload_folder(repo_id=name, folder_path=str(folder), commit_message="Recognizer of Kinema")
    except Exception as error:  # the hub's client raises many unrelated kinds of errors
        raise RunError(
            f"{HUB}{name}: cannot be written ({type(error).__name__}); log in with `hf auth login`, and check the name "
            "and the network"
        ) from error
    return str(commit.commit_url)
