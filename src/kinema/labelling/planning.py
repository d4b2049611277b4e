"""Selection of the inputs that need a row: those without one, and those whose content has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from kinema.clip_spec import ClipSpec
from kinema.data.loading.calls import call_each
from kinema.data.loading.limits import ReadLimits
from kinema.data.windows import window_spans
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of
from kinema.labelling.content import stamp_of
from kinema.labelling.inputs import Entry, numbered
from kinema.labelling.ledger import Ledger
from kinema.labelling.reading import digest_now, is_fetched, local_copy

Retry = Literal["failed", "missing"]
Key = tuple[str, float | None, float | None, int]

_MISSING = ("find", "fetch")
_KEY = ["path", "start", "end", "repeat"]


@dataclass(frozen=True)
class Windows:
    """The division of long videos into windows.

    Attributes:
        window: length of a window in seconds.
        step: seconds from the start of a window to the start of the next.
    """

    window: float
    step: float


@dataclass(frozen=True)
class Plan:
    """The inputs to label.

    Attributes:
        todo: inputs that need a row.
        stale: given the `columns` of a part, returns which rows must be removed first.
        columns: the columns that it needs.
    """

    todo: list[Entry]
    stale: Callable[[dict[str, list[Any]]], list[bool]]
    columns: list[str]


def plan(
    entries: list[Entry], ledger: Ledger, *, retry: Retry | None, workers: int, limits: ReadLimits | None, windows: bool
) -> Plan:
    """Compares the inputs with the existing rows.

    A row is kept if the file is known to be unchanged: its stamp or its hash is the same. The row of a missing file has
    no hash; it is kept while the file is still missing. An address that could not be fetched is only tried again with
    `retry`.

    Args:
        entries: the inputs.
        ledger: the rows.
        retry: which rows without a label are labelled again.
        workers: processes that hash files.
        limits: limits for hashing one file.
        windows: the inputs are windows: rows of the same videos for windows of another length are removed.
    """
    wanted = {entry.key: entry for entry in entries}
    kept: set[Key] = set()
    suspects: dict[str, list[tuple[Key, str | None]]] = {}  # place -> rows that are kept only if its hash is unchanged
    known: dict[str, tuple[str | None, str | None]] = {}
    stamps: dict[str, str | None] = {}
    for columns in ledger.done([*_KEY, "content_hash", "stamp", "stage", "error"]):
        for path, start, end, repeat, digest, stamp, stage, error in zip(*columns.values(), strict=True):
            entry = wanted.get((path, start, end, repeat))
            if entry is None or (stage is not None and _again(stage, retry)):
                continue
            place = entry.place
            if entry.error is not None or stage == "list":
                if entry.error == error:
                    kept.add(entry.key)
                continue
            if stamp is not None and not is_fetched(place):
                if place not in stamps:
                    stamps[place] = _stamp(place)
                if stamps[place] == stamp:
                    kept.add(entry.key)
                    continue
            if digest is None and is_fetched(place):
                kept.add(entry.key)
                continue
            suspects.setdefault(place, []).append((entry.key, digest))
            known[place] = (stamp, digest)
    places = list(suspects)
    hashes = call_each(partial(digest_now, known=known), places, lambda _: None, workers=workers, limits=limits)
    for place, digest in zip(places, hashes, strict=True):
        kept.update(key for key, before in suspects[place] if before == digest)
    videos = {entry.path for entry in entries} if windows else set()

    def stale(columns: dict[str, list[Any]]) -> list[bool]:
        keys = zip(*(columns[name] for name in _KEY), strict=True)
        return [key not in kept and (key in wanted or key[0] in videos) for key in keys]

    return Plan([entry for entry in entries if entry.key not in kept], stale, _KEY)


def _again(stage: str, retry: Retry | None) -> bool:
    return retry == "failed" or (retry == "missing" and stage in _MISSING)


def _stamp(place: str) -> str | None:
    try:
        return stamp_of(place)
    except (OSError, ValueError):
        return None


def cut_into_windows(
    entries: Iterable[Entry], spec: ClipSpec, windows: Windows, *, workers: int, limits: ReadLimits | None
) -> list[Entry]:
    """Yields the windows of every input as entries; an input that cannot be opened stays a single entry with an error.

    Args:
        entries: the inputs.
        spec: specification of clips.
        windows: length and step of the windows.
        workers: processes that open the videos.
        limits: limits for opening one video.
    """
    entries = list(entries)
    asked = [entry for entry in entries if entry.error is None]
    function = partial(_spans, entries=asked, spec=spec, windows=windows)
    spans = iter(
        call_each(function, [str(i) for i in range(len(asked))], lambda _: None, workers=workers, limits=limits)
    )
    found: list[Entry] = []
    for entry in entries:
        parts = next(spans) if entry.error is None else None
        if parts is None:
            found.append(entry)
        else:
            found += [replace(entry, start=start, end=end, repeat=0, window=True) for start, end in parts]
    return numbered(found)


def _spans(number: str, entries: list[Entry], spec: ClipSpec, windows: Windows) -> list[tuple[float, float]] | None:
    entry = entries[int(number)]
    try:
        with local_copy(entry.place) as path, on_behalf_of(path):
            return window_spans(path, spec, windows.window, windows.step, entry.start, entry.end)
    except UnreadableVideo:
        return None
