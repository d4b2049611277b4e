"""The options of networks, from the annotations, defaults and docstrings of their builders."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kinema.errors import KinemaError, unknown


@dataclass(frozen=True)
class Option:
    """One keyword argument of a network.

    Attributes:
        name: of the argument.
        type: what it takes, such as `int`, `float | None` or the allowed texts `sum | concat`.
        default: its default value.
        about: what it means.
    """

    name: str
    type: str
    default: Any
    about: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def describe_options(build: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> list[Option]:
    """The options of a builder.

    Args:
        build: its annotations and its docstring say what each option takes and means.
        parameters: those that a caller may give.
    """
    hints, texts = _hints(build), argument_texts(build)
    return [
        Option(name, type_text(hints[name]), parameter.default, texts.get(name, ""))
        for name, parameter in parameters.items()
    ]


def argument_texts(documented: Any) -> dict[str, str]:
    """What the docstring of a function or class says of its arguments."""
    import docstring_parser  # only for a person who asks

    parsed = docstring_parser.parse(documented.__doc__ or "").params
    return {p.arg_name: " ".join((p.description or "").split()) for p in parsed}


def check_options(build: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Checks values against the annotations of a builder; lists and mappings are left to the builder, which says more.

    Args:
        build: has an annotated parameter for each key of `given`.
        given: option -> value.

    Raises:
        KinemaError: a value of another type, or none of the allowed texts.
    """
    hints = _hints(build)
    for key, value in given.items():
        hint = hints[key]
        if accepts(hint, value) or _is_collection(hint):
            continue
        if get_origin(hint) is Literal:
            raise unknown(f"value of {key}", str(value), [str(choice) for choice in get_args(hint)])
        raise KinemaError(f"{key} is {value!r}: give {_wanted(hint)}")


def accepts(hint: Any, value: Any) -> bool:
    """Whether a value is of an annotated type; a `bool` is no number, an `int` is a `float`, a text is no list."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if hint in (None, types.NoneType):
        return value is None
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin in (Union, types.UnionType):
        return any(accepts(part, value) for part in parts)
    if origin is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(accepts(parts[0], v) for v in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def type_text(hint: Any) -> str:
    """An annotation as it is written in Python; the allowed texts themselves where there are some."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (Union, types.UnionType):
        return " | ".join(type_text(part) for part in parts)
    if origin is Sequence:
        return f"list[{type_text(parts[0])}]"
    if origin is Mapping:
        return "dict"
    return "None" if hint in (None, types.NoneType) else str(getattr(hint, "__name__", hint))


_WORDS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _wanted(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_wanted(part) for part in parts)
    return "null" if hint in (None, types.NoneType) else _WORDS.get(hint, type_text(hint))


def _is_collection(hint: Any) -> bool:
    return any(get_origin(part) in (Sequence, Mapping) for part in (hint, *get_args(hint)))


@cache
def _hints(build: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(build)
