"""The order in which to label videos: those on which a recognizer is least certain come first."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kinema.data.loading.limits import ReadLimits
from kinema.data.shards.index import find_member
from kinema.errors import UnreadableVideo
from kinema.files import cache_folder, look_up, replace_file
from kinema.models.digest import weights_digest
from kinema.prediction import Prediction
from kinema.recognizer import Recognizer
from kinema.text import parse_json

_STORE_EVERY = 20  # videos, so that a stopped run loses little


@dataclass(frozen=True)
class Queued:
    """A video in the queue.

    Attributes:
        path: path of the video.
        margin: certainty of the recognizer, 0 to 1: the highest score minus the second highest; for a multi-label
            recognizer, the smallest distance of a score from the threshold. None if the video cannot be read.
        label: the label with the highest score; None if the video cannot be read.
        error: the reason why the video cannot be read, or None.
    """

    path: str
    margin: float | None
    label: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def queue(
    recognizer: Recognizer, videos: Iterable[str | Path], *, cache: Path | None = None, workers: int = -1,
    limits: ReadLimits | None = None, progress: Callable[[int, int], None] | None = None,
) -> list[Queued]:  # fmt: skip
    """Sorts videos by the certainty of a recognizer: the least certain first, unreadable videos last.

    This is margin sampling (Scheffer, Decomain and Wrobel, 2001). Scores are stored, so that a later call computes only
    new ones: the scores of a video are reused if its size and modification time are unchanged.

    Args:
        recognizer: the recognizer.
        videos: video files or folders of frames.
        cache: folder of stored scores; default: a folder in Kinema's cache (`$KINEMA_CACHE`).
        workers: processes that read, as for `Recognizer.predict_many`.
        limits: limits for reading one video.
        progress: called with the number of finished videos and their total.

    Returns:
        One entry per video.
    """
    paths = [str(video) for video in videos]
    folder = cache_folder() / "annotation" if cache is None else cache
    store = folder / f"{identity(recognizer)}.json"
    known = _read(store)
    marks = {path: _mark(path) for path in paths}
    todo = [
        path for path in dict.fromkeys(paths) if marks[path] is None or known.get(path, {}).get("mark") != marks[path]
    ]
    top_k = len(recognizer.labels) if recognizer.multi_label else 2
    results = recognizer.predict_many(todo, top_k=top_k, workers=workers, limits=limits)
    for number, (path, found) in enumerate(zip(todo, results, strict=True), 1):
        known[path] = {"mark": marks[path], **_entry(path, found, recognizer).to_dict()}
        if number % _STORE_EVERY == 0:
            _write(store, known)
        if progress is not None:
            progress(len(paths) - len(todo) + number, len(paths))
    if todo:
        _write(store, known)
    entries = [Queued(path, *(known[path][key] for key in ("margin", "label", "error"))) for path in paths]
    return sorted(entries, key=lambda entry: math.inf if entry.margin is None else entry.margin)


def _entry(path: str, found: Prediction | UnreadableVideo, recognizer: Recognizer) -> Queued:
    if isinstance(found, UnreadableVideo):
        return Queued(path, None, None, found.reason)
    scores = [score for _, score in found.top_k]
    if recognizer.multi_label:
        margin = min(abs(score - recognizer.threshold) for score in scores)
    else:
        margin = scores[0] - scores[1] if len(scores) > 1 else scores[0]
    return Queued(path, margin, found.label)


def identity(recognizer: Recognizer) -> str:
    """Returns a key of what the scores depend on: weights, labels, clips and threshold of the recognizer.

    Returns:
        24 hexadecimal digits.
    """
    digest = weights_digest(recognizer.model)
    digest.update(repr((recognizer.labels, recognizer.spec, recognizer.threshold, recognizer.multi_label)).encode())
    return str(digest.hexdigest()[:24])


def _mark(path: str) -> list[int] | None:
    """Returns size and modification time; None if the system does not provide them. Such a video is read again."""
    try:
        member = find_member(path)
        if member is not None:  # a sample of a shard has a hash instead of a time
            return [member.size, int(member.sha256[:12], 16)]
        found = look_up(path)
    except (OSError, ValueError):
        return None
    return None if found is None else [found.st_size, found.st_mtime_ns]


def _read(store: Path) -> dict[str, Any]:
    """Returns the stored scores; none if the file is damaged, because they can be computed again."""
    try:
        found = parse_json(store.read_text(encoding="utf-8"))
        wanted = {"mark", "margin", "label", "error"}
        return {path: entry for path, entry in found.items() if wanted <= set(entry)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write(store: Path, known: dict[str, Any]) -> None:
    text = json.dumps(known)  # surrogates in names stay escapes
    replace_file(store, lambda part: part.write_text(text, encoding="utf-8"))
