"""Compares the speed of two source trees: runs the same work alternately in both.

    git worktree add ../before COMMIT
    python benchmarks/between_commits.py ../before [--rounds 15] [--threads 1] [--cases latency_2d reading ...]

Protocol: one process per tree builds the networks, clips and files of every case. In a round both processes do the
work once, one after the other; the one that begins changes with every round. Two rounds of warm-up come first. The
script prints the median milliseconds of this tree, and the median, with quartiles, of its time over that of the other
tree in the same round (above 1: this tree is slower). Cases have the names of the scripts whose work they repeat:
forward passes of single clips (`latency_2d`, `single_clip`), a forward pass and a training step of MTNet-M (`mtnet`),
channel-wise convolutions (`depthwise_layout`), an epoch of clips through the isolated readers (`loading`), and 8 frames
of a 10 s file (`reading`).
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve()
WARM_UP = 2
FORWARD = {
    "latency_2d": [("tsn_r50", 8, 224), ("tsm_r50", 8, 224), ("stm_r50", 8, 224)],
    "single_clip": [("r3d_34", 16, 112), ("r3d_50", 16, 112), ("r2plus1d_50", 16, 112)],
    "mtnet": [("mtnet_m", 16, 160)],
}
CASES = ["latency_2d", "single_clip", "mtnet", "depthwise_layout", "loading", "reading"]


def networks(case: str) -> dict[str, Callable[[], object]]:
    import torch

    from kinema.models import create_model

    jobs: dict[str, Callable[[], object]] = {}
    for name, frames, size in FORWARD[case]:
        torch.manual_seed(0)
        model = create_model(name, num_classes=400, frames=frames).eval()
        clip = torch.randn(1, 3, frames, size, size).contiguous(memory_format=torch.channels_last_3d)

        def forward(model: torch.nn.Module = model, clip: torch.Tensor = clip) -> None:
            with torch.inference_mode():
                model.eval()(clip)

        jobs[f"{name} {frames}x{size}"] = forward
        if case == "mtnet":

            def step(model: torch.nn.Module = model, clip: torch.Tensor = clip) -> None:
                model.train().zero_grad(set_to_none=True)
                model(torch.cat([clip, clip])).square().mean().backward()

            jobs[f"{name} step, 2 clips"] = step
    return jobs


def depthwise() -> dict[str, Callable[[], object]]:
    import torch

    try:
        from kinema.ops import Conv3d
    except ImportError:  # before there was one module of convolutions
        from kinema.ops.channelwise import ChannelwiseConv3d as Conv3d  # type: ignore[import-not-found, no-redef]
    jobs: dict[str, Callable[[], object]] = {}
    for channels, side in ((54, 40), (108, 20), (216, 10), (432, 5)):
        torch.manual_seed(0)
        weight = torch.randn(channels, 1, 3, 3, 3)
        if Conv3d.__name__ == "Conv3d":
            conv = Conv3d(channels, channels, (3, 3, 3), 1, 1, groups=channels, bias=False)
        else:
            conv = Conv3d(channels, (3, 3, 3), (1, 1, 1))
        conv.weight.data.copy_(weight)
        clip = torch.randn(2, channels, 16, side, side).contiguous(memory_format=torch.channels_last_3d)
        clip.requires_grad_()

        def training(conv: torch.nn.Module = conv, clip: torch.Tensor = clip) -> None:
            out = conv(clip)
            torch.autograd.grad(out, (clip, conv.weight), torch.ones_like(out))

        jobs[f"{channels} channels {side}x{side}"] = training
    return jobs


def loading(folder: Path) -> dict[str, Callable[[], object]]:
    import loading

    clips = folder / "set"
    loading.write_set(clips, 16)
    jobs: dict[str, Callable[[], object]] = {}
    for name, spec in loading.SPECS.items():
        reader = loading.loader("isolated", clips, spec, 1)
        jobs[name] = lambda reader=reader: sum(1 for _ in reader)
    return jobs


def reading(folder: Path) -> dict[str, Callable[[], object]]:
    import reading

    path = reading.write(folder / "long.mp4", 250, 3)
    return {"keyframe every 250": lambda: reading.kinema(path)}


def jobs_of(case: str, folder: Path) -> dict[str, Callable[[], object]]:
    if case in FORWARD:
        return networks(case)
    if case == "depthwise_layout":
        return depthwise()
    return loading(folder) if case == "loading" else reading(folder)


def serve(tree: Path, case: str, threads: int) -> None:
    """Waits for the name of a job on each line of standard input and prints the seconds that it took."""
    sys.path[:0] = [str(tree / "src"), str(tree / "benchmarks")]
    import torch

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        jobs = jobs_of(case, Path(folder))
        print("\t".join(jobs), flush=True)
        gc.disable()
        for line in sys.stdin:
            gc.collect()
            begin = time.perf_counter()
            jobs[line.rstrip("\n")]()
            print(time.perf_counter() - begin, flush=True)


def start(tree: Path, case: str, threads: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE), str(tree), "--serve", case, "--threads", str(threads)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tree / "src"), str(tree / "benchmarks")])}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(process: subprocess.Popen[str], line: str) -> float:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("before", type=Path, help="the source tree to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--serve", choices=CASES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.before, given.serve, given.threads)
        return
    from kinema.evaluation.cost import environment

    print(environment())
    print(f"{given.threads} threads, {given.rounds} rounds")
    print(f"{'case':<18}{'work':<26}{'ms':>9}   this / other [quartiles]")
    for case in given.cases:
        trees = [start(tree, case, given.threads) for tree in (given.before, HERE.parent.parent)]
        listed = [tree.stdout.readline().rstrip("\n").split("\t") for tree in trees if tree.stdout]
        if listed[0] != listed[1]:
            raise SystemExit(f"{case}: the trees do not list the same work: {listed[0]} and {listed[1]}")
        for job in listed[0]:
            times: list[tuple[float, float]] = []
            for turn in range(WARM_UP + given.rounds):
                found = {}
                for i in (0, 1) if turn % 2 == 0 else (1, 0):
                    found[i] = ask(trees[i], job)
                times.append((found[0], found[1]))
            kept = times[WARM_UP:]
            low, middle, high = statistics.quantiles([new / old for old, new in kept], n=4)
            ms = 1e3 * statistics.median(new for _, new in kept)
            print(f"{case:<18}{job:<26}{ms:9.1f}   {middle:.3f} [{low:.3f}, {high:.3f}]", flush=True)
        for tree in trees:
            assert tree.stdin is not None
            tree.stdin.close()
            tree.wait()


if __name__ == "__main__":
    main()
