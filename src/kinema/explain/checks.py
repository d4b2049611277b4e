"""`check`: measures how far explanation methods can be trusted on one recognizer and data set, and judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinema.clip_spec import ClipSpec
from kinema.data.datasets import Failure, TestVideos
from kinema.data.loading.loader import Loader
from kinema.data.manifest import Manifest, data_name, read_manifest
from kinema.data.transforms import Box, cut, to_input
from kinema.errors import KinemaError
from kinema.explain.faithful import Faithfulness, faithfulness
from kinema.explain.methods import Layers, layer_of
from kinema.explain.perturbation import Baseline
from kinema.explain.sanity import MapOf, Sanity, sanity
from kinema.explain.verdicts import Verdict, fingerprint, judge
from kinema.puppets.masks import is_puppet, limb_masks
from kinema.recognizer import Recognizer

FEWEST = 8  # fewest clips for a meaningful interval
_SANITY = 8  # clips for the sanity checks, whose correlations vary little between clips


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes:
        faithfulness: figures of the methods, the random map and the centre bias.
        sanity: name of the method -> rank correlations.
        verdicts: name of the method -> verdict.
        failures: videos that could not be read.
    """

    faithfulness: Faithfulness
    sanity: Mapping[str, Sanity]
    verdicts: Mapping[str, Verdict]
    failures: tuple[Failure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "faithfulness": self.faithfulness.to_dict(),
            "sanity": {name: asdict(found) for name, found in self.sanity.items()},
            "verdicts": {name: asdict(v) | {"passed": v.passed, "text": v.text} for name, v in self.verdicts.items()},
            "failures": [{"path": f.path, "reason": f.reason} for f in self.failures],
        }


@dataclass(frozen=True)
class CheckedClips:
    """Clips of a data set on which methods are measured.

    Attributes:
        clips: float32 N 3 T H W, normalised.
        masks: bool N T H W, True on the limb that acts; None if not known.
        labels: int64 N, the true classes.
        failures: videos that could not be read.
    """

    clips: Tensor
    masks: Tensor | None
    labels: Tensor
    failures: tuple[Failure, ...]


def check(
    recognizer: Recognizer, data: str | Path, methods: Mapping[str, tuple[MapOf, str | None]], *, clips: int = 32,
    split: str | None = None, baseline: Baseline = "blur", steps: int = 10, readers: int = 0, seed: int = 0,
    batch: int = 8,
) -> Check:  # fmt: skip
    """Measures methods on clips of a data set, for the class with the highest score in each clip.

    Args:
        recognizer: the explained recognizer.
        data: a folder, CSV or catalogue, as for `kinema test`. For puppets the masks of the acting limbs are known, so
            pointing and mass are also measured.
        methods: name -> the method and the layer that it explains (None if it needs no layer).
        clips: number of videos, sampled evenly over the classes.
        split: the split to sample from; None is `test` if the data have it, else all videos.
        baseline: baseline of deletion and insertion.
        steps: number of steps of deletion and insertion.
        readers: processes that read the videos.
        seed: seed of the sampling and of all other random numbers.
        batch: clips per forward pass.

    Raises:
        KinemaError: fewer than 8 videos are requested or could be read, or the network has only one class.
    """
    if recognizer.model.num_classes < 2:
        raise KinemaError(
            "the recognizer has only one class, but deletion and insertion need at least 2: give another recognizer"
        )
    if clips < FEWEST:
        raise KinemaError(f"--clips {clips}: give at least {FEWEST}")
    read = read_clips(recognizer, data, clips=clips, split=split, readers=readers, seed=seed)
    if len(read.clips) < FEWEST:
        raise KinemaError(
            f"{data}: {len(read.clips)} videos could be read, {len(read.failures)} could not, but a check needs at "
            f"least {FEWEST}: give more data or a larger --clips"
        )
    model, place = recognizer.model.eval(), recognizer.device
    inputs = read.clips.to(place)
    with torch.no_grad():
        scores = torch.cat([model(chunk) for chunk in inputs.split(batch)])
    targets, others = scores.topk(2).indices.T.tolist()
    maps = {
        name: torch.stack([of(model, clip[None], target).detach().float().cpu()
                           for clip, target in zip(inputs, targets, strict=True)])
        for name, (of, _) in methods.items()
    }  # fmt: skip
    measured = faithfulness(
        model, inputs, targets, maps, masks=read.masks, baseline=baseline, steps=steps, batch=batch, seed=seed
    )
    few = slice(0, _SANITY)
    sane = sanity(
        model, inputs[few], targets[few], others[few], {name: of for name, (of, _) in methods.items()}, seed=seed,
        batch=batch,
    )  # fmt: skip
    network = fingerprint(model)
    verdicts = {
        name: judge(name, layer, measured.rows[name], sane[name], clips=len(inputs), data=data_name(data),
                    network=network)
        for name, (_, layer) in methods.items()
    }  # fmt: skip
    return Check(measured, sane, verdicts, read.failures)


def named_methods(
    recognizer: Recognizer, names: Sequence[str], layer: Layers = None
) -> dict[str, tuple[MapOf, str | None]]:
    """Returns methods of `kinema explain` in the form that `check` takes.

    Args:
        recognizer: the explained recognizer.
        names: names of the methods.
        layer: the layer to explain, or method -> layer; None is the default of each method.

    Raises:
        KinemaError: there is no such method or layer, or a method returns no map over a clip.
    """
    from kinema.explain.explanation import explain

    def map_of(name: str, model: nn.Module, clip: Tensor, target: int, at: str | None) -> tuple[Tensor, str | None]:
        found = explain(model, clip, method=name, target=target, layer=at)
        if len(found) != 1 or found[0].map is None:
            raise KinemaError(f"--method {name}: does not return a single map, so it cannot be checked; leave it out")
        return found[0].map, found[0].layer

    def method(name: str, at: str | None) -> MapOf:
        return lambda model, clip, target: map_of(name, model, clip, target, at)[0]

    size = recognizer.spec.tested
    probe = torch.zeros(1, 3, recognizer.spec.frames, size, size, device=recognizer.device)
    layers = {name: map_of(name, recognizer.model, probe, 0, layer_of(layer, name))[1] for name in names}
    return {name: (method(name, at), at) for name, at in layers.items()}


def read_clips(
    recognizer: Recognizer, data: str | Path, *, clips: int, split: str | None = None, readers: int = 0, seed: int = 0
) -> CheckedClips:
    """Samples videos evenly over the classes and reads the centre clip of each, with the mask of the acting limb.

    Args:
        recognizer: the recognizer, with its labels and clip specification.
        data: a folder, CSV or catalogue.
        clips: number of videos to sample.
        split: the split to sample from; None is `test` if the data have it, else all videos.
        readers: processes that read.
        seed: seed of the sampling.

    Raises:
        KinemaError: there are no such data or split, or the recognizer does not have a label.
    """
    manifest = read_manifest(data, check=False)
    if split is None and "test" in manifest.splits:
        split = "test"
    chosen = drawn(manifest if split is None else manifest.split(split), clips, seed)
    videos = TestVideos(chosen, recognizer.labels, recognizer.spec)
    good: list[dict[str, Any]] = []
    failures: list[Failure] = []
    numbers = ([i] for i in range(len(videos)))
    with Loader(videos, numbers, _alone, readers=readers, largest=1) as loader:
        for item in loader:
            if isinstance(item, Failure):
                failures.append(item)
            else:
                good.append(item)
    known = bool(good) and all(is_puppet(item["path"]) for item in good)
    masks = (
        [mask_of_clip(item["path"], item["key"][0], item["key"][1], recognizer.spec) for item in good]
        if known
        else None
    )
    size = (recognizer.spec.frames, recognizer.spec.tested, recognizer.spec.tested)
    pixels = torch.stack([item["clip"] for item in good]) if good else torch.empty(0, 3, *size, dtype=torch.uint8)
    return CheckedClips(
        to_input(pixels, recognizer.spec),
        None if masks is None else torch.stack(masks),
        torch.tensor([item["label"] for item in good], dtype=torch.int64),
        tuple(failures),
    )


def mask_of_clip(video: str | Path, frames: Sequence[int], box: Box, spec: ClipSpec) -> Tensor:
    """Returns the mask of the acting limb in the clip of a puppet, cropped and scaled like the network's input.

    Args:
        video: a clip of the puppets.
        frames: T indices of the frames in the clip.
        box: the crop of each frame.
        spec: clip specification, with the size of the clip.

    Returns:
        bool T H W.
    """
    whole = torch.from_numpy(np.ascontiguousarray(limb_masks(video)[list(frames)]))
    pictures = (whole.byte() * 255)[..., None].expand(*whole.shape, 3)
    return cut(pictures, box, spec.tested, flip=False)[..., 0] >= 128


def drawn(manifest: Manifest, clips: int, seed: int = 0) -> Manifest:
    """Returns a manifest of at most `clips` samples: the first of every label, then the second of every label, …"""
    rng = np.random.default_rng(seed)
    seen: dict[str, int] = {}
    turns: list[tuple[int, int]] = []
    for i in rng.permutation(len(manifest.samples)).tolist():
        label = manifest.samples[i].label
        turns.append((seen.get(label, 0), i))
        seen[label] = seen.get(label, 0) + 1
    kept = sorted(i for _, i in sorted(turns, key=lambda turn: turn[0])[:clips])
    return replace(manifest, samples=tuple(manifest.samples[i] for i in kept))


def _alone(items: list[Any]) -> Failure | dict[str, Any]:
    """Returns the only sample of a batch, as a copy."""
    (item,) = items
    if isinstance(item, Failure):
        return item
    return {
        "clip": item["views"][0].clone(), "key": item["keys"][0], "path": item["path"], "label": int(item["label"]),
    }  # fmt: skip
