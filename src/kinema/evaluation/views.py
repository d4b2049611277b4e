"""The views of a test: their number, whether they differ, and their frames and crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kinema.clip_spec import ClipSpec
from kinema.data.datasets import Failure, TestVideos
from kinema.data.manifest import Manifest
from kinema.data.transforms import Box
from kinema.data.video import VideoInfo, open_video
from kinema.data.views import ViewKey
from kinema.errors import RunError, UnreadableVideo
from kinema.files import on_behalf_of
from kinema.text import plural

_LINE = 72  # characters of a time line
_PICTURE = 24  # characters of the width of a drawn frame


@dataclass(frozen=True)
class ViewProof:
    """Counts of the views of one video, from the frames and the box of each.

    Attributes:
        views: number of views.
        distinct: number of different views.
        distinct_clips: number of different sets of frames.
        distinct_crops: number of different boxes.
        repeats: whether a clip repeats a frame: the video is shorter than a clip, or shows a frame for a long time.
    """

    views: int
    distinct: int
    distinct_clips: int
    distinct_crops: int
    repeats: bool


def prove(keys: Sequence[ViewKey]) -> ViewProof:
    """Counts the different views of one video."""
    clips, boxes = {frames for frames, _ in keys}, {box for _, box in keys}
    repeats = any(len(set(frames)) < len(frames) for frames in clips)
    return ViewProof(len(keys), len(set(keys)), len(clips), len(boxes), repeats)


@dataclass(frozen=True)
class ViewSummary:
    """Summary of the views of a test's videos.

    Attributes:
        clips: temporal views per video.
        crops: spatial views per clip.
        all_distinct: number of readable videos whose views all differ.
        coinciding: number of readable videos with at least two equal views.
        fewest_distinct: smallest number of different views of a readable video.
        same_clips: number of videos with too few frames for that many different clips.
        same_crops: number of videos with no room to move the crop along the longer side.
        repeated_frames: number of videos in which a clip repeats a frame: shorter than a clip, which was completed
            according to `ClipSpec.pad`, or with a variable frame rate and a frame of long duration.
        random_clips: the seed of random clips; None for clips at fixed positions.
    """

    clips: int
    crops: int
    all_distinct: int
    coinciding: int
    fewest_distinct: int
    same_clips: int
    same_crops: int
    repeated_frames: int
    random_clips: int | None = None

    def __str__(self) -> str:
        total = self.clips * self.crops
        if total == 1:
            text = f"1x1: the centre crop of {'the centre clip' if self.random_clips is None else 'a random clip'}"
        else:
            n = self.all_distinct + self.coinciding
            text = f"{self.clips}x{self.crops} = {total} per video; all differ for {self.all_distinct} of {n} read"
        if self.coinciding:
            whys = [
                f"{count} {why}"
                for count, why in (
                    (self.same_clips, f"with too few frames for {self.clips} different clips"),
                    (self.same_crops, "with no room to move the crop"),
                )
                if count
            ]
            text += (
                f", for {self.coinciding} some are equal ({', '.join(whys)}; at least {self.fewest_distinct} differ)"
            )
        if self.random_clips is not None:
            text += f"; clips drawn with seed {self.random_clips}"
        if self.repeated_frames:
            text += f"; the clips of {self.repeated_frames} repeat frames (shorter than a clip, or with a long frame)"
        return text

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; `random_clips` only for random clips."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def summarise(proofs: Sequence[ViewProof], clips: int, crops: int, random_clips: int | None = None) -> ViewSummary:
    """Summarises the views of the readable videos of a test."""
    differ = [p.distinct == p.views for p in proofs]
    return ViewSummary(
        clips=clips,
        crops=crops,
        all_distinct=sum(differ),
        coinciding=len(differ) - sum(differ),
        fewest_distinct=min((p.distinct for p in proofs), default=0),
        same_clips=sum(p.distinct_clips < clips for p in proofs),
        same_crops=sum(p.distinct_crops < crops for p in proofs),
        repeated_frames=sum(p.repeats for p in proofs),
        random_clips=random_clips,
    )


def explain(manifest: Manifest, spec: ClipSpec, clips: int, crops: int, *, random_clips: int | None = None) -> str:
    """Lists and draws the frames and boxes of the views of the first readable video.

    Raises:
        RunError: no video can be read.
    """
    for sample in manifest.samples:
        alone = replace(manifest, samples=(sample,))
        try:
            with on_behalf_of(sample.path):
                item = TestVideos(alone, alone.labels, spec, clips, crops, random_clips=random_clips)[0]
            if isinstance(item, Failure):
                continue
            with on_behalf_of(sample.path), open_video(sample.path) as reader:
                return _picture(item["keys"], spec, reader.info)
        except UnreadableVideo:
            continue
    raise RunError(
        f"{manifest.source}: no video could be read, so there are no views to show; check them with kinema data doctor"
    )


def _picture(keys: Sequence[ViewKey], spec: ClipSpec, info: VideoInfo) -> str:
    clips = list(dict.fromkeys(frames for frames, _ in keys))
    boxes = list(dict.fromkeys(box for _, box in keys))
    lines = [
        f"{info.path}: {info.frames} frames, {info.width}x{info.height}",
        f"{plural(len(keys), 'view')}: "
        + ("every clip" if len(clips) > 1 else "the clip")
        + (" below with every crop below" if len(boxes) > 1 else " below with the crop below")
        + ("; their softmax scores are averaged" if len(keys) > 1 else ""),
        "",
    ]
    for number, frames in enumerate(clips, 1):
        line = ["."] * _LINE
        for frame in frames:
            line[min(_LINE - 1, frame * _LINE // max(1, info.frames))] = "#"
        lines += [f"clip {number}: frames {' '.join(map(str, frames))}", f"  |{''.join(line)}|"]
    for number, box in enumerate(boxes, 1):
        where = f"{box.width}x{box.height} pixels from left {box.left}, top {box.top}"
        lines += [
            "",
            f"crop {number}: {where}, scaled to {spec.tested}x{spec.tested}",
            *_frame(box, info.width, info.height),
        ]
    coinciding = len(keys) - len(set(keys))
    if coinciding:
        verb = "repeats" if coinciding == 1 else "repeat"
        lines += [
            "",
            f"{coinciding} of the {len(keys)} views {verb} another one: the video is too short or too small for more.",
        ]
    return "\n".join(lines)


def _frame(box: Box, width: int, height: int) -> list[str]:
    columns = _PICTURE
    rows = max(2, round(columns * height / width / 2))  # a character is about twice as high as wide
    lines = []
    for row in range(rows):
        y = (row + 0.5) * height / rows
        cells = [
            "#" if box.top <= y < box.top + box.height and box.left <= x < box.left + box.width else "."
            for x in ((column + 0.5) * width / columns for column in range(columns))
        ]
        lines.append("  " + "".join(cells))
    return lines
