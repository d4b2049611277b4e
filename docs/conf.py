"""Configuration of the documentation site; `make docs` builds it and treats every warning as an error."""

from __future__ import annotations

import sys
from pathlib import Path

import kinema

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Kinema"
author = "the Kinema authors"
version = release = kinema.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "kinema_help"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Kinema {version}"
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
default_role = "literal"  # docstrings write `name` for code
