"""Files that may come from elsewhere or be damaged on the way, each with the function of Kinema that reads it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from data.plain_videos import write_video
from evaluation.mixed_data import mixed_data, recognizer
from fuzz.damaged_files import damaged, damaged_json
from report.made_runs import made_run

from kinema.cli.train import _checked
from kinema.data.catalogues.annotation import read_json
from kinema.data.doctor import index
from kinema.data.manifest import read_manifest
from kinema.data.packing.pack import pack
from kinema.errors import KinemaError
from kinema.evaluation.tested import open_test
from kinema.explain.pyramid.graph import Node, Pyramid
from kinema.labelling import read_labels
from kinema.labelling.inputs import find_entries
from kinema.labelling.ledger import Ledger
from kinema.labelling.rows import Row
from kinema.recipes import load, names
from kinema.recognizer import Recognizer
from kinema.report.runs import open_runs
from kinema.training.checkpoint import AtomicCheckpointIO, newest
from kinema.training.videos import Videos, read_videos, write_videos
from kinema.weights.importing import read_tensors

_SETTINGS = {"card_hash": "c", "views": "1x1", "features": False}
_CSV = "path,label,split,start,end\na.mp4,walk,train,,\nsub/b.mp4,run,test,0.5,2\nc.mp4,run,val,1,\n"


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Attributes:
        file: that is damaged, within the folder.
        make: writes a sound folder.
        read: is given the folder; must succeed, or raise a `KinemaError`.
        damage: changes the bytes of the file.
    """

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    damage: Callable[[bytes, np.random.Generator], bytes] = damaged


def _text(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def _data_set(name: str = "data.csv", text: str = _CSV) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        for video in ("a.mp4", "sub/b.mp4", "c.mp4"):
            (folder / video).parent.mkdir(parents=True, exist_ok=True)
            (folder / video).write_bytes(b"x")
        (folder / "data.csv").write_text(_CSV)
        (folder / name).write_text(text)

    return make


def _parquet_list(folder: Path) -> None:
    table = pa.table({"path": ["a.mp4", "b.mp4"], "start": [None, 1.0], "end": [None, 2.0]})
    pq.write_table(table, folder / "list.parquet")


def _labels(folder: Path) -> None:
    ledger = Ledger(folder, _SETTINGS, features=False)
    for i in range(3):
        ledger.add(Row(f"{i}.mp4", None, None, 0, "h", "c", "jump", 0.5, ("jump",), (0.5,), 0.0, 1.0, 4, 4))
    ledger.finish({})


def _go_on_labelling(folder: Path) -> None:
    read_labels(folder)
    Ledger(folder, _SETTINGS, features=False).finish({})


def _run(folder: Path) -> None:
    made_run(folder / "run", mixed_data(folder / "data"))


def _read_run(folder: Path) -> None:
    open_runs([folder / "run"])


def _checkpoint(folder: Path) -> None:
    state = {"epoch": 1, "state_dict": {"w": torch.arange(6.0).view(2, 3)}, "tally": [1, 2]}
    AtomicCheckpointIO().save_checkpoint(state, folder / "epoch-0001.ckpt")


def _weights(folder: Path) -> None:
    torch.save({"state_dict": {"w": torch.arange(6.0).view(2, 3)}, "epoch": 1}, folder / "weights.pth")


def _videos(folder: Path) -> None:
    rows = (("a.mp4", "walk", None, None), ("b.mp4", "run", 0.5, 1.0))
    write_videos(folder, Videos(("run", "walk"), (("run", "walk"),), rows, {"a.mp4": 3, "b.mp4": 4}, {"a.mp4": "00"}))


def _cache(folder: Path) -> None:
    video = folder.parent / "a.mp4"
    if not video.exists():
        write_video(video, frames=2)
    os.environ["KINEMA_CACHE"] = str(folder)
    index.probe_all([str(video), str(video) + "b"], folder.parent, workers=0)
    index._cache_file("probes", folder.parent).rename(folder / "cache.jsonl")


def _probe(folder: Path) -> None:
    os.environ["KINEMA_CACHE"] = str(folder)
    (folder / "cache.jsonl").rename(index._cache_file("probes", folder.parent))
    assert index.probe_all([str(folder.parent / "a.mp4")], folder.parent, workers=0)


def _packed(folder: Path) -> None:
    (folder.parent / "data" / "walk").mkdir(parents=True)
    write_video(folder.parent / "data" / "walk" / "a.mp4", frames=2)
    _pack_again(folder)


def _pack_again(folder: Path) -> None:
    pack(folder.parent / "data", folder / "out", short_side=16, workers=1)


def _pyramid(folder: Path) -> None:
    nodes = (Node("classifier", 1, 0.5), Node("layer4", 2, 0.25))
    made = Pyramid(nodes, ((0, 1, 0.5),), (("classifier",), ("layer4",)), 1, 0.5, "feature", "activations", (1, 2, 2))
    (folder / "pyramid.json").write_text(made.to_json())


def _config(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(load(names("mtnet*")[0]).path.read_text())


TARGETS = {
    "card": Target(
        "card.json", lambda folder: recognizer().save(folder), Recognizer.load, damaged_json
    ),
    "weights": Target("model.safetensors", lambda folder: recognizer().save(folder), Recognizer.load),
    "weights of others": Target("weights.pth", _weights, lambda folder: read_tensors(folder / "weights.pth")),
    "checkpoint": Target(
        "epoch-0001.ckpt", _checkpoint, lambda folder: AtomicCheckpointIO().load_checkpoint(folder / "epoch-0001.ckpt")
    ),
    "hash of a checkpoint": Target(
        "epoch-0001.ckpt.sha256", _checkpoint, lambda folder: newest(folder, lambda line: None)
    ),
    "recipe": Target("recipe.yaml", _config, lambda folder: _checked(str(folder / "recipe.yaml"))),
    "configuration of a run": Target("run/config.yaml", _run, _read_run),
    "card of a run": Target("run/recognizer/card.json", _run, _read_run, damaged_json),
    "metrics of a run": Target("run/metrics.csv", _run, _read_run),
    "ledger of a run": Target("run/training-ledger.csv", _run, _read_run),
    "figures of a test": Target(
        "run/test-test/metrics.json", _run, lambda folder: open_test(folder / "run", "a").result, damaged_json
    ),
    "scores of a test": Target("run/test-test/scores.parquet", _run, lambda folder: open_test(folder / "run", "a")),
    "videos of a run": Target("videos.parquet", _videos, read_videos),
    "CSV of a data set": Target("data.csv", _data_set(), lambda folder: read_manifest(folder / "data.csv")),
    "labels.txt": Target(
        "labels.txt", _data_set("labels.txt", "walk\nrun\nsit\n"), lambda folder: read_manifest(folder / "data.csv")
    ),
    "flip_map.json": Target(
        "flip_map.json", _data_set("flip_map.json", '{"walk": "run"}'),
        lambda folder: read_manifest(folder / "data.csv"), damaged_json,
    ),
    "absent.csv": Target(
        "absent.csv", _data_set("absent.csv", "path,split\nd.mp4,test\n"),
        lambda folder: read_manifest(folder / "data.csv"),
    ),
    "annotation": Target(
        "a.json", _text("a.json", '{"labels": ["a"], "database": {"v": {"subset": "train"}}}'),
        lambda folder: read_json(folder / "a.json"), damaged_json,
    ),
    "CSV to label": Target(
        "list.csv", _text("list.csv", "path,start,end\na.mp4,,\nb.mp4,0.5,2\n"),
        lambda folder: find_entries(folder / "list.csv"),
    ),
    "Parquet to label": Target("list.parquet", _parquet_list, lambda folder: find_entries(folder / "list.parquet")),
    "manifest of labels": Target("manifest.json", _labels, _go_on_labelling, damaged_json),
    "part of labels": Target("part-000001.parquet", _labels, _go_on_labelling),
    "cache of the doctor": Target("cache.jsonl", _cache, _probe, damaged_json),
    "records of packing": Target("out/packed.jsonl", _packed, _pack_again, damaged_json),
    "settings of packing": Target("out/pack.json", _packed, _pack_again, damaged_json),
    "pyramid": Target(
        "pyramid.json", _pyramid,
        lambda folder: Pyramid.from_json((folder / "pyramid.json").read_text("utf-8", "replace")), damaged_json,
    ),
}  # fmt: skip


class Damager:
    """Reads one damaged file after another of a target.

    Args:
        target: of `TARGETS`.
        folder: to work in; the sound files are made in it once.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self.target, self._sound, self._work = target, folder / "sound", folder / "work"
        self._sound.mkdir(parents=True)
        target.make(self._sound)
        target.read(self._copied())  # a sound file is read
        self._bytes = (self._sound / target.file).read_bytes()

    def try_seed(self, seed: int) -> str:
        """`read` or `refused`; any other error than a `KinemaError` is passed on."""
        place = self._copied()
        (place / self.target.file).write_bytes(self.target.damage(self._bytes, np.random.default_rng(seed)))
        try:
            self.target.read(place)
        except KinemaError as error:
            message = str(error)
            assert message and "\n" not in message, f"not one sentence: {message!r}"
            return "refused"
        return "read"

    def _copied(self) -> Path:
        if self._work.exists():
            shutil.rmtree(self._work)
        shutil.copytree(self._sound, self._work)
        return self._work
