"""`Recognizer`: the trained thing, network + preprocessing + labels, as one folder on disk.

`model.safetensors` holds the weights, `card.json` everything else: architecture and its arguments, labels, `ClipSpec`,
training protocol, metrics with their coverage, versions. Weights are never unpickled.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from kinema import __version__
from kinema.clip_spec import ClipSpec
from kinema.data.clips import wanted_frames, windows
from kinema.data.sampling import test_indices
from kinema.data.transforms import cut, test_boxes, to_input
from kinema.data.video import open_video
from kinema.errors import KinemaError
from kinema.files import replace_file, require_readable
from kinema.models import VideoModel, create_model
from kinema.models.registry import former_defaults
from kinema.weights.hub import HUB, from_hub

WEIGHTS, CARD = "model.safetensors", "card.json"
MEND = "copy both files from where they were saved, or save the recognizer anew"
# What a card must hold, and as what.
_ENTRIES = {
    "architecture": (dict, "an object with the network's name and options"),
    "labels": (list, "a list of names, one an output"),
    "clip": (dict, "an object with the fields of ClipSpec"),
}


@dataclass(frozen=True)
class Prediction:
    """What a recognizer says of one stretch of a video.

    Attributes:
        label: the most probable label.
        score: its softmax score, 0 to 1.
        top_k: pairs of label and score, best first.
        t_start: seconds from the first frame.
        t_end: seconds from the first frame.
    """

    label: str
    score: float
    top_k: tuple[tuple[str, float], ...]
    t_start: float
    t_end: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class Recognizer:
    """A network that knows how its clips are made and what its outputs are called.

    Attributes:
        model: maps clips N 3 T H W to logits N K.
        labels: K names, in the order of the outputs.
        spec: how a video becomes a clip.
        card: further entries of `card.json` (`training`, `metrics`, …), plain values.
    """

    model: VideoModel
    labels: tuple[str, ...]
    spec: ClipSpec
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.labels = tuple(self.labels)
        outputs = self.model.classifier.out_features
        if len(self.labels) != outputs:
            raise KinemaError(
                f"{len(self.labels)} labels for a network with {outputs} outputs: give one label an output"
            )
        if len(set(self.labels)) != len(self.labels):
            raise KinemaError("the labels hold a name twice: every output needs a name of its own")

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.model.classifier.weight.device

    def to(self, device: str | torch.device) -> Recognizer:
        """Moves the network; returns itself."""
        self.model.to(device)
        return self

    @torch.inference_mode()
    def scores(self, clips: Tensor, *, batch: int = 8) -> Tensor:
        """Softmax scores of clips.

        Args:
            clips: uint8 N 3 T H W, as the transforms cut them, on any device.
            batch: clips in one pass of the network.

        Returns:
            float32 N K on the CPU; every row sums to 1.
        """
        self.model.eval()
        parts = []
        for chunk in clips.split(batch):
            logits = self.model(to_input(chunk.to(self.device), self.spec))
            parts.append(logits.float().softmax(1).cpu())
        return torch.cat(parts)

    def predict(
        self, video: str | Path, *, top_k: int = 5, start: float | None = None, end: float | None = None
    ) -> Prediction:
        """Recognises one video, or the part of it between two times, from one central clip.

        Args:
            video: a file or a folder of frames.
            top_k: how many labels to name.
            start: seconds from the first frame.
            end: seconds from the first frame.

        Returns:
            The prediction, with the stretch that the clip stands for: the whole part with the sampler `segments`, else
            from its first frame to the end of its last one.

        Raises:
            UnreadableVideo: no clip can be had from the file.
        """
        with open_video(video) as reader:
            info = reader.info
            indices = wanted_frames(reader, lambda n: test_indices(n, self.spec, 1)[0], start, end)
            frames = reader.read(indices)
            first, last = (float(reader.times[i]) for i in (indices.min(), indices.max()))
        box = test_boxes(info.height, info.width, self.spec, 1)[0]
        scores = self.scores(cut(frames, box, self.spec.crop, flip=False)[None])[0]
        if self.spec.sampler == "segments":  # its frames stand for the whole part
            stretch = (start or 0.0, info.duration if end is None else min(end, info.duration))
        else:
            stretch = (first, last + 1 / info.fps)
        return self._prediction(scores, top_k, *stretch)

    def predict_windows(
        self, video: str | Path, *, window: float, step: float | None = None, top_k: int = 5
    ) -> list[Prediction]:
        """Recognises a long video window by window.

        Args:
            video: a file or a folder of frames.
            window: seconds of a window.
            step: seconds from one window to the next; None is `window`.
            top_k: how many labels to name.
        """
        found = []
        for t_start, t_end, clip in windows(video, self.spec, window, window if step is None else step):
            found.append(self._prediction(self.scores(clip[None])[0], top_k, t_start, t_end))
        return found

    def _prediction(self, scores: Tensor, top_k: int, t_start: float, t_end: float) -> Prediction:
        best = scores.topk(min(max(1, top_k), len(self.labels)))
        ranked = tuple((self.labels[i], float(s)) for s, i in zip(best.values, best.indices.tolist(), strict=True))
        return Prediction(ranked[0][0], ranked[0][1], ranked, t_start, t_end)

    def save(self, folder: str | Path) -> Path:
        """Writes the folder; a file that exists is replaced only once its successor is whole on the disk."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()}
        card = {
            "format": 1,
            "architecture": self.model.architecture,
            "labels": list(self.labels),
            "clip": self.spec.to_dict(),
            "versions": versions(),
            **self.card,
        }
        replace_file(folder / WEIGHTS, lambda path: path.write_bytes(save(tensors)))
        replace_file(folder / CARD, lambda path: path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8"))
        return folder

    @classmethod
    def load(cls, source: str | Path, device: str | torch.device = "cpu") -> Recognizer:
        """Reads a recognizer.

        Args:
            source: a recognizer folder, a run folder that holds `recognizer/`, one of the two files of a recognizer
                folder, or `hf-hub:organisation/name`.
            device: where the network goes.

        Raises:
            KinemaError: it does not exist, one of its files is damaged, or the two do not fit each other.
        """
        folder = _folder(source)
        card = _read_card(folder / CARD)
        try:
            recognizer = cls._from_card(card)
        except KinemaError as error:
            raise KinemaError(f"{folder / CARD}: {error}; {MEND}") from error
        except (TypeError, ValueError, AttributeError, KeyError, IndexError, RuntimeError) as error:
            # a value of the wrong type, wherever a network or the clip trips over it
            why = " ".join(str(error).split())
            raise KinemaError(f"{folder / CARD}: describes no network ({why}); {MEND}") from error
        _load_weights(recognizer.model, folder / WEIGHTS)
        return recognizer.to(device)

    @classmethod
    def _from_card(cls, card: dict[str, Any]) -> Recognizer:
        """The recognizer with random weights."""
        architecture, labels = card["architecture"], card["labels"]
        options = {**former_defaults(architecture["name"]), **architecture["options"]}
        model = create_model(architecture["name"], **options)
        rest = {k: v for k, v in card.items() if k not in ("format", *_ENTRIES)}
        return cls(model.eval(), labels, ClipSpec.from_dict(card["clip"]), rest)


def versions() -> dict[str, str]:
    """The software that made a result, as it is written beside it."""
    return {
        "kinema": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _folder(source: str | Path) -> Path:
    text = str(source)
    if text.startswith(HUB):
        return from_hub(text.removeprefix(HUB), (WEIGHTS, CARD))
    path = Path(source)
    if path.name in (WEIGHTS, CARD):
        path = path.parent
    if (path / "recognizer" / CARD).is_file():
        return path / "recognizer"
    if not path.exists():
        raise KinemaError(f"{path}: there is no such recognizer; give a folder with {WEIGHTS} and {CARD}")
    if not path.is_dir():
        raise KinemaError(f"{path}: not a recognizer; give the folder that holds {WEIGHTS} and {CARD}")
    if (path / "config.yaml").is_file() and not (path / CARD).is_file():
        raise KinemaError(f"{path}: this training has not finished; give its `kinema train` command again")
    for name in (CARD, WEIGHTS):
        if not (path / name).is_file():
            raise KinemaError(f"{path}: not a recognizer, {name} is missing in it")
    return path


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise KinemaError(f"{path}: not a readable card ({error}); {MEND}") from error
    if not isinstance(card, dict):
        raise KinemaError(f"{path}: not a card, which is an object with keys; {MEND}")
    for key, (kind, what) in _ENTRIES.items():
        if key not in card:
            raise KinemaError(f"{path}: the key {key!r} is missing; {MEND}")
        if not isinstance(card[key], kind):
            raise KinemaError(f"{path}: {key!r} must be {what}; {MEND}")
    for key, kind in (("name", str), ("options", dict)):
        if not isinstance(card["architecture"].get(key), kind):
            raise KinemaError(f"{path}: 'architecture' must hold the network's name and its options; {MEND}")
    if not all(isinstance(label, str) and label for label in card["labels"]):
        raise KinemaError(f"{path}: 'labels' must hold a text for every output; {MEND}")
    return card


def _load_weights(model: VideoModel, path: Path) -> None:
    require_readable(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise KinemaError(
            f"{path}: cut off, damaged or not a safetensors file ({error}); copy it anew, weights are never unpickled"
        ) from error
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    surplus = sorted(set(tensors) - set(wanted))
    shapes = sorted(k for k in set(wanted) & set(tensors) if wanted[k].shape != tensors[k].shape)
    if missing or surplus or shapes:
        parts = [
            f"{len(names)} {what} (first: {_describe(names[0], wanted, tensors)})"
            for what, names in (("missing", missing), ("not known", surplus), ("of another shape", shapes))
            if names
        ]
        raise KinemaError(f"{path}: the weights do not fit the card: {'; '.join(parts)}; {MEND}")
    model.load_state_dict(tensors)


def _describe(name: str, wanted: dict[str, Tensor], tensors: dict[str, Tensor]) -> str:
    if name in wanted and name in tensors:
        return f"{name}, {tuple(tensors[name].shape)} for {tuple(wanted[name].shape)}"
    return name
