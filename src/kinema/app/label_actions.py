"""What a visitor does in the tab Label: actions as the browser sends them, checked, then done in order."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.annotation.desk import LabelDesk
from kinema.card import Schema, misshapen
from kinema.errors import KinemaError
from kinema.text import parse_json, printable

_SHAPE: Schema = {"act": str, "video": str, "id": int, "label": str, "time": object, "number": object}
_AGAIN = "load the page again"


@dataclass(frozen=True)
class Action:
    """One key or button.

    Attributes:
        act: what to do.
        video: name of the video that was shown, as `name_of` gives it.
        id: counts the actions of a page, from 1.
        time: seconds from the first frame; None where no video is shown.
        label: a label; empty where the action needs none.
        number: a position from 0; None where the action needs none.
    """

    act: str
    video: str = ""
    id: int = 0
    time: float | None = None
    label: str = ""
    number: int | None = None


def read_actions(text: str) -> list[Action]:
    """Checks what a browser has sent.

    Args:
        text: a JSON list of objects with the fields of `Action`.

    Raises:
        KinemaError: it is something else.
    """
    try:
        values = parse_json(text)
    except ValueError as error:
        raise KinemaError(f"actions: they are not JSON ({error}); {_AGAIN}") from error
    if not isinstance(values, list):
        raise KinemaError(f"actions: they are not a list; {_AGAIN}")
    return [_action(value) for value in values]


def _action(value: object) -> Action:
    if not isinstance(value, Mapping) or "act" not in value:
        raise KinemaError(f"actions: one of them has no act; {_AGAIN}")
    unknown = next((str(key) for key in value if key not in _SHAPE), None)
    wrong = unknown or misshapen(value, _SHAPE)
    if wrong is not None:
        raise KinemaError(f"action {value['act']!r}: its field {wrong} is not what the page sends; {_AGAIN}")
    fields: dict[str, Any] = dict(value)
    for key in ("time", "number"):
        fields[key] = _number(str(value["act"]), key, value.get(key))
    number = fields["number"]
    if number is not None:
        if number != int(number):
            raise KinemaError(f"video, segment or suggestion {number!r}: give a whole number from 1 on")
        fields["number"] = int(number)
    return Action(**fields)


def _number(act: str, key: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise KinemaError(f"action {act!r}: its {key} is {value!r}, not a number; {_AGAIN}")
    return value


def name_of(desk: LabelDesk) -> str:
    """The open video as its visitor knows it: its path in the folder."""
    return printable(desk.video.removeprefix(str(desk.folder) + os.sep))


def perform(desk: LabelDesk, actions: Sequence[Action]) -> None:
    """Does actions in order; what follows one that cannot be done is left out.

    Args:
        desk: of the visitor.
        actions: from `read_actions`. One that marks or changes something is refused where another video is open than
            the one that its visitor saw.

    Raises:
        KinemaError: an action that cannot be done.
    """
    for action in actions:
        act = action.act
        if act in ("undo", "next", "previous"):
            getattr(desk, act)()
        elif act == "go_to":
            desk.go_to(_given(action))
        elif action.video != name_of(desk):
            raise KinemaError(f"{Path(desk.video).name}: it was opened after the key was pressed; press it again")
        elif act in ("start", "end"):
            if action.time is None:
                raise KinemaError(f"{Path(desk.video).name}: no picture of it is shown, so nothing can be marked in it")
            {"start": desk.mark_start, "end": desk.mark_end}[act](action.time)
        elif act == "label":
            desk.pick(action.label)
        elif act == "new":
            desk.add_label(action.label)
        elif act in ("accept", "correct", "edit", "remove"):
            getattr(desk, act)(_given(action))
        elif act == "clear":
            desk.clear_marks()
        else:
            raise KinemaError(f"action {act!r}: {_AGAIN}")


def _given(action: Action) -> int:
    if action.number is None:
        raise KinemaError("video, segment or suggestion: its number is missing; give a whole number from 1 on")
    return action.number
