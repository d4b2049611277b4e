"""`Recognizer`: a trained network with its preprocessing and labels, stored as one folder on disk.

`model.safetensors` holds the weights, `card.json` everything else (see `kinema.card`). Weights are never unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from kinema.backends.base import Runner
from kinema.backends.exported import is_export, open_export
from kinema.backends.report import Report
from kinema.card import CARD, WEIGHTS, versions
from kinema.clip_spec import ClipSpec
from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import SINGLE_VIDEO_READERS, Loader, alone
from kinema.data.transforms import to_input
from kinema.data.views import Protocol, Request, RequestedViews, parse_views
from kinema.data.windows import WindowReader
from kinema.errors import KinemaError, UnreadableVideo, unknown
from kinema.models import VideoModel
from kinema.prediction import FailedWindow, Prediction
from kinema.processes import loader_workers, room_for_readers
from kinema.weights.hub import to_hub
from kinema.weights.saved import check_labels, find_folder, load_network, save_network

__all__ = ["CARD", "WEIGHTS", "FailedWindow", "Prediction", "Recognizer", "versions"]

_LOST = 3  # windows in a row that crash or hang their reader, after which the rest of the video is given up


@dataclass
class Recognizer:
    """A network that knows how its clips are made and what its outputs are called.

    Attributes:
        model: maps clips N 3 T H W to logits N K.
        labels: K names, in the order of the outputs.
        spec: how a video becomes a clip.
        card: further entries of `card.json` (`training`, `metrics`, …), plain values.
        threshold: the lowest score at which a label is predicted, if a video may have several labels.
        precision: precision of `scores`: `32`, or `bf16` for autocast to bfloat16; see `in_precision`.
        report: what `optimize` tried and chose; None before it is called.
    """

    model: VideoModel
    labels: tuple[str, ...]
    spec: ClipSpec
    card: dict[str, Any] = field(default_factory=dict)
    threshold: float = 0.5
    precision: str = "32"
    report: Report | None = field(default=None, init=False, repr=False, compare=False)
    _runner: Runner | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.labels = tuple(self.labels)
        check_labels(self.labels, self.model.num_classes)

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))  # an exported file has none

    @property
    def rate(self) -> float | None:
        """Frame rate, in frames per second, of the clips used in training; None if the card does not tell."""
        training = self.card.get("training")
        seconds = training.get("frame_seconds") if isinstance(training, dict) else None
        return 1 / seconds if isinstance(seconds, int | float) and seconds > 0 else None

    @property
    def multi_label(self) -> bool:
        """True if a video may have several labels; each score is then a sigmoid of its own logit."""
        return bool(self.card.get("multi_label"))

    def to_scores(self, logits: Tensor) -> Tensor:
        """Turns logits `... K` into float32 scores from 0 to 1: softmax, or sigmoids if it is `multi_label`."""
        return logits.float().sigmoid() if self.multi_label else logits.float().softmax(-1)

    def to(self, device: str | torch.device) -> Recognizer:
        """Moves the network and returns itself; ends an `optimize` that was done for another device."""
        if torch.device(device) != self.device:
            self.report = self._runner = None
        self.model.to(device)
        return self

    def optimize(
        self, device: str | torch.device = "cpu", budget: float = 30.0, *, videos: Sequence[str | Path] = (),
        batch: int = 1, int8: bool = False, store: bool = True,
    ) -> Recognizer:  # fmt: skip
        """Makes `scores`, and so all prediction and testing, as fast as possible with the same answers.

        `model` itself is unchanged: embeddings, explanations and `step` still use it. Call again after loading weights.

        Args:
            device: device of the network.
            budget: seconds after which no further option is tried; an option that has begun is finished.
            videos: some of the videos to recognise; top-1 labels are compared on them, or else on moving textures.
            batch: clips per pass that will be given later.
            int8: also try int8 quantisation.
            store: store the choice in the cache folder, or use a stored one that is still valid.

        Returns:
            Itself; `report` says which options were tried, which were slower and which gave wrong answers.

        Raises:
            KinemaError: the budget or batch is out of range, or the recognizer is an exported file.
            RunError: the network's logits are not finite.
        """
        from kinema.backends.choose import choose_for

        if self.precision != "32":
            raise KinemaError(
                f"precision is {self.precision}: optimize already tries bfloat16; set precision to 32 first"
            )
        self.to(device)
        how: dict[str, Any] = {"batch": batch, "budget": budget, "int8": int8, "store": store}
        found = choose_for(self.model, self.spec, self.to_input, videos, **how)
        self.report, self._runner = found.report, found.runner
        return self

    def in_precision(self, precision: str) -> Recognizer:
        """Computes scores in the given precision from now on; returns itself.

        Args:
            precision: `32`, or `bf16`: convolutions and matrix products in bfloat16, sums and scores in float32.

        Raises:
            KinemaError: the precision is unknown or not supported by the device, or this is an exported file.
        """
        from kinema.backends.pytorch import require_bfloat16

        if precision == "bf16":
            require_bfloat16(self.model, self.device)
        elif precision != "32":
            raise unknown("precision", precision, ("32", "bf16"))
        self.report = self._runner = None  # `optimize` was done for another precision
        self.precision = precision
        return self

    def _logits(self, x: Tensor) -> Tensor:
        """Returns logits N K of clips N 3 T H W, computed in the way that `optimize` chose, if it was called."""
        if self._runner is not None:
            return self._runner(x)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits: Tensor = self.model(x)
        return logits

    @torch.inference_mode()
    def scores(self, clips: Tensor, *, batch: int = 8) -> Tensor:
        """Computes scores of clips (see `to_scores`).

        Args:
            clips: uint8 N T H W 3, as the transforms cut them, on any device.
            batch: clips per pass of the network.

        Returns:
            float32 N K on the CPU; every row sums to 1 unless it is `multi_label`.
        """
        self.model.eval()
        return torch.cat([self.to_scores(self._logits(self.to_input(chunk))).cpu() for chunk in clips.split(batch)])

    def to_input(self, clips: Tensor) -> Tensor:
        """Turns clips uint8 N T H W 3 into network input: float32 N 3 T H W, or the same clips if it `takes_pixels`."""
        clips = clips.to(self.device)
        return clips if self.model.takes_pixels else to_input(clips, self.spec)

    def average(self, views: Tensor, *, batch: int = 8) -> Tensor:
        """Computes scores of videos, averaged over their views.

        Args:
            views: uint8 N V T H W 3, on any device.
            batch: views per pass of the network.

        Returns:
            float32 N K on the CPU.
        """
        return self.scores(views.flatten(0, 1), batch=batch).unflatten(0, views.shape[:2]).mean(1)

    def predict(
        self, video: str | Path, *, views: Protocol = "1x1", top_k: int = 5, start: float | None = None,
        end: float | None = None,
    ) -> Prediction:  # fmt: skip
        """Recognises one video, or the part of it between two times.

        On Linux a separate process reads the video, so that a file that crashes the decoder, hangs it or takes too
        much memory raises an error. On other systems starting such a process takes seconds, so this process reads the
        video: use `predict_many` for files that you do not trust.

        Args:
            video: a file or a folder of frames.
            views: clips and crops (1 or 3) as `10x3` or (10, 3); scores are averaged over them, as in a test.
            top_k: number of labels to return.
            start: seconds from the first frame.
            end: seconds from the first frame.

        Returns:
            The prediction, with the interval that the clips represent: the whole part for the sampler `segments`, else
            from the first frame of the clips to the end of the last one.

        Raises:
            UnreadableVideo: no clip can be read from the file.
            KinemaError: the views are not possible.
        """
        data = RequestedViews(self.spec, *parse_views(views))
        request = Request(str(video), start, end)
        found = next(self._predict(data, [request], top_k, SINGLE_VIDEO_READERS, batch=8, limits=None))
        if isinstance(found, UnreadableVideo):
            raise found
        return found

    @torch.inference_mode()
    def embed(
        self, video: str | Path, *, views: Protocol = "1x1", start: float | None = None, end: float | None = None,
        batch: int = 8,
    ) -> Tensor:  # fmt: skip
        """Returns the input of the classifier for one video, or for the part of it between two times.

        Args:
            video: a file or a folder of frames, read as in `predict`.
            views: clips and crops (1 or 3) as `10x3` or (10, 3); embeddings are averaged over them.
            start: seconds from the first frame.
            end: seconds from the first frame.
            batch: views per pass of the network.

        Returns:
            float32 F on the CPU; F is `model.num_features`.

        Raises:
            UnreadableVideo: no clip can be read from the file.
            KinemaError: the views are not possible.
        """
        data = RequestedViews(self.spec, *parse_views(views))
        with Loader(
            data, [[Request(str(video), start, end)]], _stacked, readers=SINGLE_VIDEO_READERS, largest=1
        ) as loader:
            (item,), clips = next(iter(loader))
        if clips is None:
            raise item
        self.model.eval()
        parts = []
        for chunk in clips.flatten(0, 1).split(batch):
            features = self.model.forward_features(self.to_input(chunk))
            parts.append(self.model.forward_head(features, pre_logits=True).float().cpu())
        return torch.cat(parts).mean(0)

    def predict_many(
        self, videos: Iterable[str | Path], *, views: Protocol = "1x1", top_k: int = 5, workers: int = -1,
        batch: int = 8, limits: ReadLimits | None = None,
    ) -> Iterator[Prediction | UnreadableVideo]:  # fmt: skip
        """Recognises many videos; other processes read them while the network computes.

        Args:
            videos: files or folders of frames; an iterator is read only as far as needed.
            views: clips and crops (1 or 3) of each as `10x3` or (10, 3); scores are averaged over them, as in a test.
            top_k: number of labels to return.
            workers: reader processes; -1 is one per core, at most 16, and 0 reads in this process.
            batch: views per pass of the network.
            limits: time and memory that one video may take before it counts as unreadable.

        Yields:
            Per video, in order, its `Prediction`, or the `UnreadableVideo` that says why there is none.

        Raises:
            KinemaError: the views are not possible, or the batch is below 1.
        """
        if batch < 1 or workers < -1:
            raise KinemaError(f"batch {batch}, workers {workers}: give a batch of 1 or more, and workers of -1 or more")
        requests = (Request(str(video)) for video in videos)
        return self._predict(
            RequestedViews(self.spec, *parse_views(views)), requests, top_k, loader_workers(workers), batch, limits
        )

    def _predict(
        self, data: RequestedViews, requests: Iterable[Request], top_k: int, readers: int, batch: int,
        limits: ReadLimits | None,
    ) -> Iterator[Prediction | UnreadableVideo]:  # fmt: skip
        together = max(1, batch // (data.clips * data.crops))
        coming = iter(requests)
        batches = iter(lambda: list(islice(coming, together)), [])
        with Loader(data, batches, _stacked, readers=readers, largest=together, limits=limits) as loader:
            for items, views in loader:
                with room_for_readers(readers):
                    scores = iter(() if views is None else self.average(views, batch=batch))
                for item in items:
                    failed = isinstance(item, UnreadableVideo)
                    yield item if failed else self._prediction(next(scores), top_k, *item["span"])

    def predict_windows(
        self, video: str | Path, *, window: float, step: float | None = None, top_k: int = 5, first: int = 0,
        workers: int = 1, limits: ReadLimits | None = None,
    ) -> Iterator[Prediction | FailedWindow]:  # fmt: skip
        """Recognises a long video window by window; each result is available as soon as its window has been read.

        A window that cannot be read gives a `FailedWindow`, and the next ones follow. If the file is cut off, one
        `FailedWindow` at the end covers all missing windows. The same happens to the rest of a video if several
        windows in a row crash or hang their reader.

        Args:
            video: a file or a folder of frames.
            window: length of a window, in seconds; the last one ends with the video.
            step: seconds from the start of one window to the start of the next, at most `window`; None means `window`.
            top_k: number of labels to return.
            first: number of the first window, counted from 0.
            workers: 0 reads in this process, without protection from a file that crashes or hangs the decoder; any
                other number reads in a separate process.
            limits: time and memory that one window may take before it counts as unreadable.

        Yields:
            A `Prediction` or `FailedWindow` per window, in order of time.

        Raises:
            UnreadableVideo: the file cannot be opened, or the whole video is too short for a clip.
            KinemaError: the window or step is not positive, or the step is longer than the window.
        """
        data = WindowReader(video, self.spec, window, window if step is None else step)
        return self._predict_windows(data, first, top_k, readers=min(abs(workers), 1), limits=limits)

    def _predict_windows(
        self, data: WindowReader, first: int, top_k: int, readers: int, limits: ReadLimits | None
    ) -> Iterator[Prediction | FailedWindow]:
        numbers = ([number] for number in count(first))
        lost = 0  # windows in a row that crashed or hung their reader
        with Loader(data, numbers, alone, readers=readers, largest=1, limits=limits) as loader:
            for number, found in enumerate(loader, first):
                if "clip" in found:
                    with room_for_readers(readers):
                        scores = self.scores(found["clip"][None])[0]
                    yield self._prediction(scores, top_k, *found["span"])
                elif "span" in found:
                    yield FailedWindow(found["error"], *found["span"])
                elif "error" not in found:
                    return
                elif number == first:
                    raise data.unreadable(found["error"])
                else:
                    yield FailedWindow(found["error"], *data.span(number))
                lost = lost + 1 if "error" in found and "span" not in found else 0
                if lost == _LOST:
                    return

    def _prediction(self, scores: Tensor, top_k: int, t_start: float, t_end: float) -> Prediction:
        least = self.threshold if self.multi_label else None
        return Prediction.of(self.labels, scores, top_k, t_start, t_end, least)

    def save(self, folder: str | Path) -> Path:
        """Writes the folder; an existing file is replaced only after the new one is completely on disk."""
        return save_network(Path(folder), self.model, self.labels, self.spec, self.card)

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Uploads it as a repository to the Hugging Face hub, from where `load("hf-hub:NAME")` loads it.

        Args:
            name: `organisation/name`; the repository is created if it is missing.
            private: make a new repository private.

        Returns:
            The address of the commit.

        Raises:
            KinemaError: the name has another form.
            RunError: no network, or the hub refuses (log in with `hf auth login`).
        """
        with TemporaryDirectory() as folder:
            return to_hub(self.save(folder), name, private=private)

    @classmethod
    def load(cls, source: str | Path, device: str | torch.device = "cpu") -> Recognizer:
        """Reads a recognizer.

        Args:
            source: a recognizer folder, a run folder that contains `recognizer/`, one of the two files of a recognizer
                folder, `hf-hub:organisation/name`, or a file of `kinema export` (for prediction and streams only).
            device: device of the network; an exported file stays on the CPU.

        Raises:
            KinemaError: the source does not exist, one of its files is damaged, or the two files do not fit together.

        Warns:
            KinemaWarning: the card does not state every option of the network (as in format 1), so that the defaults of
                this version are used.
        """
        if is_export(source):
            network = open_export(source)
            return cls(network, network.description.labels, network.clip_spec, dict(network.description.more))
        return cls(*load_network(find_folder(source))).to(device)


def _stacked(items: list[Any]) -> tuple[list[Any], Tensor | None]:
    """Separates the samples of a batch from the views of the readable ones; the views get their own memory."""
    views = [item["views"] for item in items if isinstance(item, dict)]
    return items, torch.stack(views) if views else None
