"""Datasets for a loader: training clips, all views of test videos, and batches that list failures separately."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from kinema.clip_spec import ClipSpec
from kinema.data.label_sets import SEPARATOR, LabelSet, Target, label_set, mirrored
from kinema.data.manifest import Manifest, data_root
from kinema.data.paths import relative
from kinema.data.samplers import train_indices
from kinema.data.sources import Sample
from kinema.data.transforms import Augment, Box, check_jitter, random_box
from kinema.data.views import check_views, cut_views, read_views, view_bytes
from kinema.errors import KinemaError, UnreadableVideo, unknown


@dataclass(frozen=True)
class Failure:
    """A sample that gave no clip; it is never replaced by another sample.

    Attributes:
        path: path of the video.
        reason: why it failed, without the path.
        index: index of the sample in its manifest.
        label: index of the sample's label, or the set of its labels.
    """

    path: str
    reason: str
    index: int
    label: Target


class ClipKey(NamedTuple):
    """Specifies one clip of one video.

    Attributes:
        epoch: epoch of the training.
        sample: index of the sample in the manifest.
        frames: T of the clip, at most that of the ClipSpec; they are a uniform selection of the ClipSpec's frames.
        crop: height and width to which the clip is scaled; it does not change which part of the picture is cut.
        draw: number of times the sample was drawn before in this epoch.
    """

    epoch: int
    sample: int
    frames: int
    crop: int
    draw: int = 0


class TrainClips(Dataset[dict[str, Any] | Failure]):
    """Random clips of training videos.

    All randomness of an item comes from (seed, epoch, sample, draw): a run that continues after an interruption, with
    any number of loader workers, sees exactly the same clips as without the interruption.

    Args:
        manifest: the samples, usually `manifest.split("train")`.
        labels: labels of the recognizer, in the order of its outputs.
        spec: specification of clips.
        augment: random augmentations.
        seed: seed of the run.
        twins: cut the same frames a second time, at another place; both clips are mirrored or neither is.
        multi_label: return sets of labels; None means: if the manifest has several labels per video.

    Raises:
        KinemaError: a label of the manifest, or the label of its mirrored clip, is not among `labels`, or the crop does
            not fit into `augment.jitter`.
    """

    def __init__(
        self, manifest: Manifest, labels: Sequence[str], spec: ClipSpec, augment: Augment, seed: int = 0,
        twins: bool = False, multi_label: bool | None = None,
    ) -> None:  # fmt: skip
        check_jitter(spec, augment)
        self.samples = manifest.samples
        self.targets = label_indices(manifest, labels, multi_label)
        self.mirrored = list(self.targets)
        if augment.flip > 0:
            flips, source = manifest.flip_map, f"flip map of {manifest.source}"
            if multi_label if multi_label is not None else manifest.multi_label:
                self.mirrored = _sets([mirrored(s.label, flips) for s in self.samples], labels, source)
            else:
                self.mirrored = _indices([flips.get(s.label, s.label) for s in self.samples], labels, source)
        self.spec = spec
        self.augment = augment
        self.seed = seed
        self.twins = twins

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: ClipKey) -> dict[str, Any] | Failure:
        """Returns the clip of a key.

        Returns:
            clip (uint8 `T S S 3`, S as in the key) and, if requested, twin (the same shape), label, index, path; or a
            `Failure`.
        """
        i = key.sample
        rng = np.random.default_rng([self.seed, key.epoch, i, key.draw])
        sample, target = self.samples[i], self.targets[i]
        flip = bool(rng.random() < self.augment.flip)

        names = ("clip", "twin") if self.twins else ("clip",)

        def frames_of(n: int) -> NDArray[np.int64]:
            whole = train_indices(n, self.spec, rng)
            return whole[None, (np.arange(key.frames) * 2 + 1) * len(whole) // (2 * key.frames)]

        def boxes_of(height: int, width: int) -> list[Box]:
            return [random_box(height, width, self.spec, self.augment, rng) for _ in names]

        try:
            views = cut_views(
                sample.path, frames_of, boxes_of, key.crop, flip=flip, start=sample.start, end=sample.end
            )  # fmt: skip
        except UnreadableVideo as error:
            return self.failure(key, error.reason)
        label = self.mirrored[i] if flip else target
        item: dict[str, Any] = {"label": label, "index": i, "path": sample.path}
        return item | dict(zip(names, views.pixels, strict=True))

    @property
    def item_bytes(self) -> int:
        """Size of the largest sample, in bytes."""
        return (2 if self.twins else 1) * self.spec.frames * self.spec.crop**2 * 3

    def path(self, key: ClipKey) -> str:
        """Returns the path of a key's video."""
        return self.samples[key.sample].path

    def failure(self, key: ClipKey, reason: str) -> Failure:
        """Returns the placeholder for a clip that could not be read."""
        return Failure(self.path(key), reason, key.sample, self.targets[key.sample])


class TestVideos(Dataset[dict[str, Any] | Failure]):
    """All views of every test video; each video is decoded once for all its views.

    Args:
        manifest: the samples, usually `manifest.split("test")`.
        labels: labels of the recognizer, in the order of its outputs.
        spec: specification of clips.
        clips: number of temporal views.
        crops: number of spatial views per clip, 1 or 3.
        random_clips: a seed: clips are drawn randomly as in training, from it and the video's name; None: fixed places.
        multi_label: same as for `TrainClips`.

    Raises:
        KinemaError: a label of the manifest is not among `labels`, or the views are not possible.
    """

    __test__ = False  # not a test for pytest

    def __init__(
        self, manifest: Manifest, labels: Sequence[str], spec: ClipSpec, clips: int = 1, crops: int = 1, *,
        random_clips: int | None = None, multi_label: bool | None = None,
    ) -> None:  # fmt: skip
        self.samples = manifest.samples
        self.root = data_root(manifest.source) if random_clips is not None else None
        self.random_clips = random_clips
        self.targets = label_indices(manifest, labels, multi_label)
        check_views(spec, clips, crops)  # now, not at the first video
        self.spec = spec
        self.clips = clips
        self.crops = crops

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> dict[str, Any] | Failure:
        """Returns every view of sample i: clip 0 with all its crops, then clip 1, and so on.

        Returns:
            views (uint8 `V T S S 3`), label, index, path and keys: per view the frame indices and box that it was cut
            from, equal if two views are equal; or a `Failure`.
        """
        sample = self.samples[i]
        try:
            views = read_views(
                sample.path,
                self.spec,
                self.clips,
                self.crops,
                start=sample.start,
                end=sample.end,
                rng=self._rng(sample),
            )
        except UnreadableVideo as error:
            return self.failure(i, error.reason)
        return {
            "views": views.pixels, "label": self.targets[i], "index": i, "path": sample.path, "keys": views.keys,
        }  # fmt: skip

    def _rng(self, sample: Sample) -> np.random.Generator | None:
        """Depends only on the seed and the name of the video, not on its position in the list."""
        if self.random_clips is None or self.root is None:
            return None
        name = f"{relative(sample.path, self.root)} {sample.start} {sample.end}"
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return np.random.default_rng([self.random_clips, int.from_bytes(digest[:8], "big")])

    @property
    def item_bytes(self) -> int:
        """Size of the largest sample, in bytes."""
        return view_bytes(self.spec, self.clips, self.crops)

    def path(self, key: int) -> str:
        """Returns the path of a sample's video."""
        return self.samples[key].path

    def failure(self, key: int, reason: str) -> Failure:
        """Returns the placeholder for a video that could not be read."""
        return Failure(self.path(key), reason, key, self.targets[key])


def collate_train(items: Sequence[dict[str, Any] | Failure], *, pinned: bool = False) -> dict[str, Any]:
    """Collates a batch of `TrainClips` items.

    Args:
        items: samples and failures.
        pinned: put the clips into page-locked memory, from which a GPU copies faster.

    Returns:
        clip and, if the items have one, twin (uint8 `B T S S 3`), label and index (int64 `B`), path (list), failures
        (list of `Failure`). B is the number of items that are not failures; if it is 0, clip has shape `0`.
    """
    batch = _collate(items, "clip", pinned)
    twins = [item["twin"] for item in items if isinstance(item, dict) and "twin" in item]
    return batch | {"twin": _stack(twins, pinned)} if twins else batch


def collate_test(items: Sequence[dict[str, Any] | Failure]) -> dict[str, Any]:
    """Collates a batch of `TestVideos` items.

    Returns:
        views (uint8 `B V T S S 3`), label and index (int64 `B`), path and keys (lists), failures (list of `Failure`).
        B is the number of items that are not failures; if it is 0, views has shape `0`.
    """
    return _collate(items, "views", False)


def label_indices(manifest: Manifest, labels: Sequence[str], multi_label: bool | None = None) -> list[Target]:
    """Returns per sample the index of its output of the recognizer, or the set of indices.

    Args:
        manifest: the samples.
        labels: labels of the recognizer.
        multi_label: return sets; None means: if the manifest has several labels per video.

    Raises:
        KinemaError: the recognizer does not have a label (the message suggests the nearest one), or there are several
            labels per video although one is needed.
    """
    names = [s.label for s in manifest.samples]
    if multi_label if multi_label is not None else manifest.multi_label:
        return _sets(names, labels, manifest.source)
    if manifest.multi_label:
        first = next((name for name in names if SEPARATOR in name), names[0])
        raise KinemaError(
            f"{manifest.source}: has several labels per video ({first!r}), but this recognizer predicts one: train a "
            "multi-label recognizer on such data, or keep one label in every row"
        )
    return _indices(names, labels, manifest.source)


def _sets(names: Sequence[str], labels: Sequence[str], source: str) -> list[Target]:
    return [LabelSet(tuple(_indices(label_set(name), labels, source)), len(labels)) for name in names]  # type: ignore[arg-type]


def _indices(names: Sequence[str], labels: Sequence[str], source: str) -> list[Target]:
    places = {label: i for i, label in enumerate(labels)}
    for name in names:
        if name not in places:
            raise KinemaError(f"{source}: {unknown('label', name, labels)}")
    return [places[name] for name in names]


def _collate(items: Sequence[dict[str, Any] | Failure], tensor: str, pinned: bool) -> dict[str, Any]:
    good = [item for item in items if not isinstance(item, Failure)]
    batch: dict[str, Any] = {key: [item[key] for item in good] for key in ("path", "label", "index")}
    if good and "keys" in good[0]:
        batch["keys"] = [item["keys"] for item in good]
    batch["failures"] = [item for item in items if isinstance(item, Failure)]
    batch["index"] = torch.tensor(batch["index"], dtype=torch.int64)
    sets = bool(good) and isinstance(good[0]["label"], LabelSet)
    batch["label"] = multi_hot(batch["label"]) if sets else torch.tensor(batch["label"], dtype=torch.int64)
    batch[tensor] = _stack([item[tensor] for item in good], pinned)
    return batch


def multi_hot(targets: Sequence[LabelSet]) -> Tensor:
    """Converts label sets to float32 N K: 1 for each label of a video and 0 elsewhere."""
    hot = torch.zeros(len(targets), targets[0].classes if targets else 0)
    for row, target in zip(hot, targets, strict=True):
        row[list(target.on)] = 1.0
    return hot


def _stack(tensors: list[Tensor], pinned: bool) -> Tensor:
    if not tensors:
        return torch.empty(0, dtype=torch.uint8)
    stacked = torch.empty((len(tensors), *tensors[0].shape), dtype=torch.uint8, pin_memory=pinned)
    return torch.stack(tensors, out=stacked)
