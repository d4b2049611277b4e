"""Detection of near-identical videos: counts pairs of different clips taken for copies, and copies that are found.

    .venv/bin/python benchmarks/duplicates.py [FOLDER ...] [--clips 100] [--copies 3]

Without FOLDER the clips are generated puppets. Three things are measured:

1. False alarms. Each clip is changed as editing tools do it (black, white or blue frames, fades, titles that all clips
   share, bars, a logo). For each kind of change, every pair of different clips called near-identical is printed.
2. Copies found. Every third clip (`--copies`) is copied: smaller, heavily compressed, with the border or a twentieth of
   the length cut off. The share of copies that are found is printed.
3. Clips against their own reversal, where only clips without motion may be found, and videos that show the same scene.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import torch
from torch.nn.functional import interpolate

from kinema.data.doctor.duplicates import near_pairs, pictures_of, shared_scenes
from kinema.data.video import SUFFIXES, open_video, probe
from kinema.evaluation.cost import environment
from kinema.puppets.dataset import generate

MOST = 60  # frames used of a clip


def load(path: Path) -> np.ndarray:
    with open_video(path) as video:
        n = len(video)
        return video.read(np.unique(np.linspace(0, n - 1, min(n, MOST)).round().astype(int))).numpy()


def scaled(film: np.ndarray, height: int, width: int) -> np.ndarray:
    frames = torch.from_numpy(film).permute(0, 3, 1, 2).float()
    frames = interpolate(frames, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return frames.permute(0, 2, 3, 1).round().clamp(0, 255).byte().numpy()


def encoded(film: np.ndarray, crf: int) -> np.ndarray:
    """Returns a video after H.264 compression."""
    film = film[:, : film.shape[1] // 2 * 2, : film.shape[2] // 2 * 2]
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = film.shape[1], film.shape[2], "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in film:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as found:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in found.decode(video=0)])


def title(height: int, width: int, seed: int) -> np.ndarray:
    """Draws three lines of light strokes on a dark card."""
    card = np.full((height, width, 3), 15, np.uint8)
    for line in range(3):
        top, left = int(height * (0.3 + 0.14 * line)), width * (0.15 + 0.1 * line)
        for k in np.flatnonzero(np.random.default_rng([seed, line]).random(40) < 0.6):
            x = int(left + k * width * 0.015)
            card[top : top + int(height * 0.08), x : x + max(1, int(width * 0.01))] = 230
    return card


def faded(film: np.ndarray, part: float, ends: tuple[int, ...]) -> np.ndarray:
    length = max(2, int(len(film) * part))
    light = np.ones(len(film))
    if 0 in ends:
        light[:length] = np.linspace(0, 1, length)
    if 1 in ends:
        light[-length:] = np.linspace(1, 0, length)
    return (film * light[:, None, None, None]).astype(np.uint8)


def changed(film: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    n, h, w, _ = film.shape
    some = max(1, n // 8)

    def still(colour: np.ndarray | tuple[int, int, int], times: int = some) -> np.ndarray:
        return np.broadcast_to(np.asarray(colour, np.uint8), (times, h, w, 3))

    black, one, other = still((0, 0, 0)), title(h, w, 1), title(h, w, 2)
    yield "as they are", film
    yield "black frames at the end", np.concatenate([film, black])
    yield "black frames at both ends", np.concatenate([black, film, black])
    yield "white frames at the beginning", np.concatenate([still((255, 255, 255)), film])
    yield "blue frames at the end", np.concatenate([film, still((20, 30, 200))])
    yield "fade to black", faded(film, 0.25, (1,))
    yield "fade in and out", faded(film, 0.3, (0, 1))
    yield "a title", np.concatenate([still(one), film])
    yield "a title and an end title", np.concatenate([still(one), film, still(other)])
    yield "a title as long as the clip", np.concatenate([still(one, n), film])
    bars = film.copy()
    bars[:, : h // 8] = bars[:, -(h // 8) :] = 0
    yield "bars above and below", bars
    bars = np.zeros_like(film)
    bars[:, :, w // 3 : w - w // 3] = scaled(film, h, w - 2 * (w // 3))
    yield "bars left and right", bars
    logo = np.zeros((h, w, 1), bool)
    logo[int(h * 0.05) : int(h * 0.17), int(w * 0.8) : int(w * 0.95)] = True
    yield "a logo", np.where(logo, 250, film).astype(np.uint8)
    yield "a logo, black frames at the end", np.where(logo, 250, np.concatenate([film, black])).astype(np.uint8)
    yield "a logo on a dark video", np.where(logo, 250, film * 0.12).astype(np.uint8)


COPIES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "smaller": ("as they are", lambda f: encoded(scaled(f, f.shape[1] // 2, f.shape[2] // 2), 30)),
    "heavily compressed": ("as they are", lambda f: encoded(f, 42)),
    "border cut off": (
        "as they are",
        lambda f: encoded(f[:, f.shape[1] // 25 : -(f.shape[1] // 25), f.shape[2] // 25 : -(f.shape[2] // 25)], 28),
    ),
    "beginning cut off": ("as they are", lambda f: encoded(f[max(1, len(f) // 20) :], 28)),
    "end cut off": ("as they are", lambda f: encoded(f[: len(f) - max(1, len(f) // 20)], 28)),
} | {
    f"smaller, {kind}": (kind, lambda f: encoded(scaled(f, f.shape[1] // 2, f.shape[2] // 2), 34))
    for kind in ("black frames at the end", "fade in and out", "a title", "bars above and below")
}


def look(film: np.ndarray) -> np.ndarray:
    return pictures_of(lambda indices_of: torch.from_numpy(np.ascontiguousarray(film[indices_of(len(film))])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--clips", type=int, default=100, help="puppets to generate")
    parser.add_argument("--copies", type=int, default=3, help="copies of every clip with this step")
    args = parser.parse_args()
    print(json.dumps(environment()))
    with tempfile.TemporaryDirectory() as made:
        if not args.folders:
            generate(Path(made), train=max(1, args.clips // 12), test=1, speed=0)
        places = args.folders or [Path(made)]
        paths = sorted(p for place in places for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
        paths = paths if args.folders else paths[: args.clips]
        report(paths, args.copies)


def report(paths: list[Path], step: int) -> None:
    looks, copies, originals = defaultdict(list), defaultdict(list), defaultdict(list)
    lengths = np.array([(info.frames, info.duration) for info in map(probe, paths)])
    for number, path in enumerate(paths):
        kinds = dict(changed(load(path)))
        for kind, film in kinds.items():
            looks[kind].append(look(film))
        for name, (kind, copy) in COPIES.items() if number % step == 0 else ():
            copies[name].append(look(copy(kinds[kind])))
            originals[name].append(looks[kind][-1])
    each = np.arange(len(paths))
    print(f"{len(paths)} clips\n\npairs of different clips called near-identical")
    for kind, found in looks.items():
        pairs = near_pairs(np.array(found, np.float32), each, lengths)
        named = ", ".join(f"{paths[i].name} ~ {paths[j].name}" for i, j in pairs[:5]) + (", …" if pairs[5:] else "")
        print(f"{len(pairs):5}  {kind}{': ' if pairs else ''}{named}")
    print("\ncopies that are found")
    for name, found in copies.items():
        n = len(found)
        pairs = near_pairs(np.array(originals[name] + found, np.float32), np.repeat((0, 1), n))
        print(f"{sum(j == i + n for i, j in pairs):5} of {n}  {name}")
    plain = np.array(looks["as they are"], np.float32)
    n = len(plain)
    pairs = near_pairs(np.concatenate([plain, plain[:, ::-1]]), np.repeat((0, 1), n))
    print(f"\n{sum(j == i + n for i, j in pairs):5} of {n}  found to be their own reversal")
    for kind, found in looks.items():
        print(f"{len(shared_scenes(np.array(found, np.float32), each)):5} of {n}  show the scene of another, {kind}")


if __name__ == "__main__":
    main()
