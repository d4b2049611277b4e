"""Checks of arguments by their annotations: a wrong value raises an error of one sentence where it is given.

    Count = Annotated[int, Range(1)]
OddCount = Annotated[int, Range(1), ODD]
Unit = Annotated[float, Range(0, 1)]
Eps = Annotated[float, Range(0, 1, above=True, below=True)]

    @checked
    def temporal_shift(x: Clips, fold: Count = 8, causal: bool = False) -> Tensor: ...

A `bool` does not count as an `int`, a `float` is finite and may be given as an integer, a tuple may be given as a list.
An annotation without a rule is an error when the function is defined, so that no argument stays unchecked by accident.
The options of networks are checked by the same rules (`kinema.models.options`).
"""

from __future__ import annotations

import functools
import inspect
import math
import reprlib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from kinema.errors import KinemaError, nearest_first

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Range:
    """Bounds of a number.

    Attributes:
        low: the lower bound, which is allowed unless `above`.
        high: the upper bound, which is allowed unless `below`.
        above: True if values must be above `low`.
        below: True if values must be below `high`.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        reaches = self.low < value if self.above else self.low <= value
        return reaches and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        most = "" if self.high == math.inf else f"{'below' if self.below else 'at most'} {self.high:g}"
        if self.low == -math.inf:
            return most
        if not most:
            return f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        if self.above:
            return f"above {self.low:g} and {most}"
        return f"from {self.low:g} to {'below ' if self.below else ''}{self.high:g}"


@dataclass(frozen=True)
class Dims:
    """The dimensions of a tensor as letters, such as `N C T H W`."""

    letters: str

    @property
    def count(self) -> int:
        """The number of dimensions."""
        return len(self.letters.split())


ODD = "odd"

Count = Annotated[int, Range(1)]
OddCount = Annotated[int, Range(1), ODD]
Unit = Annotated[float, Range(0, 1)]
Eps = Annotated[float, Range(0, 1, above=True, below=True)]
Clips = Annotated[Tensor, Dims("N C T H W")]
Sequences = Annotated[Tensor, Dims("N C T")]
Triple = tuple[Count, Count, Count]

Rule = tuple[Callable[[Any], bool], str]  # a check of the value, and a description of valid values


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Checks the arguments of a function or of an `__init__` against their annotations at every call.

    Nothing is checked while a compiler or an exporter traces the function, because sizes are then symbols.

    Args:
        function: a function whose parameters except `self` are annotated with `bool`, `int`, `float`, `str`, `Tensor`,
            `Literal`, a tuple of fixed length, a union of these, or one of them in `Annotated` with `Range`, `ODD` or
            `Dims`.

    Returns:
        The function. It raises `KinemaError` that names the function, the argument, its value and valid values.
    """
    name = function.__qualname__.removesuffix(".__init__")
    written = {key: hint for key, hint in inspect.get_annotations(function).items() if key != "return"}
    hints = get_type_hints(types.SimpleNamespace(__annotations__=written), function.__globals__, include_extras=True)
    rules = [
        (place, key, *rule_of(hints[key]))
        for place, key in enumerate(inspect.signature(function).parameters)
        if (place, key) != (0, "self")
    ]

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if not torch.compiler.is_compiling():
            given = len(args)
            for place, key, is_right, wanted in rules:
                if place < given:
                    if not is_right(args[place]):
                        raise _error(name, key, args[place], wanted, hints[key])
                elif key in kwargs and not is_right(kwargs[key]):
                    raise _error(name, key, kwargs[key], wanted, hints[key])
        return function(*args, **kwargs)

    return wrapper


def rule_of(hint: Any) -> Rule:
    """Returns the rule of an annotation.

    Args:
        hint: a type that `checked` supports, or `None`, `Any`, `Sequence[type]` or `Mapping`.

    Returns:
        A check of a value, and a description of valid values; "" if the choices of a `Literal` describe them.

    Raises:
        TypeError: the annotation has no rule.
    """
    kind: Any = hint
    extras: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        kind, *more = get_args(hint)
        extras = tuple(more)
    origin, parts = get_origin(kind), get_args(kind)
    if kind is bool:
        return lambda value: isinstance(value, bool), "True or False"
    if kind is str:
        return lambda value: isinstance(value, str), "a string"
    if kind in (None, types.NoneType):
        return lambda value: value is None, "None"
    if kind is Any:
        return lambda value: True, "any value"
    if kind in (int, float):
        return _number(kind, extras)
    if kind is Tensor:
        dims = next((extra for extra in extras if isinstance(extra, Dims)), None)
        if dims is None:
            return lambda value: isinstance(value, Tensor), "a tensor"
        return lambda value: isinstance(value, Tensor) and value.ndim == dims.count, f"a tensor {dims.letters}"
    if origin is Literal:
        return lambda value: any(value is part or (type(value) is type(part) and value == part) for part in parts), ""
    if origin is tuple and parts and ... not in parts:
        return _tuple([rule_of(part) for part in parts])
    if origin is Sequence:
        fits, wanted = rule_of(parts[0])
        return (
            lambda value: _is_list(value) and all(map(fits, value)),
            f"a list, each {wanted or _choices('', parts[0])}",
        )
    if origin is Mapping:
        return lambda value: isinstance(value, Mapping), "names with values"
    if origin in (Union, types.UnionType):
        inner = [rule_of(part) for part in parts]
        offers = [wanted or _choices("", part) for part, (_, wanted) in zip(parts, inner, strict=True)]
        return lambda value: any(is_right(value) for is_right, _ in inner), ", or ".join(offers)
    raise TypeError(f"there is no rule to check an argument of type {hint}")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _tuple(inner: list[Rule]) -> Rule:
    def is_right(value: Any) -> bool:
        if not _is_list(value) or len(value) != len(inner):
            return False
        return all(fits(part) for (fits, _), part in zip(inner, value, strict=True))

    wanted = list(dict.fromkeys(wanted for _, wanted in inner))
    return is_right, f"{len(inner)} values, each {' / '.join(wanted)}"


def _number(kind: type, extras: Sequence[Any]) -> Rule:
    bounds = next((extra for extra in extras if isinstance(extra, Range)), Range())
    odd = ODD in extras
    wanted = f"{('an odd integer' if odd else 'an integer') if kind is int else 'a number'} {bounds}".rstrip()

    def is_integer(value: Any) -> bool:
        whole = type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))
        return whole and value in bounds and (not odd or value % 2 == 1)

    def is_number(value: Any) -> bool:
        real = type(value) is float or (isinstance(value, Real) and not isinstance(value, bool))
        return real and math.isfinite(value) and value in bounds

    return is_integer if kind is int else is_number, wanted


def _choices(value: object, hint: Any) -> str:
    parts = [str(part) for part in get_args(hint)]
    return f"choose from {', '.join(map(repr, nearest_first(str(value), parts)))}"


def _error(name: str, key: str, value: object, wanted: str, hint: Any) -> KinemaError:
    if isinstance(value, Tensor):
        told = f"a tensor of shape {tuple(value.shape)}"
    else:
        told = " ".join(reprlib.repr(value).split())
    return KinemaError(f"{name}: {key} is {told}; {f'give {wanted}' if wanted else _choices(value, hint)}")
