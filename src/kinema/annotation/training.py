"""A training on labelled segments in a separate process, whose progress is read from its files."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kinema.annotation.least_sure import identity
from kinema.card import CARD
from kinema.config_file import read_yaml
from kinema.data.manifest import read_manifest, require_trainable
from kinema.errors import KinemaError
from kinema.files import replace_file
from kinema.recognizer import Recognizer
from kinema.training.run_log import read_metrics

_DECIDED = ("num_classes", "frames")  # options of a network that follow from the labels and the clip
_PATIENCE = 15.0  # seconds that a training has to end by itself after a request to stop


@dataclass(frozen=True)
class Progress:
    """Progress of a training.

    Attributes:
        state: `running`, `finished`, `stopped` or `failed`.
        epoch: number of finished epochs.
        epochs: number of epochs of the whole training.
        metrics: the last row of `metrics.csv`; empty before the end of the first epoch.
        seconds_left: estimate for the remaining epochs; None before the end of the first epoch.
        message: the last line of output; after a failure, the reason.
    """

    state: str
    epoch: int
    epochs: int
    metrics: dict[str, Any]
    seconds_left: float | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


class TrainingJob:
    """A training in a separate process; `kinema train FOLDER/recipe.yaml` is the same on the command line.

    The folder contains `recipe.yaml`, `log.txt` and the run in a folder `run-KEY`, where KEY depends on the segments
    and the configuration: if nothing has changed, a new start resumes exactly; otherwise the training starts anew. A
    recognizer to start from is stored in `start-KEY`. The training is stopped when this process ends.

    Args:
        folder: folder of this training; created if it does not exist.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = False  # whether a stop was requested

    def start(
        self, table: str | Path, *, model: str | None = None, recognizer: Recognizer | None = None, epochs: int = 10,
        values: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Starts the training, or resumes one that was stopped.

        Args:
            table: the labelled segments.
            model: name of a network to train from scratch.
            recognizer: a recognizer to start from instead of `model`, with its network, clips and weights.
            epochs: number of epochs of the whole training.
            values: further fields of `TrainConfig`, plain values.

        Raises:
            KinemaError: it is running already; or the table has no segment, has only one label, or is damaged.
            RunError: the folder cannot be written.
        """
        if self.running:
            raise KinemaError(f"{self.folder}: this training is running already; wait until it ends, or stop it")
        if (model is None) == (recognizer is None):
            raise KinemaError(f"model is {model!r}: give either the name of a network or a recognizer to start from")
        if epochs < 1:
            raise KinemaError(f"epochs is {epochs}: give at least 1")
        require_trainable(read_manifest(table))
        recipe: dict[str, Any] = {"data": str(Path(table).absolute()), "epochs": epochs}
        if recognizer is None:
            recipe["model"] = model
        else:
            network = recognizer.model.architecture
            options = {key: value for key, value in network["options"].items() if key not in _DECIDED}
            recipe |= {"model": network["name"], "options": options, "clip": recognizer.spec.to_dict()}
            start = self.folder / f"start-{identity(recognizer)[:8]}"
            recipe["weights"] = str(start if (start / CARD).is_file() else recognizer.save(start))
        recipe |= dict(values or {})
        key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode() + Path(table).read_bytes()).hexdigest()[:8]
        text = json.dumps(recipe | {"out": str(self.folder / f"run-{key}")}, indent=2) + "\n"  # JSON is valid YAML
        replace_file(self.folder / "recipe.yaml", lambda part: part.write_text(text, encoding="utf-8"))
        with (self.folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kinema", "train", str(self.folder / "recipe.yaml")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._asked = False
        atexit.register(self.stop)

    @property
    def run(self) -> Path | None:
        """The run folder of the last start; None if no training was ever started.

        Raises:
            KinemaError: `recipe.yaml` is damaged.
        """
        recipe = self._recipe()
        return None if recipe is None else Path(recipe["out"])

    @property
    def running(self) -> bool:
        """True if the process started by this object is alive."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stops the training, which can be resumed later; does nothing if it is not running."""
        atexit.unregister(self.stop)
        if self._process is None or not self.running:
            return
        self._asked = True
        with suppress(OSError):
            self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def progress(self) -> Progress | None:
        """Returns the progress, read from the files in the folder; None if no training was ever started in it.

        Raises:
            KinemaError: a file of the training is damaged.
        """
        recipe = self._recipe()
        if recipe is None:
            return None
        epochs, run = recipe["epochs"], Path(recipe["out"])
        rows = read_metrics(run / "metrics.csv")
        done = int(rows[-1]["epoch"]) if rows else 0
        spent = [row["seconds"] for row in rows if row.get("seconds") is not None]
        left = sum(spent) / len(spent) * (epochs - done) if spent else None
        if self.running:
            state = "running"
        elif done >= epochs and (run / "recognizer" / CARD).is_file():
            state, left = "finished", 0.0
        elif self._process is not None and self._process.returncode and not self._asked:
            state = "failed"
        else:
            state = "stopped"
        return Progress(state, done, epochs, rows[-1] if rows else {}, left, self._last_line())

    def _recipe(self) -> dict[str, Any] | None:
        file = self.folder / "recipe.yaml"
        if not file.is_file():
            return None
        recipe = read_yaml(file)
        if not isinstance(recipe.get("epochs"), int) or not isinstance(recipe.get("out"), str):
            raise KinemaError(f"{file}: epochs or out is missing; start the training again")
        return recipe

    def _last_line(self) -> str:
        try:
            with (self.folder / "log.txt").open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(text.replace("\r", "\n").splitlines()) if line.strip()), "")
