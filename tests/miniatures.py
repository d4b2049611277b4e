"""The public data sets in miniature: their folders and annotation files, with a few videos of two classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

# Writes a video file, or a folder of frames where the path has no suffix: path, index of the class, number.
Put = Callable[[Path, int, int], None]

CLASSES = {
    "ucf101": ("ApplyEyeMakeup", "HandstandPushups"),
    "hmdb51": ("cartwheel", "wave"),
    "kinetics400": ("abseiling", "riding a bike"),
    "kinetics700": ("abseiling", "wood burning (art)"),
    "hacs": ("Archery", "Rock-paper-scissors"),
    "moments_in_time": ("clapping", "playing+fun"),
    "something_v1": ("Pushing something from left to right", "Pushing something from right to left"),
    "something_v2": ("Pushing something from left to right", "Pushing something from right to left"),
}
TRAIN, TEST = 2, 1  # videos of each class


def stub(path: Path, kind: int, number: int) -> None:
    """Something that lies there like a video."""
    if not path.suffix:
        path, _ = path / "00001.jpg", path.mkdir(parents=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def lay_out(name: str, root: Path, put: Put = stub) -> str:
    """Creates a data set as people have it; gives what `--data` takes."""
    root.mkdir(parents=True, exist_ok=True)
    _LAYOUTS[name](root, put, CLASSES[name])
    return f"{name}:{root}"


def _videos() -> list[tuple[int, int, bool]]:
    """Class, number, whether it is learned from."""
    return [(k, i, i < TRAIN) for k in range(2) for i in range(TRAIN + TEST)]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def _ucf101(root: Path, put: Put, classes: tuple[str, ...]) -> None:
    lines: dict[bool, list[str]] = {True: [], False: []}
    for k, i, train in _videos():
        path = f"{classes[k]}/v_{classes[k].replace('Handstand', 'HandStand')}_g{i + 1:02d}_c01.avi"
        put(root / "UCF-101" / path, k, i)
        lines[train].append(f"{path} {(1, 37)[k]}" if train else path)
    for part in (1, 2, 3):  # every split swaps nothing here, but is there
        write(root / f"ucfTrainTestlist/trainlist{part:02d}.txt", "\r\n".join(lines[True]) + "\r\n")
        write(root / f"ucfTrainTestlist/testlist{part:02d}.txt", "\r\n".join(lines[False]) + "\r\n")


def _hmdb51(root: Path, put: Put, classes: tuple[str, ...]) -> None:
    for k, name in enumerate(classes):
        lines = []
        for kind, i, train in _videos():
            if kind == k:
                file = f"#{i}_It's_{name}!_u_cm.avi"
                put(root / "hmdb51_org" / name / file, k, i)
                lines.append(f"{file} {1 if train else 2} ")
        lines.append(f"unused_{name}.avi 0 ")
        for part in (1, 2, 3):
            write(root / f"testTrainMulti_7030_splits/{name}_test_split{part}.txt", "\n".join(lines) + "\n")


def _kinetics(root: Path, put: Put, classes: tuple[str, ...]) -> None:
    """In the folders of the download: train and val, without class folders."""
    head = "label,youtube_id,time_start,time_end,split"
    lines = {"train": [head], "val": [head]}
    for k, i, train in _videos():
        split = "train" if train else "val"
        put(root / split / f"a{k}-B_c{i}xyz_{i:06d}_{i + 10:06d}.mp4", k, i)
        lines[split].append(f'"{classes[k]}",a{k}-B_c{i}xyz,{i},{i + 10},{split}')
    for split, rows in lines.items():
        write(root / f"annotations/{split}.csv", "\n".join(rows) + "\n")


def _hacs(root: Path, put: Put, classes: tuple[str, ...]) -> None:
    """As the authors' script saves it; of each video one positive and one negative clip."""
    rows = ["classname,youtube_id,subset,start,end,label"]
    for k, i, train in _videos():
        put(root / classes[k].replace(" ", "_") / f"v_h{k}_-{i}.mp4", k, i)
        subset = "training" if train else "validation"
        rows.append(f"{classes[k]},h{k}_-{i},{subset},0.1,0.8,1")
        rows.append(f"{classes[k]},h{k}_-{i},{subset},0.5,0.9,-1")
    rows.append(f"{classes[0]},t-1,testing,0.0,2.0,0")
    write(root / "HACS_v1.1.1/HACS_clips_v1.1.1.csv", "\n".join(rows) + "\n")


def _moments(root: Path, put: Put, classes: tuple[str, ...]) -> None:
    lines: dict[bool, list[str]] = {True: [], False: []}
    for k, i, train in _videos():
        path = f"{classes[k]}/getty-id{i}_4.mp4"  # the same name in both classes
        put(root / ("training" if train else "validation") / path, k, i)
        lines[train].append(f"{path},{classes[k]},3,0")
    write(root / "trainingSet.csv", "\n".join(lines[True]) + "\n")
    write(root / "validationSet.csv", "\n".join(lines[False]) + "\n")


def _something_v1(root: Path, put: Put, classes: tuple[str, ...]) -> None:
    lines: dict[bool, list[str]] = {True: [], False: []}
    for k, i, train in _videos():
        put(root / f"20bn-something-something-v1/{10 * k + i + 1}", k, i)
        lines[train].append(f"{10 * k + i + 1};{classes[k]}")
    write(root / "something-something-v1-train.csv", "\n".join(lines[True]) + "\n")
    write(root / "something-something-v1-validation.csv", "\n".join(lines[False]) + "\n")


def _something_v2(root: Path, put: Put, classes: tuple[str, ...]) -> None:
    entries: dict[bool, list[dict]] = {True: [], False: []}
    for k, i, train in _videos():
        name = str(100 * k + i + 1)
        put(root / f"20bn-something-something-v2/{name}.webm", k, i)
        sentence = classes[k].replace("something", "a cup")
        template = classes[k].replace("something", "[something]")
        entries[train].append({"id": name, "label": sentence, "template": template, "placeholders": ["a cup"]})
    write(root / "labels/something-something-v2-train.json", json.dumps(entries[True]))
    write(root / "labels/something-something-v2-validation.json", json.dumps(entries[False]))


_LAYOUTS: dict[str, Callable[[Path, Put, tuple[str, ...]], None]] = {
    "ucf101": _ucf101,
    "hmdb51": _hmdb51,
    "kinetics400": _kinetics,
    "kinetics700": _kinetics,
    "hacs": _hacs,
    "moments_in_time": _moments,
    "something_v1": _something_v1,
    "something_v2": _something_v2,
}
