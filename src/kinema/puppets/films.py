"""`generate_films`: long videos with several actions and idle time between them, and the times of the actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from kinema.errors import KinemaError
from kinema.files import replace_file
from kinema.puppets.actions import ACTIONS, LABELS, Action, Performance
from kinema.puppets.clips import RATES, TEMPO, Timing, draw_scene_at
from kinema.puppets.dataset import EDITION, begin, check_rendering, failing_as_a_run, finish, found, in_processes
from kinema.puppets.encode import mp4, pictures
from kinema.puppets.figure import ARMS, Body, stand
from kinema.puppets.scenery import light
from kinema.puppets.stage import Array, paint

FILM_SPLITS = ("train", "val", "test")
FILM_COLUMNS = ("path", "label", "split", "start", "end", "fps")
_STREAM = 1000  # separates the random numbers of long videos from those of clips
_IDLE = (0.7, 2.0)  # seconds before and after an action
_IDLE_SHOT = (1.5, 4.0)  # seconds of a shot without an action
_IDLE_SHOTS = 0.15  # share of shots without an action

Pictures = list[npt.NDArray[np.uint8]]


def _rest(u: Array, body: Body, rng: np.random.Generator) -> Performance:
    """Stands and does nothing."""
    pose = stand(len(u), body)
    pose.yaw += rng.uniform(-1.5, 1.5)
    return Performance(pose, ARMS)


_RESTING = Action("", "", None, 2.0, (0.62, 0.8), _rest)


@dataclass(frozen=True)
class FilmJob:
    """Long video `number` of a split."""

    out: str
    seed: int
    split: str
    number: int
    seconds: float
    size: int
    idle: str

    def generator(self) -> np.random.Generator:
        """The source of all randomness in the video."""
        return np.random.default_rng([self.seed, _STREAM, FILM_SPLITS.index(self.split), self.number])


@dataclass(frozen=True)
class Shot:
    """The frames between two cuts, and the actions in them as (label, first frame, frame after the last)."""

    frames: Pictures
    actions: tuple[tuple[str, int, int], ...]


def generate_films(
    out: Path, *, seed: int = 0, films: tuple[int, int, int] = (8, 4, 8), seconds: float = 60.0, size: int = 112,
    idle: str | None = None, workers: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Path:  # fmt: skip
    """Writes long puppet videos: `OUT/SPLIT/NUMBER.mp4`, `manifest.csv`, `labels.txt`, `flip_map.json`, `puppets.json`.

    A video is a sequence of shots with a new scene and actor each, like an edited video. In a shot, a figure stands
    idle, performs an action, and stays idle in the final pose of the action. If the action has a reverse, the reverse
    follows (or comes first). Some shots show only idle standing. The manifest has one row per action, with the columns
    path, label, split, start, end (seconds from the first frame) and fps. The scenes are drawn in the same way as for
    the short clips, but with other random numbers.

    Args:
        out: a folder that is new, empty, or contains such videos.
        seed: non-negative seed of all randomness. The number of workers does not change a single byte.
        films: number of videos in the splits `train`, `val` and `test`; 0 omits a split.
        seconds: shortest length of a video; it ends with the first shot that ends later.
        size: side of the square picture, an even number of at least 64 pixels.
        idle: label of rows for the time between actions; None writes no such rows.
        workers: number of processes; None is one per core that this process may use, 1 works in this process.
        progress: called with the number of finished videos and of all videos.

    Returns:
        The folder.

    Raises:
        KinemaError: a parameter is out of range, or the folder contains something else.
        RunError: the files cannot be written, or the processes cannot be started.
    """
    out = Path(out)
    _check(films, seconds, idle)
    check_rendering(seed, size, workers)
    parameters = {
        "edition": EDITION, "seed": seed, "films": list(films), "seconds": float(seconds), "size": size,
        "idle": idle or "",
    }  # fmt: skip
    if found(out, parameters):
        return out
    jobs = [
        FilmJob(str(out), seed, split, number, seconds, size, idle or "")
        for split, count in zip(FILM_SPLITS, films, strict=True)
        for number in range(count)
    ]
    with failing_as_a_run(out):
        begin(out, parameters)
        for split, count in zip(FILM_SPLITS, films, strict=True):
            for film in (out / split).glob("[0-9][0-9][0-9][0-9].mp4"):
                film.unlink()
            if count:
                (out / split).mkdir(exist_ok=True)
        rows = in_processes(perform_film, jobs, workers, progress=progress)
        # A few videos need not show all labels, but recognizers of clips and of long videos should have equal outputs.
        names = "".join(f"{label}\n" for label in sorted({*LABELS, *([idle] if idle else [])}))
        replace_file(out / "labels.txt", lambda part: part.write_text(names, encoding="utf-8"))
        finish(out, FILM_COLUMNS, rows)
    return out


def perform_film(job: FilmJob) -> list[dict[str, str]]:
    """Renders and writes one video, and returns the rows of its actions, in order of time."""
    rng = job.generator()
    rate = int(rng.choice(RATES))
    path = f"{job.split}/{job.number:04d}.mp4"
    spans: list[tuple[str, int, int]] = []
    total = 0

    def images() -> Iterator[av.VideoFrame]:
        nonlocal total
        for shot in _shots(rng, rate, job.size):
            spans.extend((label, total + first, total + end) for label, first, end in shot.actions)
            total += len(shot.frames)
            yield from pictures(shot.frames)
            if total >= job.seconds * rate:
                return

    (Path(job.out) / path).write_bytes(mp4(images(), rate))
    if job.idle:
        spans += _gaps(spans, total, job.idle)
    return [
        {"path": path, "label": label, "split": job.split, "start": f"{first / rate:.3f}", "end": f"{end / rate:.3f}",
         "fps": str(rate)}
        for label, first, end in sorted(spans, key=lambda span: span[1])
    ]  # fmt: skip


def _shots(rng: np.random.Generator, rate: int, size: int) -> Iterator[Shot]:
    """Yields shots without end, in which all actions occur equally often."""
    while True:
        for number in rng.permutation(len(ACTIONS)):
            if rng.random() < _IDLE_SHOTS:
                yield _shot(rng, _RESTING, rate, size)
            yield _shot(rng, ACTIONS[number], rate, size)


def _shot(rng: np.random.Generator, action: Action, rate: int, size: int) -> Shot:
    (low, high), *_ = TEMPO["train"]
    tempo = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    before, after = (round(s * rate) for s in rng.uniform(*_IDLE, size=2))
    length = round(action.seconds * tempo * rate)
    if not action.label:
        before, length, after = 0, round(rng.uniform(*_IDLE_SHOT) * rate), 0
    timing = Timing(rate, before + length + after, before / rate, length / rate, tempo)
    scene = draw_scene_at(rng, action, timing, size)
    frames = light(rng, paint(scene.backdrops, scene.shapes), timing.seconds)
    if not action.label:
        return Shot(frames, ())
    first = (action.label, before, before + length)
    if not action.reversed:
        return Shot(frames, (first,))
    # The video continues backwards from its last frame, as the clips of the reversed class do.
    if rng.random() < 0.5:
        second = (action.reversed, len(frames) + after, len(frames) + after + length)
        return Shot([*frames, *frames[::-1]], (first, second))
    start = (action.reversed, after, after + length)
    return Shot([*frames[::-1], *frames], (start, (action.label, len(frames) + before, len(frames) + before + length)))


def _gaps(spans: list[tuple[str, int, int]], total: int, label: str) -> list[tuple[str, int, int]]:
    """Returns the intervals between the actions, from the first frame to the last."""
    ends = [0, *(end for *_, end in spans)]
    starts = [*(first for _, first, _ in spans), total]
    return [(label, end, start) for end, start in zip(ends, starts, strict=True) if start > end]


def _check(films: tuple[int, int, int], seconds: float, idle: str | None) -> None:
    if len(films) != len(FILM_SPLITS) or not all(0 <= count <= 9999 for count in films) or not any(films):
        raise KinemaError(
            f"films is {','.join(map(str, films))}: give three numbers from 0 to 9999, for train, val and test"
        )
    if not 5 <= seconds <= 3600:
        raise KinemaError(f"seconds is {seconds:g}: give the length of a video, from 5 to 3600")
    if idle is not None and (not idle.strip() or idle in LABELS):
        raise KinemaError(f"idle is {idle!r}: give a label for the idle time that differs from all actions")
