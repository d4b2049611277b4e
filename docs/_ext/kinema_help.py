"""Two directives: the help of a command, and the public names of a package.

`kinema-help COMMAND` shows what `kinema COMMAND --help` prints. `kinema-api PACKAGE` documents the package and each
name of its `__all__`; names that a package loads only when they are used are found, which `automodule` does not do.
"""

from __future__ import annotations

import inspect
import os
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class KinemaHelp(SphinxDirective):
    """The help of one command as a block of text."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Builds the parser of the command and takes its text."""
        from kinema.cli import build_parser

        os.environ["COLUMNS"] = "90"
        text = build_parser(self.arguments[0]).format_help()
        return [nodes.literal_block(text, text, language="none")]


class KinemaApi(SphinxDirective):
    """The docstring of a package and of each of its public names."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Writes one directive of autodoc per name and parses them."""
        package = self.arguments[0]
        module = import_module(package)
        lines = ["```{eval-rst}", f".. automodule:: {package}", "   :no-members:", ""]
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value):
                continue
            kind = "autoclass" if inspect.isclass(value) else "autofunction" if callable(value) else "autodata"
            lines += [f".. {kind}:: {package}.{name}"]
            if kind == "autoclass":
                lines += ["   :members:"]
            lines += [""]
        lines += ["```"]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers both."""
    app.add_directive("kinema-help", KinemaHelp)
    app.add_directive("kinema-api", KinemaApi)
    return {"parallel_read_safe": True}
