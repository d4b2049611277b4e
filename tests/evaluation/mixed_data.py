"""A test set as it is in life, with long, short and unreadable videos under awkward names, and a network to test."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from tiny import write_video

from kinema import ClipSpec, Recognizer, create_model
from kinema.data.transforms import to_input

LABELS = ("jump", "run, fast", "sit")
SPEC = ClipSpec(frames=4, short_side=36, crop=32)
SIZE = (48, 64)  # height, width

# name -> label, frames or what is wrong with the file
VIDEOS: dict[str, tuple[str, int | str]] = {
    "long one.mp4": ("jump", 40),
    "corrupt.mp4": ("jump", "corrupt"),
    "comma, here.mp4": ("run, fast", 24),
    "missing.mp4": ("run, fast", "missing"),
    'quote "q".mp4': ("sit", 30),
    "zero.mp4": ("sit", "zero"),
    "short.mp4": ("jump", 5),
    "audio only.mp4": ("sit", "audio"),
    "größe 大.mp4": ("run, fast", 21),
    "text.mp4": ("run, fast", "text"),
    "tiny.mp4": ("sit", 2),
}
GOOD = [name for name, (_, kind) in VIDEOS.items() if isinstance(kind, int)]
BAD = [name for name in VIDEOS if name not in GOOD]


def picture_sequence(seed: int, frames: int) -> np.ndarray:
    """Smooth colours that change from frame to frame and from place to place, uint8 T H W 3."""
    rng = np.random.default_rng(seed)
    t, y, x = np.mgrid[:frames, : SIZE[0], : SIZE[1]].astype(np.float64)
    waves = [np.sin(x * a + y * b + t * c) for a, b, c in rng.uniform(0.05, 0.6, (3, 3))]
    return (128 + 100 * np.stack(waves, -1)).astype(np.uint8)


def write_audio_only(path: Path) -> Path:
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=16000, layout="mono")
        for start in range(0, 16000, 1024):
            wave = 0.1 * np.sin(np.arange(start, start + 1024, dtype=np.float32)[None] / 9)
            frame = av.AudioFrame.from_ndarray(wave.astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def mixed_data(folder: Path) -> Path:
    """Writes `VIDEOS` and their CSV, all in the split `test`, and two rows of the split `train`; gives the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (_, kind)) in enumerate(VIDEOS.items()):
        path = folder / name
        if isinstance(kind, int):
            write_video(path, picture_sequence(seed, kind))
        elif kind == "corrupt":
            whole = write_video(path, picture_sequence(seed, 30)).read_bytes()
            path.write_bytes(whole[: len(whole) // 3])  # what a broken download leaves: no index
        elif kind == "zero":
            path.write_bytes(b"")
        elif kind == "audio":
            write_audio_only(path)
        elif kind == "text":
            path.write_text("this was never a video\n" * 50)
    with (folder / "videos.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split"))
        writer.writerows((name, label, "test") for name, (label, _) in VIDEOS.items())
        writer.writerows((f"train {i}.mp4", "sit", "train") for i in range(2))
    return folder / "videos.csv"


def recognizer(labels: tuple[str, ...] = LABELS, spec: ClipSpec = SPEC, seed: int = 0) -> Recognizer:
    """Random weights whose answers differ from video to video."""
    torch.manual_seed(seed)
    model = create_model("tsm_r18", num_classes=len(labels), frames=spec.frames, width=0.0625).eval()
    pictures = np.stack([picture_sequence(100 + i, spec.frames)[:, 8:40, 16:48] for i in range(16)])
    clips = to_input(torch.from_numpy(pictures), spec)
    with torch.no_grad():
        model.classifier.weight.mul_(300)
        model.classifier.bias.sub_(model(clips).mean(0))  # else one label wins every time
    return Recognizer(model, labels, spec)
