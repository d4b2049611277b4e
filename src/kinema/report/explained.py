"""Explanations of a run: its most confident mistakes and hits with their maps, and one frame per class."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from kinema.errors import KinemaError, UnreadableVideo
from kinema.evaluation.result import TestResult
from kinema.explain.class_weights import default_layer, require_class_weights
from kinema.explain.explanation import explain
from kinema.explain.panel import Panel, resized
from kinema.explain.sheet import contact_sheet, painted
from kinema.explain.source import Source
from kinema.explain.verdicts import Verdict, read_verdict, read_verdicts
from kinema.recognizer import Recognizer

COLUMNS = 6  # frames per strip
_FRAME = 180  # pixels: the longer side of the frame of a class
_QUALITY = 85  # quality of the JPEG pictures: a strip takes 60 kB instead of 300
_TRUSTED = ("cam", "gradcam", "tube")  # order of preference; a method that passed its check on the network comes first


@dataclass(frozen=True)
class Strip:
    """Frames of one video with the map of a class drawn over them.

    Attributes:
        video: its path.
        truth: its true label.
        said: the label predicted in the test.
        score: softmax score of `said` in the test, 0 to 1.
        picture: JPEG; None if the video could not be read.
        error: why it could not be read, else None.
    """

    video: str
    truth: str
    said: str
    score: float
    picture: bytes | None
    error: str | None = None


@dataclass(frozen=True)
class Explained:
    """The explained videos of one run.

    Attributes:
        name: name of the run.
        method: the explanation method.
        layer: the explained layer.
        mistakes: mistakes, the most confident first.
        hits: hits, the most confident first.
        verdicts: the verdicts of the card on methods for this network, by method and layer; empty without a check.
    """

    name: str
    method: str
    layer: str | None
    mistakes: tuple[Strip, ...]
    hits: tuple[Strip, ...]
    verdicts: tuple[Verdict, ...]


def most_confident(result: TestResult, count: int) -> tuple[list[int], list[int]]:
    """Returns the videos whose predictions have the highest scores.

    Args:
        result: result of a test; unreadable videos are left out.
        count: largest number of mistakes and of hits.

    Returns:
        Indices of mistakes and of hits, the highest score first; for equal scores the first in the test. Hits are from
        as many different classes as possible, so that an easy class does not fill the list.
    """
    read = [i for i, said in enumerate(result.predictions) if said is not None]
    order = sorted(read, key=lambda i: -float(result.scores[i].max()))
    wrong = [i for i in order if result.predictions[i] != result.truth[i]]
    right = [i for i in order if result.predictions[i] == result.truth[i]]
    first = list({result.truth[i]: i for i in reversed(right)}.values())[::-1]
    right = [*sorted(first, key=order.index), *(i for i in right if i not in first)]
    return wrong[:count], right[:count]


def explained(
    name: str, recognizer: Recognizer, result: TestResult, root: str | Path, count: int,
    progress: Callable[[int, int], object] | None = None,
) -> Explained:  # fmt: skip
    """Explains the most confident mistakes and hits of a run.

    Args:
        name: name of the run.
        recognizer: the tested recognizer.
        result: result of its test.
        root: the folder to which paths of the result are relative.
        count: largest number of mistakes and of hits.
        progress: called with the number of finished videos and their total.
    """
    method = method_for(recognizer)
    layer = default_layer(recognizer.model)
    mistakes, hits = most_confident(result, count)
    strips = []
    for done, i in enumerate([*mistakes, *hits], 1):
        strips.append(_strip(recognizer, result, i, Path(root), method))
        if progress is not None:
            progress(done, len(mistakes) + len(hits))
    return Explained(
        name, method, layer, tuple(strips[: len(mistakes)]), tuple(strips[len(mistakes) :]),
        tuple(read_verdicts(recognizer.card, recognizer.model)),
    )  # fmt: skip


def method_for(recognizer: Recognizer) -> str:
    """Returns the method to show: one that passed its check on this network, else cam, else Grad-CAM.

    cam needs class weights at the last stage, which a few heads do not have.
    """
    layer = default_layer(recognizer.model)
    for name in _TRUSTED:
        verdict = read_verdict(recognizer.card, recognizer.model, name, layer)
        if verdict is not None and verdict.passed:
            return name
    try:
        require_class_weights(recognizer.model, layer)
    except KinemaError:
        return "gradcam"
    return _TRUSTED[0]


def class_frames(
    results: Iterable[TestResult], roots: Iterable[str | Path], labels: Iterable[str]
) -> Mapping[str, bytes]:
    """Returns a frame of each class: the middle frame of the first readable video of the class.

    Args:
        results: results of tests; the first one with a video of the class is used.
        roots: per result the folder to which its paths are relative.
        labels: the classes.

    Returns:
        Class -> JPEG, in the order of `labels`; a class without a readable video is left out.
    """
    places = list(zip(results, roots, strict=True))
    found: dict[str, bytes] = {}
    for label in labels:
        for result, root in places:
            for i, (path, truth) in enumerate(zip(result.paths, result.truth, strict=True)):
                if truth != label or result.errors[i] is not None:
                    continue
                picture = middle_frame(Path(root) / path, result.spans[i])
                if picture is not None:
                    found.setdefault(label, picture)
                    break
            if label in found:
                break
    return found


def _strip(recognizer: Recognizer, result: TestResult, i: int, root: Path, method: str) -> Strip:
    said, truth = str(result.predictions[i]), result.truth[i]
    video, (start, end) = root / result.paths[i], result.spans[i]
    head = (result.paths[i], truth, said, float(result.scores[i].max()))
    try:
        with Source(video) as film:
            clip, place = film.clip(recognizer.spec, start=start, end=end)
            panels = [
                Panel(one, place)
                for label in dict.fromkeys((said, truth))
                for one in explain(recognizer, clip.to(recognizer.device), method=method, target=label)
            ]
            return Strip(*head, _jpeg(painted(contact_sheet(film, panels, COLUMNS))))
    except UnreadableVideo as error:
        return Strip(*head, None, error.reason)


def middle_frame(video: Path, span: tuple[float | None, float | None] = (None, None)) -> bytes | None:
    """Returns the frame in the middle of a video, or of its part from start to end in seconds.

    Args:
        video: a file or a folder of frames.
        span: start and end; None is the beginning or the end of the video.

    Returns:
        JPEG, 180 pixels on the longer side; None if the video cannot be read.
    """
    try:
        with Source(video) as film:
            start, end = span[0] or 0.0, film.duration if span[1] is None else span[1]
            inside = film.between(start, end)
            if not len(inside):
                return None
            ((_, picture),) = film.pictures([int(inside[len(inside) // 2])])
            scale = _FRAME / max(film.shown_size)
            width, height = (max(1, round(side * scale)) for side in film.shown_size)
            return _jpeg(Image.fromarray(np.asarray(resized(picture, (width, height)))))
    except UnreadableVideo:
        return None


def _jpeg(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.convert("RGB").save(held, "JPEG", quality=_QUALITY)
    return held.getvalue()
