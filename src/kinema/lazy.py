"""Imports the public names of a package when they are first used, so that importing the package is fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Makes the `__getattr__` of a package (PEP 562).

    Args:
        package: name of the package.
        homes: public name -> the module that defines it. A name must not equal the name of a module of the package:
            imported, the module would hide it.

    Returns:
        A function that imports the module of a name and returns the object; it raises `AttributeError` for a name
        that is not in `homes`.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return find
