"""What a report says of each run in figures and words alone: cost, coverage, protocol, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kinema.evaluation.cost import Cost
from kinema.evaluation.latency import Latency
from kinema.evaluation.metrics import Coverage, Metrics
from kinema.evaluation.multi_label import MultiLabelMetrics
from kinema.evaluation.selection import sentence
from kinema.report.markup import by_run, joined, note, table
from kinema.report.runs import Run
from kinema.report.trade_off import Counted

FAILURES = 40  # unreadable videos that a person still reads


def cost(runs: Sequence[Run], costs: Sequence[Counted], times: Sequence[Latency | None]) -> Markup:
    """Parameters, MACs and FLOPs of each network, counted for the clips that it was tested with.

    Args:
        runs: of the page.
        costs: what `counts` gave of them.
        times: what `latencies` gave of them; None where nothing was measured.
    """
    counted = [c if isinstance(c, Cost) else None for c in costs]
    views = [_views(run) for run in runs]
    facts: dict[str, list[Any]] = {
        "network": [run.architecture and run.architecture.get("name") for run in runs],
        "parameters": [c and f"{c.params / 1e6:.3f} M" for c in counted],
        "clip": [c and f"{c.frames} x {c.size} x {c.size}" for c in counted],
        "MACs per view": [c and _large(c.macs) for c in counted],
        "FLOPs per view": [c and _large(c.flops) for c in counted],
        "views per video": views,
        "median time per clip, ms": [t and f"{t.p50_ms:.1f}" for t in times],
        "quartiles of that time, ms": [t and f"{t.p25_ms:.1f} to {t.p75_ms:.1f}" for t in times],
        "MACs per video": [c and v and _large(c.macs * v) for c, v in zip(counted, views, strict=True)],
    }
    drawn = by_run([run.name for run in runs], facts)
    reasons = joined(
        note(f"Not counted: {run.name}: {c}") for run, c in zip(runs, costs, strict=True) if isinstance(c, str)
    )
    small = note("1 MAC = 2 FLOPs; convolutions, linear layers and other matrix products of one view are counted.")
    return (drawn + small if any(counted) else Markup("")) + reasons


def _large(number: int) -> str:
    return f"{number / 1e9:.2f} G" if number >= 1e9 else f"{number / 1e6:.1f} M"


def _views(run: Run) -> int | None:
    if run.test is None or "views" not in run.test.document:
        return None
    views = run.test.document["views"]
    return int(views["clips"]) * int(views["crops"])


def coverage(runs: Sequence[Run], metrics: Mapping[str, Metrics | MultiLabelMetrics]) -> Markup:
    """How many videos were read, in training and test, and why the others were not.

    Args:
        runs: all of them.
        metrics: name -> figures, of those that are tested.
    """
    trained = [(run.card.get("training") or {}).get("coverage") for run in runs]
    ms = [metrics.get(run.name) for run in runs]
    facts: dict[str, list[Any]] = {
        "test videos": [m and str(m.coverage) for m in ms],
        "training videos": [
            c and str(Coverage(c["expected"], c["read"], c["failed"], c.get("absent", 0))) for c in trained
        ],
    }
    failures = [
        (run.name, part, path, reason)
        for run in runs
        for part, entries in (("test", _failures(run)), ("training", run.unread))
        for path, reason in entries
    ]
    more = (
        f"… and {len(failures) - FAILURES} more; the ledgers in the run folders list all."
        if len(failures) > FAILURES
        else ""
    )
    rows = table(("run", "split", "video", "why it could not be read"), failures[:FAILURES], numeric=False)
    ledger = [*([rows] if failures else []), *([note(more)] if more else [])]
    return by_run([run.name for run in runs], facts) + joined(ledger)


def _failures(run: Run) -> list[tuple[str, str]]:
    return [] if run.test is None else list(run.test.result.failures)


def tested_as(run: Run) -> Mapping[str, Any]:
    """Recognizer, data, split and views of a run's test, as far as they are known."""
    found = run.test.document.get("test", {}) if run.test is not None else {}
    return found if isinstance(found, Mapping) else {}


def protocol(runs: Sequence[Run]) -> Markup:
    """Everything that was fixed for test and training, with the differences set off."""
    columns = []
    for run in runs:
        document = run.test.document if run.test is not None else {}
        column = {f"test {key}": value for key, value in tested_as(run).items()}
        tested = sentence(document.get("selection"))
        column |= {"test of": tested} if tested else {}
        column |= _flat("test", {k: v for k, v in document.get("protocol", {}).items() if k != "clip"})
        column |= _flat("clip", run.clip)
        column |= _flat("training", run.config or (run.card.get("training") or {}).get("config", {}))
        columns.append(column)
    drawn = _beside(runs, columns)
    return drawn + note("Rows in which the runs differ are highlighted.") if drawn and len(runs) > 1 else drawn


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(f"{prefix} {key}", value)
        elif isinstance(value, list | tuple):
            found[f"{prefix} {key}"] = ", ".join(map(str, value))
        else:
            found[f"{prefix} {key}"] = value
    return found


def about_curves(runs: Sequence[Run]) -> list[str]:
    """What one has to know to read the curves of these runs, in sentences."""
    found = []
    checked = sorted({str(run.config["val_split"]) for run in runs if run.config.get("val_split")})
    if checked:
        choosing = [r.name for r in runs if r.config.get("keep") == "best" or r.config.get("patience")]
        chosen = f"it selects the epoch of {', '.join(choosing)}" if choosing else "nothing is chosen by it"
        splits = " or ".join(checked)
        found.append(f"Dashed: one central clip of every video of the split {splits}; {chosen}.")
    kinds = {run.name: _of_the_loss(run.config) for run in runs}
    known = {kind for of_run in kinds.values() for kind in of_run}
    if known and len(runs) > 1:
        listed = "; ".join(f"{name} with {', '.join(of_run)}" for name, of_run in kinds.items() if of_run)
        found.append(f"Training losses of different kinds of training are not comparable: {listed}.")
    if "mixup" in known:
        found.append("With mixup a training clip counts as right for only one of its two labels, so top-1 is low.")
    if "multigrid" in known:
        found.append(
            "With multigrid the earlier steps of an epoch use up to 8 times the learning rate of its last step."
        )
    return found


def _of_the_loss(config: Mapping[str, Any]) -> list[str]:
    """What gives the training loss another meaning."""
    values = _flat("", config)
    kinds = {
        "mixup": values.get(" mixup"),
        "label smoothing": values.get(" label_smoothing"),
        "Twins": values.get(" twins weight"),
        "multigrid": values.get(" multigrid cycles", "none") != "none",
    }
    return [kind for kind, there in kinds.items() if there]


def versions(runs: Sequence[Run]) -> Markup:
    """The software that trained and tested."""
    columns = []
    for run in runs:
        column = _flat("training:", run.card.get("versions", {}))
        columns.append(column | _flat("test:", run.test.document.get("versions", {}) if run.test is not None else {}))
    return _beside(runs, columns)


def _beside(runs: Sequence[Run], columns: Sequence[Mapping[str, Any]]) -> Markup:
    keys = dict.fromkeys(key for column in columns for key in column)
    facts = {key: [column.get(key) for column in columns] for key in keys}
    return by_run([run.name for run in runs], facts, mark=True)
