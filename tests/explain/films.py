"""Small videos and planted explanations for the tests of what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import torch

from kinema.explain.panel import Panel
from kinema.explain.source import Place

GREY = 90


def grey_video(
    path: Path, *, size: tuple[int, int] = (96, 64), frames: int = 12, aspect: Fraction | None = None,
    stamps: Sequence[int] | None = None, codec: str = "libx264",
) -> Path:  # fmt: skip
    """A grey film, 25 frames a second or at `stamps` (milliseconds), with pixels of the shape `aspect`."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(len(stamps) if stamps is not None else frames):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), GREY, np.uint8), format="rgb24")
            if stamps is not None:
                frame.pts, frame.time_base = stamps[i], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def planted(map: torch.Tensor | None, **more: object) -> SimpleNamespace:
    """What an explanation offers, with a map that the test knows."""
    values = {"method": "tube", "label": "jump", "target": 3, "layer": "layer4", "score": 0.87, "verdict": None}
    values |= more
    return SimpleNamespace(**values, map=map, to_dict=lambda: {k: v for k, v in values.items() if k != "result"})


def panel(
    frames: Sequence[int], box: tuple[int, int, int, int], span: tuple[float, float], *, level: float = 1.0,
    name: str = "", **more: object,
) -> Panel:  # fmt: skip
    """A panel whose map has one value everywhere."""
    evidence = torch.full((len(frames), 8, 8), level)
    return Panel(planted(evidence, **more), Place(tuple(frames), box, span), name)


def decoded(path: Path) -> tuple[list[Fraction], np.ndarray]:
    """The times of all frames of a file, seconds, and the frames, uint8 T H W 3."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        found = [(frame.pts * stream.time_base, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
    return [time for time, _ in found], np.stack([picture for _, picture in found])
