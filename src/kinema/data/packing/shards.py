"""Packs videos into tar shards in WebDataset's layout, each with an index beside it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from kinema.data.manifest import Manifest
from kinema.data.shards.index import Place, ShardIndex, read_index, write_index
from kinema.data.shards.names import index_of
from kinema.data.shards.reader import read_member
from kinema.errors import KinemaError, UnreadableVideo
from kinema.files import replace_file

_CHUNK = 2**20


def shard_of(folder: Path) -> Path:
    """Returns the shard for the videos of a numbered folder."""
    return folder.with_name(f"{folder.name}.tar")


def sample_path(video: Path) -> Path:
    """Returns the name in its shard of the video that was packed as `OUT/0000/0000000.mp4`."""
    return shard_of(video.parent).with_name(f"{shard_of(video.parent).name}#{video.name}")


def is_packed(video: Path) -> bool:
    """True if a video exists, as a file that waits for its shard or in its shard."""
    return video.is_file() or video.name in _held(shard_of(video.parent))


def clear_shards(out: Path) -> None:
    """Removes shards without an intact index, left by a killed run: their videos are still in the folders."""
    for shard in out.glob("[0-9]*.tar"):
        if not _held(shard):
            shard.unlink()


def write_shards(
    out: Path, manifest: Manifest, videos: Mapping[str, Path], names: Mapping[str, str], sound: set[str]
) -> dict[str, Path]:
    """Moves packed videos from their numbered folders into shards.

    A shard that already has the right content is not changed. At every moment each video is in its folder or in a shard
    with an index, so that a killed run loses nothing.

    Args:
        out: the folder.
        manifest: manifest of the packed data set.
        videos: path in the manifest -> path of its packed file (`OUT/0000/0000000.mp4`), if it could be packed.
        names: path in the manifest -> name of its source.
        sound: paths that were re-encoded in this run or an earlier one; others are used only if their file exists.

    Returns:
        Path in the manifest -> name of the sample.
    """
    facts = _facts(manifest, names)
    members: dict[Path, dict[str, bytes]] = defaultdict(dict)  # folder -> name of the video -> its JSON
    for path, video in sorted(videos.items(), key=lambda item: item[1].name):
        if path in sound or video.is_file():
            members[video.parent][video.name] = json.dumps(facts[path]).encode()
    for folder in sorted(members):
        _write_shard(folder, members[folder], manifest.labels if not manifest.multi_label else ())
    for shard in out.glob("[0-9]*.tar"):
        if shard.with_suffix("") not in members:  # its videos are no longer in the data
            shard.unlink()
            Path(index_of(str(shard))).unlink(missing_ok=True)
    for folder in out.glob("[0-9]*"):
        if folder.is_dir():
            shutil.rmtree(folder)
    return {path: sample_path(video) for path, video in videos.items()}


def _facts(manifest: Manifest, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Returns the JSON beside each video: its source, and its rows of the manifest."""
    facts: dict[str, dict[str, Any]] = {}
    for s in manifest.samples:
        row = {"label": s.label, "split": s.split, "start": s.start, "end": s.end}
        facts.setdefault(s.path, {"packed_from": names[s.path], "rows": []})["rows"].append(row)
    return facts


def _write_shard(folder: Path, members: Mapping[str, bytes], labels: tuple[str, ...]) -> None:
    shard = shard_of(folder)
    held = _held(shard)
    told = hashlib.sha256(b"\n".join((repr(labels).encode(), *members.values()))).hexdigest()
    waiting = folder.is_dir() and any((folder / name).is_file() for name in members)
    if not waiting and list(held) == list(members) and read_index(str(shard)).facts == told:
        return
    for name in members:
        if not (folder / name).is_file():
            replace_file(folder / name, _writer(_kept(shard, name)))
    Path(index_of(str(shard))).unlink(missing_ok=True)  # from here on only the folder counts
    places: dict[str, Place] = {}

    def write(part: Path) -> None:
        with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, text in members.items():
                digest = _add_file(tar, folder / name)
                size = (folder / name).stat().st_size
                places[name] = Place(tar.offset - _padded(size), size, digest)
                stem = name.partition(".")[0]
                _add(tar, f"{stem}.json", text)
                output = _output(json.loads(text)["rows"], labels)
                if output is not None:
                    _add(tar, f"{stem}.cls", str(output).encode())

    replace_file(shard, write)
    write_index(shard, ShardIndex(shard.stat().st_size, places, facts=told))
    shutil.rmtree(folder)


def _kept(shard: Path, name: str) -> bytes:
    try:
        return read_member(f"{shard}#{name}")
    except UnreadableVideo as error:
        raise KinemaError(
            f"{shard}: {name} in it is damaged; remove this file and run the same command again to continue"
        ) from error


def _writer(content: bytes) -> Any:
    return lambda part: part.write_bytes(content)


def _held(shard: Path) -> Mapping[str, Place]:
    """Returns the samples of a shard that can be read by its index."""
    try:
        index = read_index(str(shard))
        whole = shard.is_file() and shard.stat().st_size == index.size
    except (KinemaError, OSError):
        return {}
    return index.samples if whole else {}


def _output(rows: Iterable[Mapping[str, Any]], labels: tuple[str, ...]) -> int | None:
    """Returns the index of the class for WebDataset's `.cls`, if all rows of the video have the same one."""
    found = {row["label"] for row in rows}
    return labels.index(found.pop()) if len(found) == 1 and labels else None


def _add_file(tar: tarfile.TarFile, file: Path) -> str:
    """Adds a file, and returns its SHA-256."""
    header = _header(file.name, file.stat().st_size)
    with file.open("rb") as content:
        reading = _Hashing(content)
        tar.addfile(header, reading)  # only its read() is used
    return reading.digest.hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_header(name, len(content)), io.BytesIO(content))


def _header(name: str, size: int) -> tarfile.TarInfo:
    """Makes a header without times and users, so that the same videos give the same bytes."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


class _Hashing:
    """Hashes a file while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size: int = _CHUNK) -> bytes:
        content = self.file.read(size)
        self.digest.update(content)
        return content
