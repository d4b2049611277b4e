"""What a family of networks knows of other releases, and the table of all families, which each module here fills."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.models.video_model import VideoModel
from kinema.weights.names.formats import File, Format, Values


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


FAMILIES: dict[type[VideoModel], Names] = {}


def register_names(family: type[VideoModel], names: Names) -> None:
    """Says what a family knows of the names of other releases.

    Raises:
        KinemaError: the family has its names already.
    """
    if family in FAMILIES:
        raise KinemaError(f"{family.__name__} already has registered names of other releases: register them once")
    FAMILIES[family] = names
