"""Videos that come with the page: those of the data sets that the server offers, else generated ones."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kinema.data.manifest import read_manifest
from kinema.data.splits import split_to_test
from kinema.errors import KinemaError
from kinema.puppets.actions import ACTIONS
from kinema.puppets.dataset import ClipJob, perform

_MOST = 6  # videos per data set, each of another class
_SIZE = 224  # pixels of a generated video
_GENERATED = ("wave", "sit down", "punch", "jumping jack", "pick up", "open")  # no two are each other reversed


class Examples:
    """The examples of a page, by the names to show.

    Args:
        folders: data sets by the names to show; of each, the first videos of a few classes of the split for tests.
            Without any, clips of `kinema.puppets` are generated when a visitor chooses one.
        cache: folder for generated clips.
    """

    def __init__(self, folders: Mapping[str, str], cache: Path) -> None:
        self._cache, self._lock = cache, threading.Lock()
        self._files: dict[str, Path] = {}
        for data in folders.values():
            for label, file in _first_of_classes(data).items():
                self._files[label if label not in self._files else f"{label}: {file.name}"] = file
        self._generated = {} if self._files else {f"{label} (generated)": label for label in _GENERATED}

    @property
    def names(self) -> list[str]:
        """What a visitor can choose from."""
        return [*self._files, *self._generated]

    def file(self, name: str) -> Path:
        """The video of a name; it belongs to the server and is not to be changed.

        Raises:
            KinemaError: there is none of that name.
        """
        if name in self._files:
            return self._files[name]
        if name not in self._generated:
            raise KinemaError(f"example {name!r}: choose from {', '.join(self.names)}")
        with self._lock:
            return _puppet(self._generated[name], self._cache)


def _first_of_classes(data: str) -> dict[str, Path]:
    """Whole video files only: an upload is one as well."""
    manifest = read_manifest(data, check=False)
    with suppress(KinemaError):  # a data set without any split for tests is shown as a whole
        manifest = manifest.part(split_to_test(manifest))
    found: dict[str, Path] = {}
    for sample in manifest.samples:
        file = Path(sample.path)
        if sample.label not in found and sample.start is None and sample.end is None and file.is_file():
            found[sample.label] = file
        if len(found) == _MOST:
            break
    return found


def _puppet(label: str, cache: Path) -> Path:
    file = cache / "test" / label / "0000.mp4"
    if not file.is_file():
        number = next(i for i, action in enumerate(ACTIONS) if label in action.labels)
        for other in ACTIONS[number].labels:
            (cache / "test" / other).mkdir(parents=True, exist_ok=True)
        perform(ClipJob(str(cache), 0, "test", number, 0, _SIZE))
    return file
