"""What was found in a data set: findings with a severity, and their report for a person or a program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Group

SHOWN = 5  # paths a person sees of one finding; `to_dict` holds all


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`error`: training or testing would be wrong) or doubtful (`warning`).

    Attributes:
        severity: `error` or `warning`.
        code: short name of the kind, such as `unreadable`.
        message: one sentence with the mend.
        paths: the files concerned, each with what is particular to it where that helps.
    """

    severity: Literal["error", "warning"]
    code: str
    message: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitSummary:
    """The readable videos of one split in figures; ranges are (smallest, median, largest).

    Attributes:
        samples: entries of the manifest, readable or not.
        classes: samples of every label.
        hours: of video in the split's samples, only their parts from start to end.
        fps: frames per second.
        frames: a video.
        short_side: in pixels.
    """

    samples: int
    classes: dict[str, int]
    hours: float
    fps: tuple[float, float, float] | None
    frames: tuple[int, int, int] | None
    short_side: tuple[int, int, int] | None


@dataclass(frozen=True)
class Report:
    """What the doctor says of a data set.

    Attributes:
        source: the folder or CSV.
        splits: the figures of every split, by name; "all" where the data has none.
        findings: errors first.
        held_out: the test split was chosen by Kinema, not by the data.
        looked: whether frames were decoded and near-identical files looked for.
    """

    source: str
    splits: dict[str, SplitSummary]
    findings: tuple[Finding, ...]
    held_out: bool
    looked: bool
    files: int = field(default=0)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that must be mended before training."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings to look at."""
        return tuple(f for f in self.findings if f.severity == "warning")

    @property
    def ok(self) -> bool:
        """No error."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `--json`, with every path."""
        return asdict(self) | {"ok": self.ok}

    def render(self) -> Group:
        """The page for a person: a table of the splits, then the findings with their first files."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("split", *("videos", "classes", "a class", "hours", "fps", "frames", "short side"))
        for name, s in self.splits.items():
            counts = sorted(s.classes.values()) or [0]
            table.add_row(
                *(name, str(s.samples), str(len(s.classes)), _span((counts[0], counts[-1])), f"{s.hours:.2f}"),
                *(_span(s.fps), _span(s.frames), _span(s.short_side)),
            )
        parts: list[Any] = [Text(f"{self.source}: {self.files} files"), table]
        if self.held_out:
            parts.append(Text("The data names no split: Kinema holds out a fifth of every class as `test`."))
        if not self.looked:
            parts.append(
                Text("No frame was decoded (quick): near-identical and half-broken files were not looked for.")
            )
        for finding in self.findings:
            style = "bold red" if finding.severity == "error" else "yellow"
            parts.append(Text(f"{finding.severity} [{finding.code}] {finding.message}", style=style))
            parts += [Text(f"    {path}") for path in finding.paths[:SHOWN]]
            if len(finding.paths) > SHOWN:
                parts.append(Text(f"    … and {len(finding.paths) - SHOWN} more"))
        verdict = "nothing to mend" if self.ok else "mend the errors before training"
        parts.append(Text(f"{len(self.errors)} errors, {len(self.warnings)} warnings: {verdict}.", style="bold"))
        return Group(*parts)


def _span(values: Iterable[float] | None) -> str:
    """`3 … 12`, or one figure where all are the same."""
    if values is None:
        return "–"
    ends = sorted({f"{v:.4g}": v for v in values}.items(), key=lambda item: item[1])
    return ends[0][0] if len(ends) == 1 else f"{ends[0][0]} … {ends[-1][0]}"
