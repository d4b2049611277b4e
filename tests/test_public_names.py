"""The names that a person imports from the packages, and what importing a package costs."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ("kinema", "kinema.data", "kinema.weights")
NAMES = [(package, name) for package in PACKAGES for name in import_module(package).__all__]


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_a_public_name_is_there_and_explained(package: str, name: str) -> None:
    found = getattr(import_module(package), name)
    assert found.__doc__
    assert found.__name__ == name
    if package != "kinema":
        assert f"`{name}" in import_module(package).__doc__
    # A module of the same name would take its place as soon as something imports it.
    folder = Path(import_module(package).__file__ or "").parent
    assert not (folder / f"{name}.py").exists()
    assert not (folder / name).exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_there_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match=f"{package}.*'nothing'"):
        import_module(package).nothing  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    heavy = ("torch", "av", "numpy", "pytorch_lightning", "pyarrow", "safetensors", "rich", "yaml")
    code = f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_documentation_names_them() -> None:
    docs = Path(__file__).parent.parent / "docs" / "python.md"
    text = docs.read_text(encoding="utf-8")
    # What only comes out of a function stands in the docstring of its package.
    results = {"Manifest", "Sample", "VideoInfo", "Release", "ImportReport", "Imported", "IncompleteWeights"}
    assert not [name for _, name in NAMES if name not in results | {"Prediction"} and name not in text]
