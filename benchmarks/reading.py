"""Reading 8 frames of a 10 s video: Kinema against seeking for every frame and against decoding everything.

    python benchmarks/reading.py [--rounds 25] [--json]

Protocol: H.264 files (libx264, preset medium, CRF 23) of 300 frames, 340 x 256, 30 fps, with a keyframe every 250 or
every 12 frames, with x264's usual three B frames and without any; a moving texture, a moving patch and grain. The task
is to read the centre frames of 8 equal segments as one uint8 tensor [8, 256, 340, 3]. Every method starts from the path
of the file: it opens it, finds the number of frames, and decodes and converts on one thread. The files are in the page
cache.

Before the first round, all results are compared bit by bit. Each method runs once per round, and the first changes with
every round. Garbage is collected only between rounds, so that it does not slow down one of the methods by chance. The
script prints the median time and the median of Kinema's time over the other's (below 1: Kinema is faster), for
wall-clock time and for processor time, which depends less on other programs on the machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch

from kinema.clip_spec import ClipSpec
from kinema.data.samplers import test_indices
from kinema.data.video import VideoReader

FRAMES, WIDTH, HEIGHT, RATE, WANTED = 300, 340, 256, 30, 8


def write(path: Path, gop: int, b_frames: int) -> Path:
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 40, 52)).astype(np.float32))
    ground = torch.nn.functional.interpolate(coarse, (HEIGHT + 64, WIDTH + 96), mode="bicubic").clamp(0, 255)[0].numpy()
    patch = rng.uniform(0, 255, (60, 60, 3))
    options = {"crf": "23", "preset": "medium", "bf": str(b_frames)}
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", gop
        for i in range(FRAMES):
            x, y = int(48 + 40 * np.sin(i / 23)), int(32 + 24 * np.cos(i / 31))
            frame = ground[:, y : y + HEIGHT, x : x + WIDTH].transpose(1, 2, 0).copy()
            x, y = int((WIDTH - 60) * (0.5 + 0.5 * np.sin(i / 9))), int((HEIGHT - 60) * (0.5 + 0.5 * np.cos(i / 13)))
            frame[y : y + 60, x : x + 60] = patch
            frame += rng.normal(0, 3, frame.shape)
            picture = av.VideoFrame.from_ndarray(np.clip(frame, 0, 255).astype(np.uint8), format="rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


def centres(frames: int) -> list[int]:
    return test_indices(frames, ClipSpec(frames=WANTED), 1)[0].tolist()


def kinema(path: Path) -> torch.Tensor:
    with VideoReader(path) as video:
        return video.read(centres(len(video)))


def open_single_threaded(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    container = av.open(str(path))
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    return container, stream


def seek_each(path: Path) -> torch.Tensor:
    """For every frame, seeks to its keyframe by the stated rate and decodes until its time stamp."""
    clip = torch.empty((WANTED, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    container, stream = open_single_threaded(path)
    with container:
        for place, index in enumerate(centres(stream.frames)):
            stamp = (stream.start_time or 0) + round(index / stream.average_rate / stream.time_base)
            container.seek(stamp, stream=stream)
            frame = next(frame for frame in container.decode(stream) if frame.pts >= stamp)
            clip.numpy()[place] = frame.to_ndarray(format="rgb24", threads=1)
    return clip


def decode_all(path: Path) -> torch.Tensor:
    """Decodes from the first to the last requested frame and converts the requested ones."""
    clip = torch.empty((WANTED, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    container, stream = open_single_threaded(path)
    with container:
        places = {index: place for place, index in enumerate(centres(stream.frames))}
        for index, frame in enumerate(container.decode(stream)):
            if index in places:
                clip.numpy()[places.pop(index)] = frame.to_ndarray(format="rgb24", threads=1)
                if not places:
                    break
    return clip


def convert_all(path: Path) -> torch.Tensor:
    """Decodes and converts every frame, then selects."""
    container, stream = open_single_threaded(path)
    with container:
        frames = [frame.to_ndarray(format="rgb24", threads=1) for frame in container.decode(stream)]
    return torch.from_numpy(np.stack([frames[i] for i in centres(len(frames))]))


WAYS: dict[str, Callable[[Path], torch.Tensor]] = {
    "kinema": kinema,
    "seek for each frame": seek_each,
    "decode all, convert 8": decode_all,
    "decode all, convert all": convert_all,
}


def measure(path: Path, rounds: int) -> dict[str, dict[str, float]]:
    expected = convert_all(path)
    for name, way in WAYS.items():
        if not torch.equal(way(path), expected):
            raise SystemExit(f"{name} read other frames from {path.name} than a full decode")
    names = list(WAYS)
    wall: dict[str, list[float]] = {name: [] for name in names}
    processor: dict[str, list[float]] = {name: [] for name in names}
    gc.disable()
    for turn in range(rounds):
        gc.collect()
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begin = time.perf_counter(), time.process_time()
            WAYS[name](path)
            wall[name].append(time.perf_counter() - begin[0])
            processor[name].append(time.process_time() - begin[1])
    gc.enable()
    return {
        name: {
            "ms": 1e3 * statistics.median(wall[name]),
            "ratio": _ratio(wall["kinema"], wall[name]),
            "processor_ratio": _ratio(processor["kinema"], processor[name]),
        }
        for name in names
    }


def _ratio(ours: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, others, strict=True))


def machine() -> dict[str, str]:
    cpus = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "processor": f"{cpus[0] if cpus else platform.processor()} ({len(cpus)} visible)",
        "python": platform.python_version(),
        "av": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "torch": torch.__version__,
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25, help="rounds; use at least 15 for reliable results")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, object] = {"machine": machine(), "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as folder:
        for b_frames in (3, 0):
            for gop in (250, 12):
                path = write(Path(folder) / f"gop{gop}_b{b_frames}.mp4", gop, b_frames)
                name = f"GOP {gop}, {'B frames' if b_frames else 'no B frames'}"
                report[name] = measure(path, arguments.rounds)
    if arguments.json:
        json.dump(report, sys.stdout, indent=1)
        return
    print("   ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"8 of {FRAMES} frames, {WIDTH} x {HEIGHT} H.264, one thread, median of {arguments.rounds} rounds\n")
    print(f"{'':<56}{'kinema / way':>19}")
    print(f"{'file':<22}{'way':<26}{'ms':>8}{'wall':>9}{'processor':>11}")
    for name, rows in report.items():
        if isinstance(rows, dict) and "kinema" in rows:
            for way, row in rows.items():
                print(f"{name:<22}{way:<26}{row['ms']:>8.2f}{row['ratio']:>9.2f}{row['processor_ratio']:>11.2f}")


if __name__ == "__main__":
    main()
