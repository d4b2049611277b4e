"""`explain`: explains the scores of a network for a video or clip, with any of the methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError, unknown
from kinema.explain import DEFAULT_METHOD

# Imported because they register methods.
from kinema.explain import frames as frames
from kinema.explain import gradcam as gradcam
from kinema.explain import tubes as tubes
from kinema.explain import views as views
from kinema.explain.activations import one_clip
from kinema.explain.class_weights import index_of, scores_of
from kinema.explain.layers import classifier_of
from kinema.explain.methods import METHODS, Asked
from kinema.explain.overlay import overlay
from kinema.explain.pyramid import walk as walk
from kinema.explain.pyramid.graph import Pyramid
from kinema.explain.source import Pixels, Place, Source, pixels_of
from kinema.explain.verdicts import warning
from kinema.explain.write import save
from kinema.recognizer import Recognizer

__all__ = ["METHODS", "Explanation", "explain"]

TOP = {"top": 1, "top3": 3}


@dataclass(frozen=True)
class Explanation:
    """An explanation of a network's score for a class of a clip.

    Attributes:
        method: name of the method, one of `METHODS`.
        label: name of the class; its index as text if the labels are not known.
        target: index of the class.
        layer: the explained layer; None if the method needs none.
        score: softmax score of the class, 0 to 1.
        map: float32 T H W in [0, 1], over the clip that the network saw; None if the method returns none.
        verdict: why the method cannot be trusted on this network; None if it passed or was not checked.
        details: further plain values of the method, such as the value of every frame.
        result: the method's own result, such as a `Pyramid`; else None.
        pixels: uint8 T H W 3, the frames of the clip.
        video: the file or folder of frames that contains the clip; None for a clip given as a tensor.
        place: the position of the clip in the video; None for a clip given as a tensor.
    """

    method: str
    label: str
    target: int
    layer: str | None
    score: float
    map: Tensor | None = field(repr=False)
    verdict: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    result: Any = field(default=None, repr=False)
    pixels: Pixels | None = field(default=None, repr=False)
    video: str | None = None
    place: Place | None = None

    @property
    def frames(self) -> tuple[int, ...] | None:
        """T indices: the frame of the video for each frame of the clip; None without a video."""
        return None if self.place is None else self.place.frames

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height of the crop, see `Place`; None without a video."""
        return None if self.place is None else self.place.box

    def overlay(self) -> Pixels:
        """Returns the map drawn over the frames of the clip, uint8 T H W 3.

        Raises:
            KinemaError: the method returns no map.
        """
        if self.map is None or self.pixels is None:
            raise KinemaError(f"{self.method} does not return a map over the clip: use its result, or save it as .json")
        return overlay(self.pixels, self.map)

    def save(self, path: str | Path) -> None:
        """Writes the explanation to a file, drawn over its video, or over the frames of the clip if there is no video.

        Args:
            path: a name that ends in .mp4, .gif, .png, .svg or .json.

        Raises:
            KinemaError: another format.
            RunError: the file cannot be written.
            UnreadableVideo: the video no longer exists.
        """
        save([self], path, self.place, video=self.video, pixels=None if self.video else self.pixels)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, without the map."""
        return {
            "method": self.method, "label": self.label, "target": self.target, "layer": self.layer,
            "score": self.score, "verdict": self.verdict, **self.details,
        }  # fmt: skip


def explain(
    subject: Recognizer | nn.Module,
    video: str | Path | Tensor,
    method: str = DEFAULT_METHOD,
    target: str | int = "top",
    layer: str | None = None,
    *,
    start: float | None = None,
    end: float | None = None,
    **options: Any,
) -> list[Explanation]:
    """Explains where and when a clip shows evidence for a class.

    Args:
        subject: a recognizer or a network; any `nn.Module` with `feature_maps`, `classifier` and `forward` works.
        video: a video file or folder of frames (its centre clip is explained), or a normalised clip, float `1 3 T H W`
            or `3 T H W`. For a network from elsewhere give a clip.
        method: one of `METHODS`: `tube`, `cam`, `gradcam`, `frames`, `attention`, `features`, …
        target: `top`, `top3`, a name or an index of a class.
        layer: see `find_layer`; None is the default of the method. A method that needs no layer ignores it.
        start: start of the part of the video to explain, in seconds from the first frame.
        end: end of this part, in seconds.
        **options: options of the method: `threshold` of tube and cam; `baseline`, `samples`, `seed` and `batch` of
            frames; `count` of features.

    Returns:
        One explanation per class, the most probable first for `top3`; several if the method returns several maps.

    Raises:
        UnreadableVideo: no clip can be read from the video.
        KinemaError: a method, class, layer or option does not exist, or the network lacks the needed structure.
    """
    if method not in METHODS:
        raise unknown("method", str(method), METHODS)
    chosen = METHODS[method]
    for key in options:
        if key not in chosen.options:
            raise _option_error(key, method, chosen.options)
    recognizer = subject if isinstance(subject, Recognizer) else None
    model = recognizer.model if recognizer is not None else subject
    if not isinstance(model, nn.Module):
        raise KinemaError(f"cannot explain a {type(model).__name__}: give a Recognizer or an nn.Module")
    labels = None if recognizer is None else recognizer.labels
    choose = _choice(target, labels, classifier_of(model).out_features)
    spec = recognizer.spec if recognizer is not None else getattr(model, "clip_spec", None)
    clip, pixels, path, place = _clip(video, spec, start, end)
    x = one_clip(model, clip)
    logits, findings = chosen.run(Asked(model, x, choose, layer, options))
    scores = scores_of(model, logits)[0]
    card = {} if recognizer is None else recognizer.card
    return [
        Explanation(
            method, labels[found.target] if labels else str(found.target), found.target, found.layer,
            float(scores[found.target]), found.map, warning(card, model, method, found.layer), found.details,
            _named(found.result, labels[found.target] if labels else None), pixels, path, place,
        )
        for found in findings
    ]  # fmt: skip


def _named(result: Any, label: str | None) -> Any:
    """Adds the name of the class to a pyramid, which knows only its index, if there are labels."""
    return replace(result, label=label) if isinstance(result, Pyramid) else result


def _choice(target: object, labels: Sequence[str] | None, classes: int) -> Callable[[Tensor], list[int]]:
    """Returns a function from logits to classes; an invalid target is rejected before anything is computed."""
    if isinstance(target, str) and target in TOP:
        count = min(TOP[target], classes)
        return lambda logits: logits[0].float().topk(count).indices.tolist()
    if isinstance(target, str):
        if labels is None:
            raise KinemaError(f"target is {target!r}: for a network without labels give top, top3 or an index")
        if target not in labels:
            raise unknown("class", target, labels)
        target = labels.index(target)
    index = index_of(target)
    if index is None or not 0 <= index < classes:
        raise KinemaError(f"target is {target!r}: give top, top3, a name, or an index from 0 to {classes - 1}")
    return lambda logits: [index]


def _clip(
    video: str | Path | Tensor, spec: ClipSpec | None, start: float | None, end: float | None
) -> tuple[Tensor, Pixels | None, str | None, Place | None]:
    """Returns the clip, its pixels, its video and its position there."""
    if isinstance(video, Tensor):
        if start is not None or end is not None:
            raise KinemaError("start and end apply to a video, not to a clip: cut the clip before explaining it")
        return video, _pictures(video, spec), None, None
    if not isinstance(video, str | Path):
        raise KinemaError(f"video has type {type(video).__name__}: give a path, or a clip as a tensor 3 T H W")
    if spec is None:
        raise KinemaError(f"{video}: the network has no clip specification; give a clip 3 T H W, or a Recognizer")
    with Source(video) as film:
        clip, place = film.clip(spec, start=start, end=end)
    return clip, _pictures(clip, spec), str(video), place


def _pictures(clip: Tensor, spec: ClipSpec | None) -> Pixels | None:
    """Returns the pixels of a clip; if its normalisation is not known, scaled from black to white."""
    if clip.dim() not in (4, 5) or clip.shape[-4] != 3 or not clip.is_floating_point() or clip.numel() == 0:
        return None  # rejected later, or not a colour video
    if spec is not None:
        return pixels_of(clip, spec) if clip.dim() == 4 or len(clip) == 1 else None
    values = clip.detach().float().reshape(-1, *clip.shape[-4:])[0]
    low, high = values.amin(), values.amax()
    shown = (values - low) / torch.where(high > low, high - low, 1.0) * 255
    found: Pixels = shown.round().byte().permute(1, 2, 3, 0).cpu().contiguous().numpy()
    return found


def _option_error(key: str, method: str, known: Sequence[str]) -> KinemaError:
    return unknown(f"option of {method}", key, known) if known else KinemaError(f"{key}: {method} takes no options")
