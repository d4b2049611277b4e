"""Networks learn: configuration, loop, checkpoints, schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinema.training.twins import twins_loss

__all__ = ["twins_loss"]


def __getattr__(name: str) -> Any:  # PEP 562, as in the package itself: `kinema --help` reads configurations alone
    if name == "twins_loss":
        from kinema.training.twins import twins_loss

        return twins_loss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
