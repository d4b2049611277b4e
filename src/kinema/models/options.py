"""The options of networks, from the annotations, defaults and docstrings of their builders."""

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
    hints, texts = get_type_hints(build), argument_texts(build)
    return [
        Option(name, type_text(hints[name]), parameter.default, texts.get(name, ""))
        for name, parameter in parameters.items()
    ]


def argument_texts(documented: Any) -> dict[str, str]:
    """What the docstring of a function or class says of its arguments."""
    import docstring_parser  # only for a person who asks

    parsed = docstring_parser.parse(documented.__doc__ or "").params
    return {p.arg_name: " ".join((p.description or "").split()) for p in parsed}


# What every network takes, and within which bounds.
_COMMON: dict[str, Any] = {
    "frames": Count,
    "width": Annotated[float, Range(0, 16, above=True)],
    "dropout": Annotated[float, Range(0, 1, below=True)],
}


def check_options(build: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Checks values against the annotations of a builder, by the rules of `kinema.ops.arguments`.

    Lists and mappings are left to the builder, which says more.

    Args:
        build: has an annotated parameter for each key of `given`.
        given: option -> value.

    Returns:
        The options, numbers of other libraries as Python's own, so that a card can hold them.

    Raises:
        KinemaError: a value of another type, outside its bounds, or none of the allowed texts.
    """
    hints = {**_hints(build), **_COMMON}
    return {key: check_option(key, value, hints[key]) for key, value in given.items()}


def check_option(key: str, value: Any, hint: Any) -> Any:
    """Checks one value against an annotation; the value, as a number of Python where it is a number.

    Raises:
        KinemaError: a value of another type, outside its bounds, or none of the allowed texts.
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
    """Whether a value is of an annotated type; a `bool` is no number, an `int` is a `float`, a text is no list."""
    return rule_of(hint)[0](value)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


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


def _is_collection(hint: Any) -> bool:
    return any(get_origin(part) in (Sequence, Mapping) for part in (hint, *get_args(hint)))


@cache
def _hints(build: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(build, include_extras=True)
