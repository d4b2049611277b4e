"""`label`: makes a table with a row for every video of an input; a repeated call continues until it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kinema.data.loading.limits import ReadLimits
from kinema.data.views import Protocol, parse_views
from kinema.errors import KinemaError
from kinema.files import held, local_path
from kinema.labelling.here import label_here
from kinema.labelling.inputs import Entry, find_entries
from kinema.labelling.ledger import PART_ROWS, Ledger, check_output
from kinema.labelling.network import Labeller
from kinema.labelling.planning import Retry, Windows, cut_into_windows, plan
from kinema.labelling.reading import EntryViews
from kinema.labelling.rows import Row
from kinema.processes import loader_workers
from kinema.recognizer import Recognizer

Report = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """Progress of a labelling run.

    Attributes:
        done: number of inputs with a row, including earlier runs.
        total: number of inputs.
        failed: number of inputs of this run without a label.
        rate: inputs per second in this run.
        left: estimated remaining seconds; None before the rate is known.
    """

    done: int
    total: int
    failed: int
    rate: float
    left: float | None


@dataclass(frozen=True)
class Labelled:
    """The result of a labelling run.

    Attributes:
        output: the folder of the table.
        inputs: number of rows that belong to the input: one per video, part or window.
        labelled: number of these rows with a label.
        failed: number of these rows without a label.
        stages: stage -> number of rows that failed there.
        before: number of these rows that were finished before this run.
        others: rows of the table for inputs of earlier runs that are not in this input.
        lost: rows whose part was missing or damaged; their inputs were labelled again.
        seconds: duration of this run.
    """

    output: Path
    inputs: int
    labelled: int
    failed: int
    stages: dict[str, int]
    before: int
    others: int
    lost: int
    seconds: float


def label(
    recognizer: Recognizer | str | Path, inputs: str | Path | Iterable[str | Path], output: str | Path, *,
    views: Protocol = "1x1", window: float | None = None, step: float | None = None, top_k: int = 5,
    features: bool = False, retry: Retry | None = None, workers: int = -1, batch: int = 8,
    limits: ReadLimits | None = None, device: str = "cpu", cluster: str | None = None, networks: int = -1,
    part_rows: int = PART_ROWS, report: Report | None = None,
) -> Labelled:  # fmt: skip
    """Labels videos into a folder of Parquet files, with a row for every input, including unreadable ones.

    A repeated call continues where the last one stopped: an input is skipped if a row has its path, part and content
    hash. A table contains the labels of one recognizer with one set of views or windows.

    Args:
        recognizer: the trained network, or the path of a saved one.
        inputs: folder, pattern, CSV or Parquet list, address, or several of them (see `inputs.find_entries`).
        output: folder of the table.
        views: clips and crops (1 or 3) per input as `10x3` or (10, 3), over which scores are averaged.
        window: length of a window in seconds; there is then a row for every window of a long video.
        step: seconds from the start of a window to the start of the next; None is `window`.
        top_k: number of labels per row.
        features: also write the input of the classifier.
        retry: label rows without a label again: `failed` all of them, `missing` those whose file was not found or
            could not be fetched.
        workers: processes that read; -1 is one per core, at most 16; 0 reads in this one. On a cluster, their total.
        batch: views per forward pass.
        limits: limits for reading one input.
        device: device of the network, if `recognizer` is a path.
        cluster: `local` or the address of a Ray cluster; None is this machine without Ray.
        networks: processes on a cluster that run the network; -1 is one per GPU, or half the number of cores without a
            GPU.
        part_rows: rows of a full Parquet part.
        report: called during the run with the progress.

    Returns:
        The number of inputs, the number of failures and their stages.

    Raises:
        KinemaError: bad input, or an output folder that contains something else.
        RunError: the output cannot be written, or the cluster does not answer.
    """
    cut = _checked(views, window, step, top_k, workers, batch, networks, part_rows, retry)
    folder = Path(local_path(str(output)))
    check_output(folder)
    entries = find_entries(inputs)
    rec = recognizer if isinstance(recognizer, Recognizer) else Recognizer.load(recognizer, device)
    clips, crops = parse_views(views)
    labeller = Labeller(rec, top_k=top_k, features=features, batch=batch)
    data = EntryViews(rec.spec, clips, crops)
    readers = loader_workers(workers)
    settings = {
        "card_hash": labeller.card_hash, "views": f"{clips}x{crops}", "top_k": min(top_k, len(rec.labels)),
        "window": window, "step": cut.step if cut else None, "features": features,
    }  # fmt: skip
    with held(folder):
        ledger = Ledger(folder, settings, features=features, part_rows=part_rows)
        if cut is not None:
            entries = cut_into_windows(entries, rec.spec, cut, workers=readers, limits=limits)
        planned = plan(entries, ledger, retry=retry, workers=readers, limits=limits, windows=cut is not None)
        ledger.drop(planned.stale, planned.columns)
        if cluster is None:
            rows = label_here(planned.todo, data, labeller, readers=readers, batch=batch, limits=limits)
        else:
            from kinema.labelling.cluster import label_on_cluster

            rows = label_on_cluster(
                planned.todo, data, labeller, rec, address=cluster, readers=workers, networks=networks, batch=batch,
                limits=limits,
            )  # fmt: skip
        seconds = _label(rows, ledger, len(entries), len(planned.todo), report)
        stages, others = _count(ledger, entries)
        failed = sum(stages.values())
        ledger.finish({"inputs": len(entries), "failed": failed})
    return Labelled(
        folder, len(entries), len(entries) - failed, failed, stages, len(entries) - len(planned.todo), others,
        ledger.lost, seconds,
    )  # fmt: skip


def _checked(
    views: Protocol, window: float | None, step: float | None, top_k: int, workers: int, batch: int, networks: int,
    part_rows: int, retry: str | None,
) -> Windows | None:  # fmt: skip
    parse_views(views)
    for name, value, least in (
        ("top-k", top_k, 1), ("workers", workers, -1), ("batch", batch, 1), ("networks", networks, -1),
        ("part-rows", part_rows, 1),
    ):  # fmt: skip
        if value < least:
            raise KinemaError(f"--{name} {value}: give at least {least}")
    if networks == 0:
        raise KinemaError("--networks 0: give at least 1, or -1 for one per GPU")
    if retry not in (None, "failed", "missing"):
        raise KinemaError(f"--retry {retry}: choose from failed, missing")
    if window is None:
        if step is not None:
            raise KinemaError(f"--step {step:g} needs --window: give the length of a window in seconds too")
        return None
    used = window if step is None else step
    if not 0 < used <= window < float("inf"):
        raise KinemaError(f"--window {window:g} --step {used:g}: give seconds with 0 < step <= window")
    if parse_views(views) != (1, 1):
        raise KinemaError(f"--views {views}: --window uses one view per window; remove one of the two")
    return Windows(window, used)


def _label(rows: Iterator[Row], ledger: Ledger, total: int, todo: int, report: Report | None) -> float:
    """Stores the rows as they arrive; all that have arrived are written to disk even if this ends early."""
    began = time.monotonic()
    came = failed = 0
    try:
        for row in rows:
            ledger.add(row)
            came += 1
            failed += row.error is not None
            if report is not None:
                seconds = time.monotonic() - began
                rate = came / seconds if seconds > 0 else 0.0
                report(Progress(total - todo + came, total, failed, rate, (todo - came) / rate if rate else None))
    except BaseException:
        with suppress(Exception):  # report the first error
            ledger.flush()
        raise
    ledger.flush()
    return time.monotonic() - began


def _count(ledger: Ledger, entries: list[Entry]) -> tuple[dict[str, int], int]:
    """Returns the number of failures of the input by stage, and the number of rows that are not of this input."""
    wanted = {entry.key for entry in entries}
    stages: dict[str, int] = {}
    others = 0
    found = 0
    for columns in ledger.done(["path", "start", "end", "repeat", "stage"]):
        for *key, stage in zip(*columns.values(), strict=True):
            if tuple(key) not in wanted:
                others += 1
                continue
            found += 1
            if stage is not None:
                stages[stage] = stages.get(stage, 0) + 1
    assert found == len(wanted), "an input has no row, or two rows"
    return dict(sorted(stages.items())), others
