"""What is known about other releases per family of networks, and the registry that each module here fills."""

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
    """What is known about the names of other releases for a family.

    Attributes:
        candidates: maps a name in a release to the possible names here, likeliest first.
        new: parts that no release has; they keep their initial values.
        remarks: makes remarks about a file from the names here and in the file.
        reader: makes `candidates` for one file from all its names, if a single name is ambiguous.
        convert: source name, its tensor, the required shape -> another tensor and what was done, or None.
        left_out: prefixes of names here that the network deliberately does not have.
        formats: formats of other projects, distinguished by marks that are unique.
        structure: finds options that follow from the names and shapes of any file.
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
    """Registers what is known about the names of other releases for a family.

    Raises:
        KinemaError: the family already has registered names.
    """
    if family in FAMILIES:
        raise KinemaError(f"{family.__name__} already has registered names of other releases: register them once")
    FAMILIES[family] = names
