"""Weights of other projects: the known public releases, how to get them, and how their tensors are mapped.

- `list_releases(pattern)` and `find_release(name)` return each release as a `Release`, with its source, licence and
  published accuracy.
- `get_release(name, out)` fetches, checks and converts one (`kinema weights get`).
- `import_file(file, model, out)` does the same with a file of another project (`kinema weights import`). Both return
  an `Imported`, or raise `IncompleteWeights`.
- `import_weights(model, tensors)` loads tensors into a network and returns an `ImportReport` that accounts for every
  name; `read_tensors(file)` reads them, and `start_from(model, source)` does both before a training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

if TYPE_CHECKING:
    from kinema.weights.get import Imported, IncompleteWeights, get_release, import_file
    from kinema.weights.importing import ImportReport, import_weights, read_tensors, start_from
    from kinema.weights.releases import Release, find_release, list_releases

__all__ = [
    "ImportReport",
    "Imported",
    "IncompleteWeights",
    "Release",
    "find_release",
    "get_release",
    "import_file",
    "import_weights",
    "list_releases",
    "read_tensors",
    "start_from",
]

__getattr__ = lazy_names(
    __name__,
    {
        "ImportReport": "kinema.weights.importing",
        "Imported": "kinema.weights.get",
        "IncompleteWeights": "kinema.weights.get",
        "Release": "kinema.weights.releases",
        "find_release": "kinema.weights.releases",
        "get_release": "kinema.weights.get",
        "import_file": "kinema.weights.get",
        "import_weights": "kinema.weights.importing",
        "list_releases": "kinema.weights.releases",
        "read_tensors": "kinema.weights.importing",
        "start_from": "kinema.weights.importing",
    },
)
