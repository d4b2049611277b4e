"""Findings: problems of a data set, with a severity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """A single problem: an `error` makes training or testing wrong, a `warning` may do so.

    Attributes:
        severity: `error` or `warning`.
        code: short name of the kind of problem, such as `unreadable`.
        message: one sentence that says how to fix it.
        paths: the files concerned, each with details if they help.
        videos: for each of `paths` the readable videos to compare by eye; empty where pictures do not help.
    """

    severity: Literal["error", "warning"]
    code: str
    message: str
    paths: tuple[str, ...] = ()
    videos: tuple[tuple[str, ...], ...] = ()
