"""Whether the packages of the page are installed, and new enough."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from kinema.errors import KinemaError

OLDEST = (6, 16)  # releases before it have known security holes
_INSTALL = "pip install 'kinema[app]'"


def require_packages() -> None:
    """Raises `KinemaError` where Gradio is not installed, cannot be imported, or is too old to be safe."""
    try:
        found = version("gradio")
    except PackageNotFoundError:
        raise KinemaError(f"kinema app needs Gradio, which is not installed: {_INSTALL}") from None
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    if numbers < OLDEST:
        raise KinemaError(
            f"gradio {found} has known security holes, {OLDEST[0]}.{OLDEST[1]} or newer is needed: {_INSTALL} --upgrade"
        )
    for name in ("gradio", "fastapi", "uvicorn", "jinja2"):
        try:
            import_module(name)
        except ImportError as error:
            raise KinemaError(f"kinema app cannot import {name} ({error}): {_INSTALL}") from error
