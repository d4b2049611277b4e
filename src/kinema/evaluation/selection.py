"""Check for a test on the split that selected the recognizer, whose figures would be too high."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kinema.card import SELECTION
from kinema.data.manifest import data_place
from kinema.errors import KinemaError


def described(card: Mapping[str, Any], data: str, split: str) -> dict[str, Any] | None:
    """Returns the entry of `metrics.json` about the selection of the tested recognizer.

    Args:
        card: additional entries of the recognizer's card.
        data: the tested data, as given.
        split: name of the split, or `all`.

    Returns:
        The entries of the training (`kept`, `epoch`, `split`, …) and `tested_on_it`, whether the test is on the split
        of the selection; None if there was no selection.
    """
    training = card.get("training")
    chosen = training.get(SELECTION) if isinstance(training, Mapping) else None
    if not isinstance(training, Mapping) or not isinstance(chosen, Mapping):
        return None
    config = training.get("config")
    own = config.get("data") if isinstance(config, Mapping) else None
    same_data = isinstance(own, str) and data_place(own) == data_place(data)
    chose = bool(chosen.get("selected")) and split in ("all", chosen.get("split"))
    return {**chosen, "tested_on_it": same_data and chose}


def sentence(chosen: object) -> str | None:
    """Describes which epoch of a training was tested; None if there was no selection."""
    if not isinstance(chosen, Mapping):
        return None
    how = "the best" if chosen.get("kept") == "best" else "the last"
    text = f"{how} of {chosen.get('epochs')} epochs (epoch {chosen.get('epoch')})"
    if chosen.get("selected"):
        text += f", selected by {chosen.get('figure')} on the split {chosen.get('split')!r}"
    return text + ("; TESTED ON THAT SPLIT, so the figures are too high" if chosen.get("tested_on_it") else "")


def require_other_split(chosen: Mapping[str, Any] | None, data: str, split: str, *, force: bool) -> None:
    """Rejects a test on the split that selected the recognizer, unless it is forced.

    Raises:
        KinemaError: the test is on that split, and `force` is not given.
    """
    if chosen is not None and chosen["tested_on_it"] and not force:
        of_all = ", which is part of 'all'," if split == "all" else ""
        raise KinemaError(
            f"{data}: the split {chosen.get('split')!r}{of_all} was used to select epoch {chosen.get('epoch')} of this "
            "recognizer, so its figures would be too high: give another --split, or give --force, which marks the "
            "result"
        )
