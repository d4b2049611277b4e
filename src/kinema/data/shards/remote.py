"""The manifest of shards at an fsspec address: its tables are fetched, its samples stay where they are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.data.addresses import exists, read_bytes
from kinema.data.findings import Finding
from kinema.data.shards.names import split_member
from kinema.data.sources import ABSENTEES, FLIP_MAP, LABELS, TABLE, Notes, check_shards
from kinema.errors import KinemaError
from kinema.text import plural

if TYPE_CHECKING:
    from kinema.data.manifest import Survey


def survey_address(address: str, survey_folder: Callable[[Path, bool], Survey], *, check: bool) -> Survey:
    """Reads the manifest at an address, and lists its problems.

    Args:
        address: address of the folder that `kinema data pack --shards` wrote, or of its manifest.csv.
        survey_folder: does the same for a local folder; its second argument says whether to check paths.
        check: check that every shard exists, is complete, and contains its samples.

    Raises:
        KinemaError: there is no manifest, it cannot be fetched, or it is damaged.
    """
    with _tables(address) as (folder, root):
        here = str(folder)
        try:
            found = survey_folder(folder, False)
        except KinemaError as error:
            raise KinemaError(str(error).replace(here, root)) from error
    samples = tuple(replace(s, path=s.path.replace(here, root, 1)) for s in found.manifest.samples)
    findings = tuple(replace(f, message=f.message.replace(here, root)) for f in found.findings)
    remote = _check_samples(root, [s.path for s in samples]) if check else ()
    remarks = [text.replace(here, root) for text in found.manifest.remarks]
    remarks += [f.message for f in remote if f.severity == "warning"]
    manifest = replace(found.manifest, source=root, samples=samples, remarks=tuple(remarks))
    return replace(found, manifest=manifest, findings=(*findings, *remote))


@contextmanager
def _tables(address: str) -> Iterator[tuple[Path, str]]:
    """Returns the tables of a packed data set in a local folder, and the address of its folder."""
    root = address.removesuffix(f"/{TABLE}").rstrip("/")
    reads = f"{address} is an address, but Kinema reads files on this machine, or shards at an address"
    if "::" in address:
        raise KinemaError(f"{reads}: give the address of the unpacked folder")
    try:
        there = exists(f"{root}/{TABLE}")
    except KinemaError as error:
        raise KinemaError(f"{reads}: {error}") from error
    if not there:
        raise KinemaError(
            f"{reads}: there is no {TABLE} there, so copy the output of kinema data pack --shards to it, or download "
            "the data and give their path"
        )
    with tempfile.TemporaryDirectory(prefix="kinema-") as name:
        folder = Path(name)
        for table in (TABLE, LABELS, FLIP_MAP, ABSENTEES):
            if table == TABLE or exists(f"{root}/{table}"):
                (folder / table).write_bytes(read_bytes(f"{root}/{table}"))
        yield folder, root


def _check_samples(root: str, paths: Sequence[str]) -> tuple[Finding, ...]:
    """Reports shards that are missing or cut off, samples that are not in them, and paths that are not samples."""
    sharded = {path: parts for path in paths if (parts := split_member(path))}
    notes = Notes(Path(root))
    others = tuple(path for path in dict.fromkeys(paths) if path not in sharded)
    if others:
        message = f"{root}/{TABLE}: {plural(len(others), 'path')} in it are not samples of shards (the first is "
        message += f"{others[0]}): pack the data with kinema data pack --shards, or copy them to this machine"
        notes.findings.append(Finding("error", "no-shard", message, others))
    whole = check_shards(sharded, notes)
    absent = tuple(p for p, (shard, name) in sharded.items() if shard in whole and name not in whole[shard].samples)
    if absent:
        message = f"{root}/{TABLE}: {plural(len(absent), 'sample')} in it are not in their shards (the first is "
        message += f"{absent[0]}): correct the manifest, or pack the data again"
        notes.findings.append(Finding("error", "no-file", message, absent))
    return notes.all()
