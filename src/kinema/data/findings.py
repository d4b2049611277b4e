"""What is wrong with a data set: findings with a severity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`error`: training or testing would be wrong) or doubtful (`warning`).

    Attributes:
        severity: `error` or `warning`.
        code: short name of the kind, such as `unreadable`.
        message: one sentence that says how to fix it.
        paths: the files concerned, each with what is particular to it where that helps.
    """

    severity: Literal["error", "warning"]
    code: str
    message: str
    paths: tuple[str, ...] = ()
