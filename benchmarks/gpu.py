"""Measures Kinema on an NVIDIA GPU in about ten minutes: speed of networks and operators, and exact resume.

    .venv/bin/python benchmarks/gpu.py [NETWORK ...] [--minutes 10] [--clips 8] [--device cuda]

1. The peak rate of the GPU, measured with square matrix products in float32, TF32 and bfloat16.
2. Networks: clips per second, at the network's own clip size, in float32, folded, in bfloat16, with CUDA graphs and
   with `torch.compile`; the logits must agree with float32. Seconds of a training step in float32 and bfloat16, and the
   share of the peak rate that the forward pass reaches.
3. Operators, forward and backward: SoftPool, CSTM and CMM, and a channel-wise 3-D convolution in both memory layouts.
4. Exact resume: a run on generated clips that is killed after a checkpoint and resumed with deterministic kernels must
   be bit-identical to an uninterrupted run.
5. With two GPUs: a training in two processes (NCCL) must finish.

Times are medians of rounds after a warm-up, each between two synchronisations. Measurements that do not fit into
`--minutes` are left out and named. `--device cpu` runs the script on a CPU, to try it.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.backends.agreement import agreement
from kinema.backends.base import devices_of, find_backend, precision_of
from kinema.errors import KinemaError
from kinema.evaluation.cost import count, environment
from kinema.models import create_model
from kinema.ops.conv import Conv3d
from kinema.ops.layout import channels_last
from kinema.ops.pooling import soft_pool
from kinema.ops.stm import CMM, CSTM

NETWORKS = ["stm_r50", "srtg_r3d_34", "mtnet_m", "cidc_i3d_50", "tsm_efficientnet_lite0"]
WAYS = ["folded", "bfloat16", "graphs", "graphs+bfloat16", "compile", "compile+bfloat16"]
RECIPE = """
model: r3d_34
options: {width: 0.125}
clip: {frames: 8, short_side: 72, crop: 64}
epochs: 4
batch: 8
optim: {lr: 0.02}
checkpoint_steps: 1
val_split: test
logger: none
"""


class Clock:
    """Median seconds of a call, waiting for the device; keeps track of the remaining minutes."""

    def __init__(self, device: str, minutes: float) -> None:
        self.device, self.until = torch.device(device), time.perf_counter() + 60 * minutes

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object], rounds: int = 7) -> float:
        for _ in range(2):
            work()
        found = []
        for _ in range(rounds):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - began)
        return median(found)

    def over(self, what: str) -> bool:
        if time.perf_counter() < self.until:
            return False
        print(f"{what}: left out, the time is over", flush=True)
        return True


def peak(clock: Clock) -> dict[str, float]:
    """Returns the multiply-accumulates per second of the fastest square product, by number format."""
    found = {}
    sizes = (2048, 4096, 8192) if clock.device.type == "cuda" else (512, 1024)
    for name, dtype, tf32 in (("float32", torch.float32, False), ("tf32", torch.float32, True),
                              ("bfloat16", torch.bfloat16, False)):  # fmt: skip
        torch.backends.cuda.matmul.allow_tf32 = tf32
        best = 0.0
        for size in sizes:
            a, b = (torch.randn(size, size, device=clock.device, dtype=dtype) for _ in range(2))
            best = max(best, size**3 / clock.seconds(lambda a=a, b=b: a @ b))
        found[name] = best
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


def network(name: str, clips: int, clock: Clock, peaks: dict[str, float]) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=174).to(clock.device).eval()
    spec = model.clip_spec
    x = torch.randn(clips, 3, spec.frames, spec.crop, spec.crop, device=clock.device)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    macs = count(name, num_classes=174).macs
    with torch.inference_mode():
        expected = model(x)
        own = clips / clock.seconds(lambda: model(x))
    print(f"\n{name}, {clips} x {spec.frames} x {spec.crop}, {macs / 1e9:.1f} GMACs")
    print(
        f"  eager            {own:8.1f} clips/s   {own * macs / peaks['float32']:6.1%} of the float32 peak", flush=True
    )
    for way in WAYS:
        if clock.over(f"  {way}"):
            continue
        backend = find_backend(way)
        why = f"not for {clock.device.type}" if clock.device.type not in devices_of(backend) else backend.available()
        if why is not None:
            print(f"  {way:<16} {why}")
            continue
        try:
            with torch.no_grad():
                runner = backend.build(model, x)
                wrong = agreement(expected, runner(x)).objection(precision_of(backend))
                speed = clips / clock.seconds(lambda: runner(x))  # noqa: B023
        except (KinemaError, RuntimeError) as error:
            print(f"  {way:<16} failed: {' '.join(str(error).split())[:150]}")
            continue
        of = "bfloat16" if "bfloat16" in way else "float32"
        share = f"{speed * macs / peaks[of]:6.1%} of the {of} peak"
        print(f"  {way:<16} {speed:8.1f} clips/s   {share}   {wrong or 'agrees'}", flush=True)
    model.train()
    labels = torch.arange(clips, device=clock.device)
    for precision in ("float32", "bfloat16"):
        if clock.over(f"  training step, {precision}"):
            continue

        def step(half: bool = precision == "bfloat16") -> None:
            model.zero_grad(set_to_none=True)
            with torch.autocast(clock.device.type, torch.bfloat16, enabled=half):
                loss = F.cross_entropy(model(x).float(), labels)
            loss.backward()

        seconds = clock.seconds(step, 3)
        share = 3 * clips * macs / seconds / peaks[precision]
        print(f"  training step    {1e3 * seconds:8.1f} ms in {precision}   {share:6.1%} of the peak", flush=True)


class Stm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cstm, self.cmm = CSTM(channels, channels), CMM(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.cstm(x) + self.cmm(x)


def operators(clips: int, clock: Clock) -> None:
    print(f"\noperators, {clips} clips: ms forward / forward and backward")
    works: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...], nn.Module | None]] = {}
    stm, channelwise = (part.to(clock.device) for part in (Stm(256), Conv3d(216, 216, 3, padding=1, groups=216)))
    works["soft_pool 54 x 16 x 112"] = (soft_pool, (54, 16, 112, 112), None)
    works["avg_pool3d, same"] = (lambda x: F.avg_pool3d(x, (1, 2, 2)), (54, 16, 112, 112), None)
    works["CSTM + CMM 256 x 8 x 28"] = (stm, (256, 8, 28, 28), stm)
    works["channel-wise 3x3x3 216 x 16 x 28"] = (channelwise, (216, 16, 28, 28), channelwise)
    for title, (work, shape, module) in works.items():
        for layout in (torch.contiguous_format, torch.channels_last_3d):
            if clock.over(f"  {title}"):
                continue
            if module is not None and layout == torch.channels_last_3d:
                module.zero_grad(set_to_none=True)
                channels_last(module)
            x = torch.randn(clips, *shape, device=clock.device).contiguous(memory_format=layout).requires_grad_()
            with torch.no_grad():
                forward = clock.seconds(lambda: work(x))  # noqa: B023
            both = clock.seconds(lambda: work(x).sum().backward())  # noqa: B023
            name = "channels last" if layout == torch.channels_last_3d else "default memory"
            print(f"  {title:<34} {name:<15} {1e3 * forward:8.2f} / {1e3 * both:8.2f}", flush=True)


def trained(recipe: Path, data: Path, out: Path, device: str, *more: str) -> list[str]:
    where = ["--device", device, "--deterministic", "true", *more]
    return [sys.executable, "-m", "kinema", "train", str(recipe), "--data", str(data), "--out", str(out), *where]


def resume(clock: Clock, folder: Path, processes: int) -> None:
    recipe, data = folder / "recipe.yaml", folder / "puppets"
    recipe.write_text(RECIPE, encoding="utf-8")
    few = ["--train", "8", "--test", "2", "--speed", "0"]
    subprocess.run(
        [sys.executable, "-m", "kinema", "data", "puppets", str(data), *few], check=True, capture_output=True
    )
    device = clock.device.type
    subprocess.run(trained(recipe, data, folder / "whole", device), check=True, capture_output=True)
    killed = subprocess.Popen(trained(recipe, data, folder / "killed", device), stdout=-3, stderr=-3)
    while killed.poll() is None and not list((folder / "killed" / "checkpoints").glob("epoch-0002*")):
        time.sleep(0.01)
    running = killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = subprocess.run(trained(recipe, data, folder / "killed", device), check=True, capture_output=True, text=True)
    a, b = (load_file(folder / name / "recognizer" / "model.safetensors") for name in ("whole", "killed"))
    same = all(torch.equal(a[key], b[key]) for key in a)
    went_on = running and "resuming from" in again.stdout
    print(
        f"\nexact resume: {'the same bits' if same else 'OTHER WEIGHTS'}{'' if went_on else ' (was not interrupted)'}"
    )
    if processes > 1 and not clock.over("two processes"):
        more = ["--processes", str(processes)]
        done = subprocess.run(trained(recipe, data, folder / "two", device, *more), capture_output=True, text=True)
        print(f"{processes} processes: {'ended' if done.returncode == 0 else done.stderr[-500:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no NVIDIA GPU; --device cpu runs the script on the CPU")
    clock = Clock(args.device, args.minutes)
    card = torch.cuda.get_device_name() if args.device == "cuda" else "none"
    print(json.dumps({**environment(), "card": card, "clips": args.clips}), flush=True)
    peaks = peak(clock)
    print("peak: " + ", ".join(f"{name} {value / 1e12:.2f} TMAC/s" for name, value in peaks.items()), flush=True)
    if not clock.over("exact resume"):
        with TemporaryDirectory() as folder:
            cards = torch.cuda.device_count() if args.device == "cuda" else 2
            resume(clock, Path(folder), min(cards, 2))
    operators(args.clips, clock)
    for name in args.networks:
        if not clock.over(name):
            network(name, args.clips, clock, peaks)


if __name__ == "__main__":
    main()
