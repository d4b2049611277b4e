"""Names of recognizers, data sets and files as visitors see them: without the folders of the server."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kinema.data.manifest import survey
from kinema.errors import KinemaError
from kinema.files import is_folder
from kinema.text import printable


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Paths by the shortest endings that tell them apart, so that visitors do not see the folders of the server.

    Args:
        paths: of recognizers or data sets, each once; a last part `recognizer` is left out where a folder is above it.
    """
    parts = {path: [part for part in Path(printable(path)).parts if part not in ("/", ".", "..")] for path in paths}
    for path, listed in parts.items():
        if len(listed) > 1 and listed[-1] == "recognizer":
            parts[path] = listed[:-1]
    names: dict[str, str] = {}
    for path, listed in parts.items():
        for count in range(1, len(listed) + 1):
            name = "/".join(listed[-count:])
            if sum(other[-count:] == listed[-count:] for other in parts.values()) == 1:
                break
        else:
            name = printable(path)
        names[name] = path
    return names


@contextmanager
def without_folder(folder: str | Path, name: str = "") -> Iterator[None]:
    """Leaves the folder out of the sentences of the block, since a visitor must not see where things lie on the server.

    Args:
        folder: that the visitor sees.
        name: of the folder, as shown; stands for the folder itself.
    """
    try:
        yield
    except KinemaError as error:
        text = relative(str(error), folder, name)
        if text == str(error):
            raise
        raise KinemaError(text) from error


def relative(text: str, folder: str | Path, name: str = "") -> str:
    """A sentence with paths relative to a folder.

    Args:
        text: the sentence.
        folder: that the visitor sees; a text is left as it is where this is empty.
        name: what stands for the folder itself; default: its own name.
    """
    if not str(folder):
        return text
    places = [str(Path(folder).resolve()), str(Path(folder).absolute()), str(folder)]
    for place in dict.fromkeys(places):
        if place in (os.curdir, os.sep):
            continue
        text = text.replace(place + os.sep, "")
        instead = (name or Path(place).name).replace("\\", "\\\\")
        text = re.sub(re.escape(place) + r"(?![\w-])", instead, text)
    return text


def folder_of(data: str) -> Path:
    """The folder to which the paths of a data set are relative.

    Args:
        data: a folder, a CSV, or a catalogue with its folder.
    """
    if is_folder(data):
        return Path(data)
    _, colon, folder = data.partition(":")
    return Path(folder) if colon and is_folder(folder) else Path(data).parent


def relative_to_data(data: str, name: str) -> Callable[[str], str]:
    """A function that makes paths in a text relative to a data set.

    A path of a CSV that lies outside of the folder of the CSV keeps its file name only.

    Args:
        data: a folder, a CSV, or a catalogue with its folder.
        name: of the data set, as shown.

    Raises:
        KinemaError: the data set cannot be read.
    """
    base = folder_of(data)
    inside = (str(base) + os.sep, str(base.resolve()) + os.sep)
    folders = {str(Path(sample.path).parent) for sample in survey(data).manifest.samples}
    outside = sorted((f for f in folders if not (f + os.sep).startswith(inside)), key=len, reverse=True)

    def shown(text: str) -> str:
        text = relative(text, base, name)
        for folder in outside:
            text = text.replace(folder + os.sep, "…/")
        return printable(text)

    return shown
