"""What each family of networks knows of the names and formats of other releases."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.models.csn import CSN
from kinema.models.efficientnet2d import EfficientNet2D
from kinema.models.i3d import InflatedResNet
from kinema.models.inception3d import InceptionI3D
from kinema.models.mfnet import MFNet
from kinema.models.r3d import ResNet3D
from kinema.models.resnet2d import ResNet2D
from kinema.models.resnext3d import ResNeXt3D
from kinema.models.slowfast import SlowFast
from kinema.models.video_model import VideoModel
from kinema.models.x3d import X3D
from kinema.weights.names import csn, efficientnet2d, i3d, inception3d, mfnet, r3d, resnet2d, resnext3d, slowfast, x3d
from kinema.weights.names.formats import File, Format, Values
from kinema.weights.names.rules import inflate


@dataclass(frozen=True)
class Names:
    """What a family knows of the names of other releases.

    Attributes:
        candidates: the names here that may stand for a name there, likeliest first.
        new: parts that no release has; they keep the values with which they were built.
        remarks: sentences about a file, from the names here and there.
        reader: makes `candidates` for one file, from all its names, where a name alone does not tell.
        convert: source name, its tensor, the shape wanted -> another tensor and what was done, or None.
        left_out: how names here begin for which the network has no place on purpose.
        formats: of other projects, told apart by marks that no two of them share.
        structure: options that follow from the names and shapes of any file.
    """

    candidates: Callable[[str], list[str]]
    new: re.Pattern[str] = re.compile(r"(?!)")
    remarks: Callable[[Iterable[str], Iterable[str]], list[str]] = lambda own, source: []
    reader: Callable[[Collection[str]], Callable[[str], list[str]]] | None = None
    convert: Callable[[str, Tensor, torch.Size], tuple[Tensor, str] | None] = lambda name, tensor, shape: None
    left_out: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()
    structure: Callable[[File], Values] = lambda file: {}


_FAMILIES: dict[type[VideoModel], Names] = {
    CSN: Names(csn.candidates, formats=csn.FORMATS),
    EfficientNet2D: Names(efficientnet2d.candidates, formats=efficientnet2d.FORMATS),
    InflatedResNet: Names(
        i3d.candidates, i3d.NEW, reader=i3d.reader, convert=inflate, formats=i3d.FORMATS, structure=i3d.structure
    ),
    InceptionI3D: Names(inception3d.candidates, convert=inception3d.convert, formats=inception3d.FORMATS),
    MFNet: Names(mfnet.candidates, convert=inflate, formats=mfnet.FORMATS),
    ResNet2D: Names(
        resnet2d.candidates,
        resnet2d.NEW,
        convert=resnet2d.convert,
        formats=resnet2d.FORMATS,
        structure=resnet2d.structure,
    ),  # fmt: skip
    ResNet3D: Names(r3d.candidates, r3d.NEW, r3d.remarks, formats=r3d.FORMATS, structure=r3d.structure),
    ResNeXt3D: Names(resnext3d.candidates, formats=resnext3d.FORMATS, structure=resnext3d.structure),
    SlowFast: Names(
        slowfast.candidates, i3d.NEW, convert=slowfast.convert, formats=slowfast.FORMATS, structure=slowfast.structure
    ),
    X3D: Names(x3d.candidates, formats=x3d.FORMATS, structure=x3d.structure),
}
_OWN = Names(lambda name: [name])


def names_of(model: VideoModel) -> Names:
    """What the family of a network knows; a network of no family has only its own names."""
    return next((n for family, n in _FAMILIES.items() if isinstance(model, family)), _OWN)


def under_backbone(names: Names, left_out: tuple[str, ...]) -> Names:
    """For a file of the network on which another one stands: its names lead to the backbone, whose head is gone."""
    gone = tuple(f"backbone.{part}." for part in left_out)

    def reader(source: Collection[str]) -> Callable[[str], list[str]]:
        candidates = names.reader(source) if names.reader else names.candidates
        return lambda name: [f"backbone.{target}" for target in candidates(name)]

    def remarks(own: Iterable[str], source: Iterable[str]) -> list[str]:
        source = list(source)
        candidates = reader(source)
        left = [name for name in source if any(target.startswith(gone) for target in candidates(name))]
        found = names.remarks([name.removeprefix("backbone.") for name in own], source)
        if left:
            found = [*found, f"the head of the backbone is left out, this network has its own: {', '.join(left)}"]
        return found

    new = re.compile(rf"^(?!backbone\.)|{names.new.pattern}")
    return Names(names.candidates, new, remarks, reader, names.convert, gone)
