"""The description of an exported file: labels, clips, inputs, outputs and the state of a stream.

The same text is stored in the metadata of the file and, for programs in other languages, in `FILE.json` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kinema.card import Schema, misshapen
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError
from kinema.text import parse_json

KEY = "kinema"  # key of the metadata
FORMAT = 1
_SHAPE: Schema = {
    "format": int, "to": str, "architecture": {"name": str, "options": {}}, "labels": list, "clip": {},
    "preprocessing": bool, "input": {"name": str, "dtype": str, "shape": list},
    "output": {"name": str, "dtype": str, "shape": list}, "initial_state": list, "more": {},
}  # fmt: skip


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: its name in the file.
        dtype: `float32`, `uint8` or `int64`.
        shape: sizes; None if any size may be given.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class StatePort:
    """A part of the state of a stream, which is all zeros before the first frame.

    Attributes:
        name: its name in the network.
        input: name of the input in the file.
        output: name of the output in the file, which is the input of the next call.
        dtype: `float32` or `int64`.
        shape: sizes; the first one, the number of streams, is None.
    """

    name: str
    input: str
    output: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Description:
    """The description of an exported file.

    Attributes:
        to: the format, `onnx`, `openvino` or `torch`.
        architecture: name and options of the network.
        labels: one per output.
        clip: clip specification.
        preprocessing: whether the input is pixels (uint8 RGB), which the file normalises itself.
        input: the clips, or the frames of streams.
        output: the logits, N K; for a stream N t K, one row per frame.
        frames: smallest and largest number of frames of the input; the latter is None if there is no limit.
        initial_state: additional inputs of a network that is exported for streams; empty for clips.
        more: additional entries of the recognizer's card.
    """

    to: str
    architecture: dict[str, Any]
    labels: tuple[str, ...]
    clip: ClipSpec
    preprocessing: bool
    input: Port
    output: Port
    frames: tuple[int, int | None]
    initial_state: tuple[StatePort, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def time_axis(self) -> int:
        """The time dimension of the input."""
        return 1 if self.preprocessing else 2

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, with the version of the format."""
        return {"format": FORMAT, **asdict(self), "clip": self.clip.to_dict()}

    @classmethod
    def from_text(cls, text: str, path: Path) -> Description:
        """Reads the JSON of `to_dict`.

        Args:
            text: JSON.
            path: the file that contains it, for messages.

        Raises:
            KinemaError: it is not such a description, or has a newer format.
        """
        again = "export the recognizer again with kinema export"
        try:
            values = parse_json(text)
        except ValueError as error:
            raise KinemaError(f"{path}: its description is damaged ({error}); {again}") from error
        if not isinstance(values, Mapping) or not all(key in values for key in _SHAPE):
            raise KinemaError(f"{path}: its description is incomplete; {again}")
        if (wrong := misshapen(values, _SHAPE)) is not None:
            raise KinemaError(f"{path}: {wrong!r} in its description is not a value that kinema export writes; {again}")
        if values["format"] > FORMAT:
            raise KinemaError(
                f"{path}: it was exported by a newer version of Kinema (format {values['format']}): update Kinema"
            )
        try:
            ports = {key: Port(**_tuple(values[key])) for key in ("input", "output")}
            state = tuple(StatePort(**_tuple(entry)) for entry in values["initial_state"])
            low, high = values["frames"]
            return cls(
                values["to"], dict(values["architecture"]), tuple(map(str, values["labels"])),
                ClipSpec.from_dict(values["clip"]), values["preprocessing"], **ports,
                frames=(int(low), None if high is None else int(high)), initial_state=state, more=dict(values["more"]),
            )  # fmt: skip
        except (TypeError, ValueError, KeyError) as error:  # the KinemaError of an invalid clip is a ValueError
            raise KinemaError(f"{path}: its description is damaged ({error}); {again}") from error


def _tuple(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, "shape": tuple(values["shape"])}
