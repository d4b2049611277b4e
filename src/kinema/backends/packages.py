"""Check for the packages that a backend needs."""

from __future__ import annotations

from importlib import import_module


def missing(*packages: str) -> str | None:
    """Returns why a backend cannot be used: the packages that cannot be imported, and the command that installs them.

    Args:
        *packages: import names.

    Returns:
        Part of a sentence, or None if all can be imported.
    """
    absent = []
    for name in packages:
        try:
            import_module(name)
        except ImportError:
            absent.append(name)
    if not absent:
        return None
    return f"{' and '.join(absent)} cannot be imported: pip install 'kinema[export]'"
