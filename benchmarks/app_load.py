"""Load test of `kinema app`: many visitors upload different videos at the same time.

    .venv/bin/python benchmarks/app_load.py RECOGNIZER [--visitors 50] [--queue 64] [--seconds 2]

The server runs in a separate process on this machine, with one thread per core. Every visitor has a different cookie
and a video with a different name and length. The script prints the start-up time, how many jobs finished, were refused
(with the message), were mixed up or lost, the time from upload to result (median, 95th percentile, longest), and the
peak memory of the server and its child processes together, sampled ten times per second.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from kinema.data.video_writer import write_mp4
from kinema.evaluation.cost import environment

PATIENCE = 1800.0  # seconds


def write_film(file: Path, number: int, seconds: float) -> float:
    """Writes a video with a length that no other visitor's video has; returns its seconds."""
    frames = round(25 * seconds) + number
    rng = np.random.default_rng(number)
    ground = rng.integers(0, 256, (120, 160, 3), np.uint8)
    pictures = (np.roll(ground, 2 * i, 1) for i in range(frames))
    write_mp4(file, pictures, stamps=range(frames), end=frames, clock=Fraction(1, 25), size=(160, 120))
    return frames / 25


class Visitor:
    """One visitor with a separate cookie."""

    def __init__(self, address: str, number: int, film: Path, seconds: float) -> None:
        self.film, self.seconds, self.hash = film, seconds, f"visitor{number}"
        self.client = httpx.Client(base_url=address, timeout=PATIENCE)
        self.outcome, self.took = "lost", float("nan")
        self.client.get("/")
        events = self.client.get("/config").json()["dependencies"]
        # Of the events that an upload starts, the one that recognises takes the video.
        self.upload = next(e["id"] for e in events if e["inputs"] and any(t[1] == "upload" for t in e["targets"]))
        self.load = next(e["id"] for e in events if any(t[1] == "load" for t in e["targets"]))
        self.recognizer = next(
            c["props"]["value"]
            for c in self.client.get("/config").json()["components"]
            if c["props"].get("label") == "Recognizer"
        )
        self.call(self.load, [])

    def call(self, event: int, data: list[Any]) -> Any:
        body = {"data": data, "fn_index": event, "session_hash": self.hash, "event_data": None}
        joined = self.client.post("/gradio_api/queue/join", json=body)
        if joined.status_code != 200:
            return {"refused": joined.json().get("detail", joined.text)}
        with self.client.stream("GET", f"/gradio_api/queue/data?session_hash={self.hash}") as stream:
            for line in stream.iter_lines():
                if line.startswith("data: ") and (said := json.loads(line[6:]))["msg"] == "process_completed":
                    return said["output"]
        return {}

    def visit(self) -> None:
        began = time.monotonic()
        with self.film.open("rb") as file:
            stored = self.client.post("/gradio_api/upload", files={"files": (self.film.name, file)}).json()[0]
        sent = {"path": stored, "orig_name": self.film.name, "meta": {"_type": "gradio.FileData"}}
        output = self.call(self.upload, [sent, self.recognizer])
        self.took = time.monotonic() - began
        if "refused" in output:
            self.outcome = f"refused: {output['refused']}"
            return
        html = str(output.get("data", ["", "", ""])[2])
        named = re.search(r"(film-\d+\.mp4): ([\d.]+) s", html)
        warned = re.search(r'role="alert">(.*?)<', html)
        if named:
            own = named[1] == self.film.name and abs(float(named[2]) - self.seconds) < 0.06
            self.outcome = "done" if own else "mixed up"
        elif warned:
            self.outcome = f"refused: {warned[1]}"


def memory(pid: int) -> int:
    """Returns the bytes that a process and its descendants hold; shared pages count once per process."""
    total, waiting = 0, [pid]
    while waiting:
        place = Path(f"/proc/{waiting.pop()}")
        try:
            held = re.search(r"VmRSS:\s+(\d+)", (place / "status").read_text())
            total += int(held[1]) * 1024 if held else 0
            for thread in (place / "task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text().split()]
        except OSError:  # it has ended
            continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recognizer")
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    began = time.monotonic()
    command = [sys.executable, "-m", "kinema", "app", args.recognizer, "--port", "0", "--limit-queue", str(args.queue)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = line.split()[0]
        print(f"ready {time.monotonic() - began:.1f} s after the command; {environment()}", flush=True)
        peak, ended, before = [0], threading.Event(), memory(server.pid)

        def watch() -> None:
            while not ended.wait(0.1):
                peak[0] = max(peak[0], memory(server.pid))

        with tempfile.TemporaryDirectory() as folder:
            visitors = []
            for number in range(args.visitors):
                film = Path(folder) / f"film-{number}.mp4"
                visitors.append(Visitor(address, number, film, write_film(film, number, args.seconds)))
            threading.Thread(target=watch, daemon=True).start()
            threads = [threading.Thread(target=v.visit) for v in visitors]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            ended.set()
        for outcome, count in Counter(v.outcome for v in visitors).most_common():
            print(f"{count} {outcome}")
        took = [v.took for v in visitors if v.outcome == "done"]
        if took:
            middle, high, most = np.quantile(took, [0.5, 0.95, 1.0])
            print(f"done after {middle:.1f} s (median), {high:.1f} s (95th percentile), {most:.1f} s (longest)")
        print(f"memory {before / 1e6:.0f} MB before, at most {peak[0] / 1e6:.0f} MB")
        print(f"/health: {httpx.get(address + '/health').text}")
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
