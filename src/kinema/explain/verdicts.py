"""Verdicts: whether a method can be believed on one network, kept in the card of its recognizer."""

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
"""Rank correlation with the map of the randomised network from which on a map counts as unchanged.

A guess, set on a small trial of `benchmarks/puppets_explain.py` (one seed, 24 clips of 64 pixels): class activation and
Grad-CAM came out at -0.3 to 0.2, tubes at 0.2 (STM-18) and 0.6 (r3d-34), a map that ignores the weights at 1.
"""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one method for one network.

    Attributes:
        method: its name.
        layer: that it looked at; None where it needs none.
        reasons: why it is not to be believed, one short sentence each; empty where it passed.
        gain: insertion minus deletion, mean over the clips.
        over_random: gain over the random map, lower end of the interval.
        over_centre: gain over the centre bias, lower end of the interval.
        untrained: rank correlation with the map of the randomised network, mean over the clips.
        other_class: rank correlation with the map of another class, mean over the clips.
        clips: how many it was measured on.
        data: name of the data set.
        network: what tells whether the network is still the same, see `fingerprint`.
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
        """Nothing speaks against the method."""
        return not self.reasons

    @property
    def text(self) -> str:
        """The verdict as one sentence."""
        if self.passed:
            return f"passed on {self.clips} clips of {self.data}"
        return f"not to be trusted here: {'; '.join(self.reasons)} ({self.clips} clips of {self.data})"


def judge(method: str, layer: str | None, row: Row, sanity: Sanity, *, clips: int, data: str, network: str) -> Verdict:
    """The verdict on a method.

    It passes where insertion minus deletion is above that of the random map and above that of the centre bias, zero
    being outside both 95 % intervals, and where the map changes when the weights are randomised: its rank correlation
    with the map of the randomised network is below `MOST_UNTRAINED`.

    Args:
        method: its name.
        layer: that it looked at.
        row: what `faithfulness` measured.
        sanity: what `sanity` measured.
        clips: how many there were.
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
    """Tells networks apart whose classifiers differ, as those of every other training do; 16 hexadecimal digits.

    Conversion to bfloat16 does not change it.
    """
    digest = hashlib.sha256()
    for tensor in model.get_submodule("classifier").state_dict().values():
        digest.update(tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:16]


def store(source: str | Path, verdicts: Mapping[str, Verdict]) -> Path:
    """Writes verdicts into the card of a recognizer; those of other methods stay.

    Args:
        source: the recognizer, as for `Recognizer.load`, but on the disk.
        verdicts: name of the method -> verdict.

    Returns:
        The card.

    Raises:
        KinemaError: a recognizer of the hub, or one that is not there.
        RunError: the card cannot be written.
    """
    card = require_own_card(source)
    add_to_card(card, VERDICTS, {name: asdict(verdict) for name, verdict in verdicts.items()})
    return card


def require_own_card(source: str | Path) -> Path:
    """The card of a recognizer into which verdicts can be written.

    Raises:
        KinemaError: a recognizer of the hub, or one that is not there.
    """
    if str(source).startswith(HUB):
        raise KinemaError(
            f"{source}: verdicts are written to the card, but a card on the hub cannot be changed; save the "
            "recognizer to a folder first"
        )
    return find_folder(source) / CARD


def read_verdict(card: Mapping[str, Any], model: nn.Module, method: str, layer: str | None) -> Verdict | None:
    """The verdict on a method that a card holds for this network and layer.

    Args:
        card: the further entries of a card, `Recognizer.card`.
        model: the network.
        method: name.
        layer: that the method looks at.

    Returns:
        None where there is none, also where the network was trained further since, or another layer was checked.
    """
    held = card.get(VERDICTS)
    entry = held.get(method) if isinstance(held, Mapping) else None
    if not isinstance(entry, Mapping) or entry.get("layer") != layer or entry.get("network") != fingerprint(model):
        return None
    try:
        return Verdict(**{**entry, "reasons": tuple(entry["reasons"])})
    except (TypeError, KeyError):  # of another version
        return None


def read_verdicts(card: Mapping[str, Any], model: nn.Module) -> list[Verdict]:
    """All verdicts that a card holds for this network, as `read_verdict` reads them."""
    held = card.get(VERDICTS)
    entries = held.items() if isinstance(held, Mapping) else ()
    found = [
        read_verdict(card, model, method, entry.get("layer")) for method, entry in entries if isinstance(entry, Mapping)
    ]
    return [verdict for verdict in found if verdict is not None]


def warning(card: Mapping[str, Any], model: nn.Module, method: str, layer: str | None) -> str | None:
    """Why a method is not to be believed, as its pictures have to say; None where it passed or was not checked."""
    verdict = read_verdict(card, model, method, layer)
    return None if verdict is None or verdict.passed else verdict.text
