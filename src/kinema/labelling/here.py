"""Labelling on this machine: processes that read, and the network in this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import Loader
from kinema.labelling.inputs import Entry
from kinema.labelling.network import Labeller
from kinema.labelling.reading import EntryViews
from kinema.labelling.rows import Row
from kinema.processes import room_for_readers

Group = tuple[list[dict[str, Any]], Tensor | None]


def label_here(
    entries: Iterable[Entry], data: EntryViews, labeller: Labeller, *, readers: int, batch: int,
    limits: ReadLimits | None,
) -> Iterator[Row]:  # fmt: skip
    """A row for every entry, in their order.

    Args:
        entries: the inputs; followed as far as needed.
        data: what reads them.
        labeller: what labels them.
        readers: processes that read; 0 reads in this one, without protection from a file that crashes it.
        batch: views in one pass of the network.
        limits: what reading one input may cost.
    """
    together = max(1, batch // (data.clips * data.crops))
    coming = iter(entries)
    asked: list[list[Entry]] = []

    def groups() -> Iterator[list[Entry]]:
        while group := list(islice(coming, together)):
            asked.append(group)
            yield group

    with Loader(data, groups(), collate, readers=readers, largest=together, limits=limits) as loader:
        for found, views in loader:
            with room_for_readers(readers):
                rows = labeller.rows(asked.pop(0), found, views)
            yield from rows


def collate(items: list[Any]) -> Group:
    """What is known of a group of inputs, and the views of those that could be read, in memory of their own."""
    views = [item["views"] for item in items if "views" in item]
    facts = [{name: value for name, value in item.items() if name != "views"} for item in items]
    return facts, torch.stack(views) if views else None
