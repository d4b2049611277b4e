"""Training on two machines, for which two agents of torchrun stand that meet on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

WORDS = [
    "kinema", "train", "--model", "stm_r18", "--options", "{width: 0.0625, dropout: 0.0}", "--clip",
    "{frames: 4, short_side: 40, crop: 32}", "--batch", "4", "--workers", "0", "--device", "cpu", "--logger", "none",
    "--checkpoint_steps", "1",
]  # fmt: skip


def start(data: Path, outs: Sequence[Path], *more: str) -> list[subprocess.Popen[str]]:
    """An agent of torchrun for each machine, with the run folder that it sees."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    return [
        subprocess.Popen(
            [
                sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank),
                "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port), "-m", *WORDS,
                "--data", str(data), "--out", str(out), *more,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=known | {"OMP_NUM_THREADS": "1"},
        )
        for rank, out in enumerate(outs)
    ]  # fmt: skip


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                child = int(status.parent.name)
                found += [child, *below(child)]
    return found


def ended(nodes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Status and output of each, in the order of the machines."""
    said = [node.communicate(timeout=400)[0] for node in nodes]
    return [(node.returncode, text) for node, text in zip(nodes, said, strict=True)]


@pytest.mark.slow
def test_two_machines_train_one_network_and_continue_when_one_of_them_dies(tiny: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    found = ended(start(tiny, [whole, whole], "--epochs", "8"))
    assert [status for status, _ in found] == [0, 0], found
    assert [text.count("epoch 8/8") for _, text in found] == [1, 0]  # one process speaks
    nodes = start(tiny, [cut, cut], "--epochs", "8")
    until = time.monotonic() + 300
    while not any((cut / "checkpoints").glob("epoch-*.ckpt")):
        assert time.monotonic() < until, "no checkpoint came"
        time.sleep(0.05)
    for pid in [nodes[1].pid, *below(nodes[1].pid)]:  # the agent and its process: the machine is gone
        os.kill(pid, signal.SIGKILL)
    (status, text), (killed, _) = ended(nodes)
    assert (status != 0, killed) == (True, -signal.SIGKILL)
    assert "kinema: another process of this command ended early" in text
    assert not (cut / "recognizer").exists()
    found = ended(start(tiny, [cut, cut], "--epochs", "8"))
    assert [status for status, _ in found] == [0, 0], found
    assert "resuming from" in found[0][1]
    a, b = (load_file(out / "recognizer" / "model.safetensors") for out in (whole, cut))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_machines_that_do_not_share_the_run_folder_do_not_continue(tiny: Path, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    assert [status for status, _ in ended(start(tiny, [mine, mine], "--epochs", "1"))] == [0, 0]
    shutil.rmtree(mine / "recognizer")
    for status, text in ended(start(tiny, [mine, other], "--epochs", "1")):
        assert status != 0
        assert "process 0 continues from epoch-0001.ckpt, but process 1 from no checkpoint" in text
    assert not (mine / "recognizer").exists()
