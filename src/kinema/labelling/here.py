"""Labelling on this machine: other processes read, and this process runs the network."""

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
    """Yields a row for every entry, in their order.

    Args:
        entries: the inputs; consumed only as far as needed.
        data: reads them.
        labeller: labels them.
        readers: processes that read; 0 reads in this one, without protection from a file that crashes it.
        batch: views per forward pass.
        limits: limits for reading one input.
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
    """Returns facts of a group of inputs, and a copy of the views of those that could be read."""
    views = [item["views"] for item in items if "views" in item]
    facts = [{name: value for name, value in item.items() if name != "views"} for item in items]
    return facts, torch.stack(views) if views else None
