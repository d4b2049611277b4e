"""`pack`: re-encodes a data set as small videos that decode fast, with the same labels, splits and times."""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kinema.data.addresses import is_address
from kinema.data.manifest import Manifest, data_root, read_manifest
from kinema.data.packing.reencode import Reencoded, reencode
from kinema.data.packing.shards import clear_shards, is_packed, write_shards
from kinema.data.shards.index import find_member
from kinema.data.sources import ABSENTEES, FLIP_MAP, LABELS
from kinema.errors import KinemaError, RunError, UnreadableVideo
from kinema.files import FULL, clear_parts, held, is_folder, look_up, on_behalf_of, reason, replace_file
from kinema.processes import cores
from kinema.tables import write_csv
from kinema.text import parse_json

PARAMETERS, RECORDS, LEDGER = "pack.json", "packed.jsonl", "ledger.csv"
SHARD = 1000  # videos per folder
_FORMAT = 1


@dataclass(frozen=True)
class Packed:
    """The result of `pack`.

    Attributes:
        out: the folder.
        videos: number of videos of the data set; each file counts once.
        written: number of videos written in this run.
        kept: number of videos that an earlier run had written.
        failures: path and reason of every video that could not be read.
        size_before: size of all packed sources, in bytes.
        size_after: size of their packed files, in bytes.
        remarks: sentences that the user should read.
    """

    out: Path
    videos: int
    written: int
    kept: int
    failures: tuple[tuple[str, str], ...]
    size_before: int
    size_after: int
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self) | {"out": str(self.out)}


@dataclass(frozen=True)
class PackJob:
    """One video: its source file and its target."""

    source: str
    target: Path
    number: int
    short_side: int
    gop: int


def pack(
    data: str | Path,
    out: str | Path,
    *,
    short_side: int = 256,
    gop: int = 12,
    shards: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Packed:
    """Re-encodes every video of a data set (see `reencode`), 1000 per folder, and writes an equivalent manifest.

    `OUT/manifest.csv` has the columns path, label, split, start, end and packed_from; other columns are dropped. It is
    written last. `OUT/labels.txt` keeps the order of the labels, including labels without a video. `OUT/absent.csv`
    lists the videos of a catalogue that were missing. Times are kept, so that start and end remain valid. If the data
    have no splits, the held-out fifth is written to the manifest, because other paths would give another fifth.

    A video that cannot be read completely is copied unchanged, so that it fails or works in the packed set as before,
    and `OUT/ledger.csv` lists it. The same call again continues after a stop, and packs videos that are new or changed.

    With `shards`, the folders become tar files in WebDataset's layout, `OUT/0000.tar` with its index
    `OUT/0000.index.json` (see `kinema.data.shards`), and the manifest lists samples such as `0000.tar#0000017.mp4`. A
    folder of frames that cannot be read completely cannot be stored in a shard and is left out.

    Args:
        data: the data set, as for `read_manifest`.
        out: a new or empty folder, or one that contains the same data set, packed in the same way.
        short_side: short side of the pictures, in pixels, even; smaller pictures are not enlarged.
        gop: largest distance between keyframes, in frames.
        shards: write tar files instead of folders.
        workers: number of processes; None is one per core, 1 works in this process.
        progress: called with the number of finished videos and of all videos.

    Returns:
        The numbers of videos written, kept from an earlier call and unreadable, and their sizes before and after.

    Raises:
        KinemaError: the data are wrong, a value is out of range, the folder contains something else, or another process
            is packing into it.
        RunError: the disk is full, or a process was killed; finished videos are kept.
    """
    if short_side < 2 or short_side % 2:
        raise KinemaError(f"short_side is {short_side}: give an even number of pixels")
    if gop < 1:
        raise KinemaError(f"gop is {gop}: give at least 1")
    if workers is not None and workers < 1:
        raise KinemaError(f"workers is {workers}: give at least 1")
    manifest, out = read_manifest(data, check=False), Path(out)
    root = data_root(manifest.source)
    place = manifest.source if is_address(manifest.source) else str(root.resolve())
    _open_folder(
        out, manifest, {"format": _FORMAT, "short_side": short_side, "gop": gop, "data": place, "shards": shards}
    )
    with held(out):
        try:
            return _pack(manifest, root, out, short_side, gop, shards, workers or cores(), progress)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise RunError(
                f"{out}: cannot be written ({reason(error)}); free space and run the same command again to continue"
            ) from error


def _pack(
    manifest: Manifest, root: Path, out: Path, short_side: int, gop: int, shards: bool, workers: int,
    progress: Callable[[int, int], object] | None,
) -> Packed:  # fmt: skip
    sources = {_relative(path, root): path for path in dict.fromkeys(s.path for s in manifest.samples)}
    (out / "manifest.csv").unlink(missing_ok=True)  # it would list files that are being replaced
    for folder in (out, *out.glob("[0-9]*")):
        clear_parts(folder)
    if shards:
        clear_shards(out)
    records = _records(out, sources)
    kept = len(records)
    todo = [
        PackJob(sources[name], _place(out, number, ".mp4"), number, short_side, gop)
        for name, number in _numbers(sources, records).items()
        if name not in records
    ]
    names = {path: name for name, path in sources.items()}
    failures: dict[str, str] = {}
    paths = {name: _place(out, record["number"], ".mp4") for name, record in records.items()}
    with (out / RECORDS).open("a", encoding="utf-8") as ledger:
        for done, (job, result) in enumerate(_work(todo, workers), start=1):
            name = names[job.source]
            if isinstance(result, Reencoded):
                records[name] = {"source": name, "stamp": _stamp(job.source), "number": job.number, **asdict(result)}
                ledger.write(json.dumps(records[name]) + "\n")
                ledger.flush()
                paths[name] = job.target
            else:
                failures[job.source] = result
                paths[name], why = _copy(job)
                failures[job.source] += why
                if shards and paths[name].is_dir():
                    failures[job.source] += "; such a folder of frames cannot be stored in a shard"
            if progress is not None:
                progress(kept + done, len(sources))
    ordered = tuple((path, failures[path]) for path in sources.values() if path in failures)
    places = {sources[name]: path for name, path in paths.items()}
    if shards:
        places = write_shards(out, manifest, places, names, {sources[name] for name in records})
    _finish(out, manifest, places, ordered, names)
    return Packed(
        out, len(sources), len(todo) - len(failures), kept, ordered,
        sum((record["stamp"] or [0])[0] for record in records.values()),
        sum(record["size"] for record in records.values()),
        manifest.remarks,
    )  # fmt: skip


def _relative(path: str, root: Path) -> str:
    inside = Path(path)
    return inside.relative_to(root).as_posix() if inside.is_relative_to(root) else path


def _place(out: Path, number: int, suffix: str) -> Path:
    return out / f"{number // SHARD:04d}" / f"{number:07d}{suffix}"


def _open_folder(out: Path, manifest: Manifest, parameters: dict[str, Any]) -> None:
    source = Path(manifest.source)
    walked = source.is_dir() and not (source / "manifest.csv").is_file()
    if walked and out.resolve().is_relative_to(source.resolve()):
        raise KinemaError(
            f"{out}: is inside the data and would be read as one of their classes; give a folder outside it"
        )
    if out.exists() and not out.is_dir():
        raise KinemaError(f"{out}: is a file; give a folder")
    file = out / PARAMETERS
    if file.is_file():
        try:
            there = parse_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            there = {}
        there = {"shards": False} | (there if isinstance(there, dict) else {})
        differ = [key for key, value in parameters.items() if there.get(key) != value]
        if differ:
            listed = " and ".join(f"{key} {there.get(key)}" for key in differ)
            raise KinemaError(f"{out}: contains videos packed with {listed}; give another folder")
    elif out.is_dir() and any(out.iterdir()):
        raise KinemaError(f"{out}: contains other files; give a new or empty folder")
    else:
        replace_file(file, lambda part: part.write_text(json.dumps(parameters) + "\n", encoding="utf-8"))


def _records(out: Path, sources: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Returns the videos that are already packed and whose sources have not changed since."""
    found: dict[str, dict[str, Any]] = {}
    file = out / RECORDS
    for line in file.read_bytes().splitlines() if file.is_file() else []:
        try:
            record = parse_json(line)
        except ValueError:  # the last line of a killed run
            continue
        if _is_record(record):
            found[record["source"]] = record
    owner = {record["number"]: name for name, record in found.items()}
    good = {
        name: record
        for name, record in found.items()
        if name in sources
        and owner[record["number"]] == name
        and _stamp(sources[name]) in (record["stamp"], None)  # a source that cannot be reached counts as unchanged
        and is_packed(_place(out, record["number"], ".mp4"))
    }
    kept = {record["number"] for record in good.values()}
    for number in set(owner) - kept:
        _place(out, number, ".mp4").unlink(missing_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in good.values())
    replace_file(file, lambda part: part.write_text(text, encoding="utf-8"))
    return good


def _is_record(record: Any) -> bool:
    """True if a line of the records was written by this version; otherwise the video is packed again."""
    if not isinstance(record, dict):
        return False
    stamp = record.get("stamp", False)
    numbers = [record.get("number"), record.get("size"), *(stamp if isinstance(stamp, list) else [])]
    whole = stamp is None or (isinstance(stamp, list) and len(stamp) == 2)
    return whole and isinstance(record.get("source"), str) and all(type(n) is int and n >= 0 for n in numbers)


def _numbers(sources: dict[str, str], records: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Assigns numbers to sources: the existing ones, otherwise the lowest free ones in order."""
    taken = {record["number"] for record in records.values()}
    free = (number for number in range(len(sources) + len(taken)) if number not in taken)
    return {name: records[name]["number"] if name in records else next(free) for name in sources}


def _stamp(path: str) -> list[int] | None:
    """Returns size and modification time, over all files of a folder of frames; None if it cannot be reached."""
    try:
        member = find_member(path)
        if member is not None:  # a sample of a shard, which has a hash instead of a time
            return [member.size, int(member.sha256[:12], 16)]
        with on_behalf_of(path):
            files = sorted(Path(path).iterdir()) if is_folder(path) else [Path(path)]
            found = [p.stat() for p in files if p.is_file()]
    except UnreadableVideo:
        return None
    return [sum(s.st_size for s in found), max((s.st_mtime_ns for s in found), default=0)]


def _work(jobs: list[PackJob], workers: int) -> Iterator[tuple[PackJob, Reencoded | str]]:
    """Yields every job with its result, or why it could not be read, as they finish."""
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from ((job, _attempt(job)) for job in jobs)
        return
    waiting = iter(jobs)
    # All systems have spawn, and it is safe beside the threads of the calling program.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    running: dict[Future[Reencoded | str], PackJob] = {}
    try:
        while True:
            for job in waiting:
                running[pool.submit(_attempt, job)] = job
                if len(running) >= 4 * workers:  # a million futures at once would fill the memory
                    break
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        raise RunError(
            "a process that packs videos was killed (memory full, or a decoder crashed); run the same command again to "
            "continue, with --workers 1 to see which video causes it"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _attempt(job: PackJob) -> Reencoded | str:
    try:
        return reencode(job.source, job.target, short_side=job.short_side, gop=job.gop)
    except UnreadableVideo as error:
        return error.reason


def _copy(job: PackJob) -> tuple[Path, str]:
    """Copies the file or folder of frames unchanged, under its number.

    Returns:
        its path, which is empty if the source does not exist or cannot be read completely; and text to append to the
        reason why it was not packed.
    """
    job.target.unlink(missing_ok=True)  # from another source that had the number before
    folder = is_folder(job.source)
    target = job.target.with_suffix("" if folder else _suffix(job.source))
    _remove(target)
    try:
        with on_behalf_of(job.source):
            there = look_up(job.source) is not None
            found = sorted(Path(job.source).iterdir()) if folder else [Path(job.source)] if there else []
            parts = [part for part in found if part.is_file()]
        for part in parts:
            _copy_file(job.source, part, target / part.name if folder else target)
    except UnreadableVideo as error:
        # A folder with some frames missing would be another video, and would look intact.
        _remove(target)
        return target, f"; it could not be copied ({error.reason})"
    return target, ""


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _suffix(source: str) -> str:
    """Returns the suffix of a file's name if the name of the copy can end in it."""
    suffix = Path(source).suffix.lower()
    return suffix if re.fullmatch(r"\.\w{1,15}", suffix) else ".mp4"


def _copy_file(video: str, source: Path, target: Path) -> None:
    """Copies one file of a video.

    Raises:
        UnreadableVideo: the source cannot be read.
        RunError: the target cannot be written.
    """

    def write(part: Path) -> None:
        with on_behalf_of(video):
            file = source.open("rb")
        with file, part.open("wb") as out:
            while block := _read(video, file):
                out.write(block)

    replace_file(target, write)


def _read(video: str, file: BinaryIO) -> bytes:
    with on_behalf_of(video):
        return file.read(1 << 20)


def _finish(
    out: Path,
    manifest: Manifest,
    paths: dict[str, Path],
    failures: tuple[tuple[str, str], ...],
    names: dict[str, str],
) -> None:
    rows = [
        (paths[s.path].relative_to(out).as_posix(), s.label, s.split, s.start, s.end, names[s.path])
        for s in manifest.samples
    ]
    write_csv(out / LEDGER, ("path", "error"), [(names[path], reason) for path, reason in failures])
    flips = json.dumps(manifest.flip_map, ensure_ascii=False, indent=1) + "\n"
    replace_file(out / FLIP_MAP, lambda part: part.write_text(flips, encoding="utf-8"))
    labels = "".join(f"{label}\n" for label in manifest.labels)
    replace_file(out / LABELS, lambda part: part.write_text(labels, encoding="utf-8"))
    absent = [(name, split) for split, names in manifest.absent.items() for name in names]
    if absent:
        write_csv(out / ABSENTEES, ("path", "split"), absent)
    else:
        (out / ABSENTEES).unlink(missing_ok=True)
    write_csv(out / "manifest.csv", ("path", "label", "split", "start", "end", "packed_from"), rows)
