"""The options of networks, read from the annotations, defaults and docstrings of their builders."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from kinema.errors import KinemaError, unknown
from kinema.ops.arguments import Count, Range, rule_of


@dataclass(frozen=True)
class Option:
    """One keyword argument of a network.

    Attributes:
        name: name of the argument.
        type: its type, such as `int`, `float | None` or the allowed values `sum | concat`.
        default: its default value.
        about: its meaning.
    """

    name: str
    type: str
    default: Any
    about: str

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)


def describe_options(build: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> list[Option]:
    """Returns the options of a builder.

    Args:
        build: its annotations and docstring give type and meaning of each option.
        parameters: the parameters that a caller may give.
    """
    hints, texts = get_type_hints(build), argument_texts(build)
    return [
        Option(name, type_text(hints[name]), parameter.default, texts.get(name, ""))
        for name, parameter in parameters.items()
    ]


def argument_texts(documented: Any) -> dict[str, str]:
    """Returns the description of each argument in the docstring of a function or class."""
    import docstring_parser  # imported only when options are listed

    parsed = docstring_parser.parse(documented.__doc__ or "").params
    return {p.arg_name: " ".join((p.description or "").split()) for p in parsed}


# Options of every network, with their bounds.
_COMMON: dict[str, Any] = {
    "frames": Count,
    "width": Annotated[float, Range(0, 16, above=True)],
    "dropout": Annotated[float, Range(0, 1, below=True)],
}


def check_options(build: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Checks values against the annotations of a builder, by the rules of `kinema.ops.arguments`.

    Lists and mappings are checked by the builder, whose messages are more specific.

    Args:
        build: function with an annotated parameter for each key of `given`.
        given: option -> value.

    Returns:
        The options, with numbers of other libraries converted to Python's own, so that a card can contain them.

    Raises:
        KinemaError: a value has the wrong type, is out of bounds, or is not one of the allowed values.
    """
    hints = {**_hints(build), **_COMMON}
    return {key: check_option(key, value, hints[key]) for key, value in given.items()}


def check_option(key: str, value: Any, hint: Any) -> Any:
    """Checks one value against an annotation and returns it, numbers as Python numbers.

    Raises:
        KinemaError: the value has the wrong type, is out of bounds, or is not one of the allowed values.
    """
    if _is_collection(hint):
        return value
    fits, wanted = rule_of(hint)
    if fits(value):
        return _plain(value)
    if get_origin(hint) is Literal:
        raise unknown(f"value of {key}", str(value), [str(choice) for choice in get_args(hint)])
    raise KinemaError(f"{key} is {value!r}: give {wanted}")


def accepts(hint: Any, value: Any) -> bool:
    """True if a value has an annotated type; a `bool` is not a number, an `int` is a `float`, a `str` is not a list."""
    return rule_of(hint)[0](value)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def type_text(hint: Any) -> str:
    """Formats an annotation as written in Python, or as its allowed values if it has some."""
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


def _is_collection(hint: Any) -> bool:
    return any(get_origin(part) in (Sequence, Mapping) for part in (hint, *get_args(hint)))


@cache
def _hints(build: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(build, include_extras=True)
