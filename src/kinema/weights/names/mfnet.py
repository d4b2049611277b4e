"""Names of the authors' release of MF-Net, and conversion of its 2-D network to 3-D. Names only, no tensors.

They were taken from the authors' code; none of their files was loaded.
"""

from __future__ import annotations

from kinema.models.mfnet import MFNet
from kinema.weights.names.family import Names, register_names
from kinema.weights.names.formats import Format
from kinema.weights.names.rules import Rule, inflate, places

_PARTS = {"i1": "multiplexer.0", "i2": "multiplexer.1", "m1": "fibers.0", "m2": "fibers.1", "w1": "shortcut"}
# Their stages start at 2, their units at 1.
_RULES: tuple[Rule, ...] = (
    (r"conv1\.conv\.weight", "stem.conv.weight"),
    (r"conv1\.bn\.(.+)", r"stem.norm.\1"),
    (r"tail\.bn\.(.+)", r"layer4.3.norm.\1"),
    *(
        (rf"conv{s + 1}\.B{i + 1:02d}\.conv_{part}\.{theirs}\.(.+)", rf"layer{s}.{i}.{own}.{ours}.\1")
        for s, count in enumerate((3, 4, 6, 3), 1)
        for i in range(count)
        for part, own in _PARTS.items()
        for theirs, ours in (("conv", "conv"), ("bn", "norm"))
    ),
)

FORMATS = (Format("PyTorch-MFNet", r"conv2\.B01\.conv_i1\.", "cypw/PyTorch-MFNet network/mfnet_3d.py"),)


def candidates(name: str) -> list[str]:
    """Returns the name in `mfnet` for a name of the release; the prefix `module.` is dropped."""
    return places(_RULES, name)


register_names(MFNet, Names(candidates, convert=inflate, formats=FORMATS))
