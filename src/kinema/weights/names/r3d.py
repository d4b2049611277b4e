"""Names of other releases of 3-D ResNets: the SRTG authors' code and 3D-ResNets-PyTorch. Names only, no tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kinema.weights.names.rules import Rule, places

# Parts for which a plain network has no weights; they keep the values with which they were built.
NEW = re.compile(r"\.srtg\.")

# Pattern of a whole name -> what it may be called here. Where a (2+1)D network has both names, its own stands first.
_RULES: tuple[Rule, ...] = (
    (r"fc\.(.+)", r"classifier.\1"),
    # SRTG: convolution, BatchNorm and ReLU of a step are one Sequential, the built convolutions another inside it.
    (r"stem\.0\.weight", r"stem.conv.weight", r"stem.conv.spatial.weight"),
    (r"stem\.1\.(.+)", r"stem.conv.bn.\1", r"stem.bn.\1"),
    (r"stem\.3\.weight", r"stem.conv.temporal.weight"),
    (r"stem\.4\.(.+)", r"stem.bn.\1"),
    (r"(layer\d\.\d+\.conv\d)\.0\.0\.weight", r"\1.weight", r"\1.spatial.weight"),
    (r"(layer\d\.\d+\.conv\d)\.0\.1\.(.+)", r"\1.bn.\2"),
    (r"(layer\d\.\d+\.conv\d)\.0\.3\.weight", r"\1.temporal.weight"),
    (r"(layer\d\.\d+\.conv\d)\.0\.weight", r"\1.weight"),
    (r"(layer\d\.\d+)\.conv(\d)\.1\.(.+)", r"\1.bn\2.\3"),
    (r"(layer\d\.\d+)\.sar\.lstm\.(.+)", r"\1.srtg.recurrence.cell.\2"),
    # 3D-ResNets-PyTorch: flat names, as 2-D ResNets have them; _s and _t are the spatial and temporal factors.
    (r"conv1\.weight", r"stem.conv.weight"),
    (r"bn1\.(.+)", r"stem.bn.\1"),
    (r"conv1_s\.weight", r"stem.conv.spatial.weight"),
    (r"bn1_s\.(.+)", r"stem.conv.bn.\1"),
    (r"conv1_t\.weight", r"stem.conv.temporal.weight"),
    (r"bn1_t\.(.+)", r"stem.bn.\1"),
    (r"(layer\d\.\d+\.conv\d)_s\.weight", r"\1.spatial.weight"),
    (r"(layer\d\.\d+)\.bn(\d)_s\.(.+)", r"\1.conv\2.bn.\3"),
    (r"(layer\d\.\d+\.conv\d)_t\.weight", r"\1.temporal.weight"),
    (r"(layer\d\.\d+\.bn\d)_t\.(.+)", r"\1.\2"),
)


def candidates(name: str) -> list[str]:
    """The names in a network of `r3d` that may stand for a name of another release, likeliest first.

    A name that neither release has stands for itself; the prefix `module.` is dropped.
    """
    return places(_RULES, name)


def remarks(own: Iterable[str], source: Iterable[str]) -> list[str]:
    """What a person should know about a file beyond the list of its names.

    Args:
        own: names of the network.
        source: names of the file.
    """
    names = {name.removeprefix("module.") for name in source}
    targets = {target for name in names for target in candidates(name)}
    found = []
    if any(NEW.search(name) for name in own) and not any(NEW.search(name) for name in targets):
        found.append(
            "the file has no recurrent weights (no name with sar.lstm): it holds a plain network, as the SRTG authors' "
            "program builds under every srtg_ name, and the recurrent cells keep their random start"
        )
    if "stem.0.weight" in names:
        found.append(
            "the file has the names of the SRTG authors' code, whose stem has no max pooling: "
            "only a network built with max_pool=False computes what theirs did"
        )
    if any(".sar.lstm." in name for name in names):
        found.append(
            "the file has the recurrent weights of the SRTG authors' code, which multiplies by the states and has no "
            "gates: only a network built with gate=none and fusion=mul computes what theirs did"
        )
    return found
