"""Checks that `matrix.py` runs inside a bare environment: `python -I matrix_checks.py MAKERS`, in an empty folder.

MAKERS is a folder with the programs that write odd video files (`tests/data/odd_videos.py` and the files beside it).
Prints one line per check; the exit status is 1 if a check failed. All checks use the installed command `kinema` or the
installed package, so that a wheel without its data files, or an undeclared dependency, is detected.
"""

from __future__ import annotations

import csv
import json
import math
import os
import pkgutil
import shutil
import subprocess
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path

RUN = Path("run")  # everything that the checks write
SUFFIX = ".exe" if sys.platform == "win32" else ""
KINEMA = Path(sysconfig.get_path("scripts")) / f"kinema{SUFFIX}"
LIMIT = 1200  # seconds for one command
MODEL = ["--model", "tsm_r18", "--options.width", "0.25", "--clip.short_side", "64", "--clip.crop", "64"]
SMALL = ["--clip.frames", "4", "--batch", "16", "--epochs", "1", "--workers", "2"]
# Encoders that a build of FFmpeg may lack; without one, its kind of file is left out, and the output names it.
MAY_LACK = 4


def kinema(*words: str | Path, status: int = 0) -> str:
    """Runs the installed command; returns its standard output."""
    done = subprocess.run([KINEMA, *words], capture_output=True, text=True, encoding="utf-8", timeout=LIMIT)
    said = done.stderr.strip() or done.stdout.strip()
    assert done.returncode == status, f"kinema {words[0]}: status {done.returncode}, not {status}: {said[-2000:]}"
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.stdout


def installed() -> str:
    """The package is the installed one, complete in itself, and has one version."""
    import kinema as package

    place = Path(package.__file__).resolve()
    assert place.is_relative_to(Path(sys.prefix).resolve()), f"{place} is not of this environment"
    assert not {"torch", "numpy", "av"} & set(sys.modules), "`import kinema` is not light"
    versions = {package.__version__, metadata.version("kinema"), kinema("--version").strip()}
    assert len(versions) == 1, versions
    subprocess.run([sys.executable, "-m", "pip", "check"], check=True, capture_output=True, timeout=LIMIT)
    return f"kinema {versions.pop()} in {place.parent.parent.name}"


def modules() -> str:
    """Every module can be imported, so all that it imports are declared dependencies."""
    import kinema as package

    names = [m.name for m in pkgutil.walk_packages(package.__path__, "kinema.") if not m.name.endswith("__main__")]
    for name in names:
        import_module(name)
    assert len(names) > 100, names
    return f"{len(names)} modules"


def data_files() -> str:
    """The tables and recipes that commands read are in the wheel."""
    counts = {name: len(json.loads(kinema(*name.split(), "--json"))) for name in ("recipes", "weights list")}
    assert all(counts.values()), counts
    assert [row["model"] for row in json.loads(kinema("models", "stm_r18", "--json"))] == ["stm_r18"]
    kinema("models", "stm_r18", "--options")
    return f"{counts['recipes']} recipes, {counts['weights list']} releases"


def odd_files() -> str:
    """Every frame of every odd file equals that of a full decode; broken files are refused with one sentence."""
    import av
    import numpy as np
    from data.full_decode import TURNS, full_decode
    from data.odd_videos import BROKEN, GOOD, write_odd

    from kinema.data.video import open_video
    from kinema.errors import UnreadableVideo

    folder = RUN / "odd"
    folder.mkdir()
    frames = 0
    lacking = []
    for kind in GOOD:
        try:
            path = write_odd(kind, folder)
        except (av.codec.codec.UnknownCodecError, av.error.EncoderNotFoundError):
            lacking.append(kind)
            continue
        expected = [TURNS.get(kind, lambda frame: frame)(frame) for frame in full_decode(path)]
        with open_video(path) as video:
            got = np.asarray(video.read(range(len(video))))
        assert len(got) == len(expected) > 0, f"{kind}: {len(got)} of {len(expected)} frames"
        wrong = [i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if not np.array_equal(a, b)]
        assert not wrong, f"{kind}: frames {wrong} differ from a full decode"
        frames += len(got)
    for kind in BROKEN:
        path = write_odd(kind, folder)
        try:
            with open_video(path) as video:
                video.read(range(len(video)))
        except UnreadableVideo as refusal:
            assert path.name in str(refusal), refusal
        else:
            raise AssertionError(f"{kind} was read without an error")
    assert len(lacking) <= MAY_LACK, f"no encoder for {lacking}"
    without = f", without {' '.join(lacking)} (no encoder)" if lacking else ""
    return f"{frames} frames of {len(GOOD) - len(lacking)} kinds, {len(BROKEN)} broken kinds refused{without}"


def puppets() -> str:
    """The data set can be generated, and the doctor finds no fault in it."""
    kinema("data", "puppets", RUN / "puppets", "--train", "4", "--test", "2", "--speed", "0", "--size", "64")
    kinema("data", "doctor", RUN / "puppets")
    with (RUN / "puppets" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 * 6, len(rows)
    return f"{len(rows)} clips"


def training() -> str:
    """One epoch runs with reader processes, augmentation by kornia and the default logger."""
    data = ["--data", RUN / "puppets"]
    kinema("train", *MODEL, *SMALL, *data, "--photometric.clips", "1", "--out", RUN / "tsm")
    return f"loss {_loss(RUN / 'tsm'):.3f}"


def spawned() -> str:
    """Training works if processes are spawned, as on macOS and Windows: all that they need can be pickled."""
    program = (
        "import multiprocessing, sys; multiprocessing.get_all_start_methods = lambda: ['spawn']; "
        "multiprocessing.set_start_method('spawn', force=True); "
        "from kinema.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["train", *MODEL, *SMALL, "--data", RUN / "puppets", "--out", RUN / "spawned", "--logger", "csv"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, *words], capture_output=True, encoding="utf-8", timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return f"loss {_loss(RUN / 'spawned'):.3f}"


def _loss(run: Path) -> float:
    """Checks that the files of a run are complete, and returns its last loss."""
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        losses = [float(row[name]) for row in csv.DictReader(file) for name in row if "loss" in name and row[name]]
    assert losses and all(map(math.isfinite, losses)), losses
    assert (run / "recognizer" / "model.safetensors").is_file()
    assert list((run / "checkpoints").iterdir())
    return losses[-1]


def testing() -> str:
    """Every video is counted; one that cannot be read is counted as an error."""
    folder = RUN / "puppets"
    broken = folder / "test" / "wave" / "broken.mp4"
    broken.write_text("no video", encoding="utf-8")
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["path"], row["label"], row["split"]) for row in csv.DictReader(file)]
    with (folder / "with_broken.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows, ("test/wave/broken.mp4", "wave", "test")])
    for data, out in (("manifest.csv", "sound"), ("with_broken.csv", "broken")):
        kinema("test", RUN / "tsm", "--data", folder / data, "--views", "2x3", "--workers", "2", "--out", RUN / out)
    with (RUN / "broken" / "ledger.csv").open(encoding="utf-8", newline="") as file:
        ledger = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in ledger] == ["broken.mp4"], ledger
    kinema("report", RUN / "tsm", RUN / "sound", "--out", RUN / "report.html")
    assert (RUN / "report.html").stat().st_size > 10_000
    return "32 read, 1 failed"


def predicting() -> str:
    """There is a row per file, and the command and Python give the same label."""
    from kinema import Recognizer

    folder = RUN / "puppets" / "test" / "wave"
    said = kinema("predict", RUN / "tsm", folder, "--json", status=1)  # `testing` has put a broken file there
    rows = [json.loads(line) for line in said.splitlines()]
    assert len(rows) == 3 and sum(bool(row.get("error")) for row in rows) == 1, rows
    sound = next(row for row in rows if not row.get("error"))
    prediction = Recognizer.load(RUN / "tsm").predict(sound["path"])
    assert prediction.label == sound["label"], (prediction, sound)
    kinema("predict", RUN / "tsm", sound["path"], "--window", "0.5")
    return f"{len(rows)} rows"


def packing() -> str:
    """Re-encoded copies can be trained on."""
    kinema("data", "pack", RUN / "puppets" / "manifest.csv", RUN / "packed", "--short-side", "48")
    kinema("train", *MODEL, *SMALL, "--data", RUN / "packed", "--out", RUN / "of_packed", "--logger", "none")
    return f"loss {_loss(RUN / 'of_packed'):.3f}"


def costing() -> str:
    """Latency and memory, which every operating system reports differently."""
    (row,) = json.loads(kinema("cost", "tsm_r18", "--size", "64", "--frames", "4", "--latency", "--json"))["rows"]
    assert row["latency"]["p50_ms"] > 0 and row["latency"]["peak_mib"] >= 0, row
    return f"{row['latency']['p50_ms']:.1f} ms, {row['latency']['peak_mib']:.0f} MiB"


CHECKS: tuple[Callable[[], str], ...] = (
    installed, modules, data_files, odd_files, puppets, training, spawned, testing, predicting, packing, costing,
)  # fmt: skip


def main() -> int:
    """Runs all checks, the later ones also after a failure."""
    sys.path.insert(0, sys.argv[1])
    warnings.simplefilter("ignore")
    os.environ["SVT_LOG"] = "1"  # the AV1 encoder prints errors only
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir()
    failed = []
    for check in CHECKS:
        start = time.monotonic()
        try:
            found = f"ok      {check()}"
        except Exception as error:  # whatever it is, it is the result of this check
            said = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
            found = f"FAILED  {type(error).__name__}: {said}"
            failed.append(check.__name__)
        print(f"{check.__name__:<11} {time.monotonic() - start:6.1f} s  {found}", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
