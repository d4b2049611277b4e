"""The report on a data set, for people or programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kinema.data.findings import Finding
from kinema.data.label_order import outputs
from kinema.text import plural, printable

if TYPE_CHECKING:
    from rich.console import Group

SHOWN = 20  # paths that are printed per finding; `to_dict` returns all


@dataclass(frozen=True)
class SplitSummary:
    """Statistics of the readable videos of one split; ranges are (smallest, median, largest).

    Attributes:
        samples: number of entries in the manifest, readable or not.
        classes: number of samples per label.
        hours: hours of video in the split's samples; only the parts from start to end count.
        fps: range of frames per second.
        frames: range of frames per video.
        short_side: range of the short side, in pixels.
    """

    samples: int
    classes: dict[str, int]
    hours: float
    fps: tuple[float, float, float] | None
    frames: tuple[int, int, int] | None
    short_side: tuple[int, int, int] | None


@dataclass(frozen=True)
class Diagnosis:
    """The result of examining a data set.

    Attributes:
        source: the folder or CSV.
        splits: statistics per split, by name; "all" if the data have no splits.
        findings: errors first.
        held_out: True if the test split was chosen by Kinema, not by the data.
        files: number of files in the manifest that exist.
        looked: True if frames were decoded and near-identical files were searched for.
        labels: labels in the order of a network's outputs.
        order: how they were ordered (see `Manifest.order`).
    """

    source: str
    splits: dict[str, SplitSummary]
    findings: tuple[Finding, ...]
    held_out: bool
    files: int
    looked: bool
    labels: tuple[str, ...] = ()
    order: str = "text"

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that must be fixed before training."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that should be checked."""
        return tuple(f for f in self.findings if f.severity == "warning")

    @property
    def ok(self) -> bool:
        """True if there is no error."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `--json`, with every path."""
        return asdict(self) | {"ok": self.ok}

    def render(self) -> Group:
        """Renders the report: a table of the splits, then the findings with their first files."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        names = ("split", "videos", "classes", "videos per class", "length", "fps", "frames", "short side")
        table = Table(*names)
        for name, s in self.splits.items():
            counts = sorted(s.classes.values()) or [0]
            table.add_row(
                *(name, str(s.samples), str(len(s.classes)), _span((counts[0], counts[-1])), _length(s.hours)),
                *(_span(s.fps), _span(s.frames), _span(s.short_side)),
            )
        parts: list[Any] = [Text(f"{self.source}: {plural(self.files, 'file')}"), table]
        orders = {"file": "as in labels.txt", "catalogue": "in the usual order of the data set", "number": "by number"}
        parts.append(Text(f"Outputs {orders.get(self.order, 'by name')}: {printable(outputs(self.labels))}."))
        if self.held_out:
            parts.append(Text("The data have no splits: Kinema holds out a fifth of every class as `test`."))
        if not self.looked:
            quick = "Quick: no frames were decoded; near-identical and partly damaged files were not searched for."
            parts.append(Text(quick))
        for finding in self.findings:
            style = "bold red" if finding.severity == "error" else "yellow"
            parts.append(Text(f"{finding.severity} [{finding.code}] {printable(finding.message)}", style=style))
            parts += [Text(f"    {printable(path)}") for path in finding.paths[:SHOWN]]
            if len(finding.paths) > SHOWN:
                command = f"kinema data doctor {shlex.quote(self.source)} --json"
                parts.append(Text(f"    … and {len(finding.paths) - SHOWN} more: {command} lists all"))
        verdict = "check the warnings" if self.warnings else "nothing to fix"
        if self.errors:
            verdict = "fix the errors before training"
        totals = f"{plural(len(self.errors), 'error')}, {plural(len(self.warnings), 'warning')}"
        parts.append(Text(f"{totals}: {verdict}.", style="bold"))
        return Group(*parts)


def _span(values: Iterable[float] | None) -> str:
    """Formats a range: `3 … 12`, or one number if all are the same."""
    if values is None:
        return "–"
    texts = [f"{value:.4g}" for value in sorted(values)]
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} … {texts[-1]}"


def _length(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"
