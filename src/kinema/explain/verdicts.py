"""Verdicts: whether a method can be trusted on one network, stored in the card of its recognizer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinema.card import CARD, add_to_card
from kinema.errors import KinemaError
from kinema.explain.faithful import Row
from kinema.explain.sanity import Sanity
from kinema.weights.hub import HUB
from kinema.weights.saved import find_folder

VERDICTS = "verdicts"  # the entry of the card

MOST_UNTRAINED = 0.5
"""Smallest rank correlation with the map of the randomised network at which a map counts as unchanged.

A guess, set on a small trial of `benchmarks/puppets_explain.py` (one seed, 24 clips of 64 pixels): class activation and
Grad-CAM came out at -0.3 to 0.2, tubes at 0.2 (STM-18) and 0.6 (r3d-34), a map that ignores the weights at 1.
"""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one method for one network.

    Attributes:
        method: its name.
        layer: the explained layer; None if it needs none.
        reasons: why it cannot be trusted, one short sentence each; empty if it passed.
        gain: insertion minus deletion, mean over the clips.
        over_random: gain over the random map, lower end of the interval.
        over_centre: gain over the centre bias, lower end of the interval.
        untrained: rank correlation with the map of the randomised network, mean over the clips.
        other_class: rank correlation with the map of another class, mean over the clips.
        clips: number of clips of the measurement.
        data: name of the data set.
        network: `fingerprint` of the network, which shows whether it is still the same.
    """

    method: str
    layer: str | None
    reasons: tuple[str, ...]
    gain: float
    over_random: float
    over_centre: float
    untrained: float
    other_class: float
    clips: int
    data: str
    network: str

    @property
    def passed(self) -> bool:
        """True if the method passed all checks."""
        return not self.reasons

    @property
    def text(self) -> str:
        """Returns the verdict as one sentence."""
        if self.passed:
            return f"passed on {self.clips} clips of {self.data}"
        return f"not to be trusted here: {'; '.join(self.reasons)} ({self.clips} clips of {self.data})"


def judge(method: str, layer: str | None, row: Row, sanity: Sanity, *, clips: int, data: str, network: str) -> Verdict:
    """Judges a method.

    It passes if two conditions hold. Insertion minus deletion is above that of the random map and that of the centre
    bias, with zero outside both 95 % intervals. The map changes when the weights are randomised: its rank correlation
    with the map of the randomised network is below `MOST_UNTRAINED`.

    Args:
        method: its name.
        layer: the explained layer.
        row: its figures from `faithfulness`.
        sanity: its correlations from `sanity`.
        clips: number of clips.
        data: name of the data set.
        network: its `fingerprint`.

    Raises:
        KinemaError: the row is that of a control.
    """
    if row.over_random is None or row.over_centre is None:
        raise KinemaError(f"{method}: a control has no verdict; give the row of a method")
    untrained = sanity.untrained.mean
    reasons = []
    if row.over_random.low <= 0:
        reasons.append("is no better than a random map")
    if row.over_centre.low <= 0:
        reasons.append("is no better than a spot in the centre")
    if untrained >= MOST_UNTRAINED:
        reasons.append(f"hardly depends on the weights (rank correlation {untrained:.2f})")
    return Verdict(
        method, layer, tuple(reasons), row.gain.mean, row.over_random.low, row.over_centre.low, untrained,
        sanity.other_class.mean, clips, data, network,
    )  # fmt: skip


def fingerprint(model: nn.Module) -> str:
    """Returns 16 hexadecimal digits that identify a network by its classifier, which differs in every training.

    Conversion to bfloat16 does not change it.
    """
    digest = hashlib.sha256()
    for tensor in model.get_submodule("classifier").state_dict().values():
        digest.update(tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]


def store(source: str | Path, verdicts: Mapping[str, Verdict]) -> Path:
    """Writes verdicts to the card of a recognizer; those of other methods are kept.

    Args:
        source: a recognizer on disk, as for `Recognizer.load`.
        verdicts: name of the method -> verdict.

    Returns:
        The card.

    Raises:
        KinemaError: the recognizer is on the hub, or does not exist.
        RunError: the card cannot be written.
    """
    card = require_own_card(source)
    add_to_card(card, VERDICTS, {name: asdict(verdict) for name, verdict in verdicts.items()})
    return card


def require_own_card(source: str | Path) -> Path:
    """Returns the card of a recognizer to which verdicts can be written.

    Raises:
        KinemaError: the recognizer is on the hub, or does not exist.
    """
    if str(source).startswith(HUB):
        raise KinemaError(
            f"{source}: verdicts are written to the card, but a card on the hub cannot be changed; save the "
            "recognizer to a folder first"
        )
    return find_folder(source) / CARD


def read_verdict(card: Mapping[str, Any], model: nn.Module, method: str, layer: str | None) -> Verdict | None:
    """Returns the verdict on a method in a card, for this network and layer.

    Args:
        card: the additional entries of a card, `Recognizer.card`.
        model: the network.
        method: its name.
        layer: the layer that the method explains.

    Returns:
        The verdict; None if there is none, if the network was trained further since, or if another layer was checked.
    """
    held = card.get(VERDICTS)
    entry = held.get(method) if isinstance(held, Mapping) else None
    if not isinstance(entry, Mapping) or entry.get("layer") != layer or entry.get("network") != fingerprint(model):
        return None
    try:
        return Verdict(**{**entry, "reasons": tuple(entry["reasons"])})
    except (TypeError, KeyError):  # written by another version
        return None


def read_verdicts(card: Mapping[str, Any], model: nn.Module) -> list[Verdict]:
    """Returns all verdicts in a card for this network, as `read_verdict` reads them."""
    held = card.get(VERDICTS)
    entries = held.items() if isinstance(held, Mapping) else ()
    found = [
        read_verdict(card, model, method, entry.get("layer")) for method, entry in entries if isinstance(entry, Mapping)
    ]
    return [verdict for verdict in found if verdict is not None]


def warning(card: Mapping[str, Any], model: nn.Module, method: str, layer: str | None) -> str | None:
    """Returns why a method cannot be trusted, for its pictures; None if it passed or was not checked."""
    verdict = read_verdict(card, model, method, layer)
    return None if verdict is None or verdict.passed else verdict.text
