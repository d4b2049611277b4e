"""Clips on which backends are checked: from the user's videos, or generated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from kinema.clip_spec import ClipSpec
from kinema.data.loading.loader import SINGLE_VIDEO_READERS, Loader, alone
from kinema.data.views import Request, RequestedViews
from kinema.errors import UnreadableVideo
from kinema.text import plural

GENERATED = 4
_VIDEOS = 4  # most videos that are read


def clips_to_check(spec: ClipSpec, videos: Sequence[str | Path], least: int) -> tuple[Tensor, str, tuple[str, ...]]:
    """Returns the centre clips of some videos, filled up with generated clips.

    Args:
        spec: clip specification.
        videos: files or folders of frames; a long list is sampled evenly.
        least: smallest number of clips, at least 2.

    Returns:
        uint8 N T H W 3 with at least `least` clips, their description, and a sentence for each unreadable video.
    """
    chosen = list(islice(videos, 0, None, max(1, len(videos) // _VIDEOS)))[:_VIDEOS]
    clips: list[Tensor] = []
    remarks = []
    requests = [[Request(str(video))] for video in chosen]
    with Loader(RequestedViews(spec, 1, 1), requests, alone, readers=SINGLE_VIDEO_READERS, largest=1) as loader:
        for found in loader:
            if isinstance(found, UnreadableVideo):
                remarks.append(f"{found}; it is not used to check backends")
            else:
                clips.append(found["views"][0])
    read, missing = len(clips), max(0, max(2, least) - len(clips))
    if not read:
        missing = max(missing, GENERATED)
    if missing:
        clips += list(generated_clips(spec, missing))
    parts = [plural(read, "clip") + " of the videos"] * bool(read) + [plural(missing, "generated clip")] * bool(missing)
    return torch.stack(clips), " and ".join(parts), tuple(remarks)


def generated_clips(spec: ClipSpec, count: int = GENERATED) -> Tensor:
    """Generates coloured textures of several scales that drift in different directions; the same in every call.

    Args:
        spec: clip specification, with number and size of frames.
        count: N.

    Returns:
        uint8 N T H W 3.
    """
    side, noise = spec.tested, torch.Generator().manual_seed(0)
    clips = []
    for _ in range(count):
        picture = torch.zeros(1, 3, 2 * side, 2 * side)
        for cells in (3, 9, 27):
            cell = torch.rand(1, 3, cells, cells, generator=noise)
            picture += F.interpolate(cell, size=picture.shape[2:], mode="bicubic", align_corners=False) / 3
        picture = (picture[0] - picture.min()) / (picture.max() - picture.min())
        ends = torch.randint(0, side, (2, 2), generator=noise)
        path = torch.lerp(ends[0].float(), ends[1].float(), torch.linspace(0, 1, max(1, spec.frames))[:, None])
        frames = [picture[:, y : y + side, x : x + side] for y, x in path.round().int().tolist()]
        clips.append(torch.stack(frames).permute(0, 2, 3, 1))
    return (255 * torch.stack(clips)).round().to(torch.uint8)
