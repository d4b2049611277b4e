"""A dictionary of networks: a family registers its names with a decorator, `create_model` builds a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any, Protocol, TypeVar

import kinema
from kinema.errors import KinemaError, unknown
from kinema.models.class_regularisation import regularise
from kinema.models.options import Option, check_options, describe_options
from kinema.models.video_model import VideoModel, check_num_classes
from kinema.text import matching_names


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Attributes:
        name: name for `create_model`.
        build: builds the network from keyword arguments.
        preset: arguments that the name fixes.
        paper: the source, in short.
    """

    name: str
    build: Callable[..., VideoModel]
    preset: Mapping[str, Any]
    paper: str

    def options(self) -> dict[str, inspect.Parameter]:
        """The keyword arguments that a caller may give, with their defaults."""
        return {k: p for k, p in inspect.signature(self.build).parameters.items() if k not in self.preset}


# Options that `create_model` adds to every network.
EVERYWHERE = ("class_regularisation", "class_regularisation_bounds", "class_regularisation_choice")
_CHOICES = {EVERYWHERE[1]: "shrink", EVERYWHERE[2]: "sum"}  # options of class_regularisation, with their defaults

# Previous defaults of a family, by a pattern of its names. A card of format 1 contains only the options that were
# given, so that its network is built with these defaults.
_FORMER: dict[str, dict[str, Any]] = {"srtg_*": {"gate": "none", "fusion": "mul", "compare": "state"}}

_ENTRIES: dict[str, Entry] = {}


class Resolver(Protocol):
    """Finds releases of weights for networks; see `set_resolver`."""

    def names(self) -> Collection[str]:
        """Returns the networks for which a release is known."""
        ...

    def load(self, name: str, release: str | None, options: Mapping[str, Any]) -> VideoModel:
        """Builds a network with the weights of a release.

        Args:
            name: name of the network.
            release: name of the release; None is the best known one.
            options: options for `create_model`.
        """
        ...


_RESOLVERS: list[Resolver] = []
_Build = TypeVar("_Build", bound=Callable[..., VideoModel])


def register(presets: Mapping[str, Mapping[str, Any]], *, paper: str) -> Callable[[_Build], _Build]:
    """Registers a builder of networks under several names, as a decorator.

    Args:
        presets: name -> keyword arguments that it fixes.
        paper: source of the network; `kinema models` prints it.

    Returns:
        The decorator; it returns the builder unchanged.
    """

    def add(build: _Build) -> _Build:
        for name, preset in presets.items():
            if name in _ENTRIES:
                raise ValueError(f"the model name {name!r} is registered twice")
            _ENTRIES[name] = Entry(name, build, preset, paper)
        return build

    return add


def find_model(name: str) -> Entry:
    """Returns the registry entry of a network.

    Args:
        name: one of `list_models()`.

    Returns:
        Its builder, preset arguments and paper.

    Raises:
        KinemaError: the name is unknown; the message suggests the nearest ones.
    """
    if name not in _ENTRIES:
        raise unknown("model", name, _ENTRIES)
    return _ENTRIES[name]


def describe(name: str) -> list[Option]:
    """Returns the options that `create_model` takes for a name: types, defaults and meanings.

    Returns:
        One entry per option, in the order of the arguments.

    Raises:
        KinemaError: the name is unknown.
    """
    entry = find_model(name)
    return [
        *describe_options(entry.build, entry.options()),
        Option(EVERYWHERE[0], "list[float] | None", None, "lambda of each stage, such as [0.9, 0.8, 0.7, 0.6]"),
        Option(
            EVERYWHERE[1],
            "shrink | symmetric",
            _CHOICES[EVERYWHERE[1]],
            "range of the gains of the channels: `shrink` is lambda to 1, `symmetric` lambda to 2 - lambda",
        ),
        Option(
            EVERYWHERE[2],
            "sum | max",
            _CHOICES[EVERYWHERE[2]],
            "how a class is chosen: by the `sum` or the `max` of the products of its weights and the features",
        ),
    ]


def former_defaults(name: str) -> dict[str, Any]:
    """Returns the previous values of options whose defaults have changed since cards of format 1 were written."""
    return next((dict(options) for pattern, options in _FORMER.items() if fnmatchcase(name, pattern)), {})


def set_resolver(resolver: Resolver) -> None:
    """Sets the object that `create_model(pretrained=…)` and `list_models(pretrained=True)` ask for releases."""
    _RESOLVERS[:] = [resolver]


def _resolver() -> Resolver:
    if not _RESOLVERS:
        import_module(kinema.RESOLVER)
    return _RESOLVERS[0]


def list_models(pattern: str = "*", pretrained: bool = False) -> list[str]:
    """Returns the registered names that match a shell pattern (`stm_*`), sorted.

    A pattern without wildcards matches names with a part that begins with it: `stm` does not match `lstm_head`, `50`
    matches `r3d_50`. If no name has such a part, it matches the names that contain it.

    Args:
        pattern: shell pattern.
        pretrained: only names for which a release of weights is known.

    Returns:
        Names for `create_model`.
    """
    found = matching_names(_ENTRIES, pattern)
    if not pretrained:
        return found
    known = set(_resolver().names())
    return [name for name in found if name in known]


def create_model(name: str, pretrained: bool | str = False, **options: Any) -> VideoModel:
    """Builds a network.

    Args:
        name: one of `list_models()`.
        pretrained: False starts from random weights. True uses a release of weights for this network: one that is
            installed or was fetched before, else it is fetched. A string is the name of a release (`kinema weights
            list`). The network then has the options and clip specification of the release. If `num_classes` is given
            and differs from the release's, the classifier is new.
        **options: checked against the builder of that name. Every network takes `num_classes` (0 gives the pooled
            embedding), `frames` (T that the network is built for; other lengths also work), `width` (a factor of all
            channels), `class_regularisation` (lambda of each stage), and with it `class_regularisation_bounds`
            (`shrink` or `symmetric`) and `class_regularisation_choice` (`sum` or `max`). `kinema.models.describe` lists
            the options of a name.

    Returns:
        A module that maps clips `N 3 T H W` to logits `N num_classes`. Its `architecture` records the name and the
        resolved options: those that were given, and the defaults of all others.

    Raises:
        KinemaError: the name or an option is unknown (the message suggests the nearest), a value is out of range, or
            there is no release for this network.
        RunError: the release cannot be fetched or does not fit.
    """
    if not isinstance(pretrained, bool | str) or pretrained == "":
        raise KinemaError(f"pretrained is {pretrained!r}: give True, False or the name of a release")
    if pretrained is not False:
        find_model(name)
        return _resolver().load(name, None if pretrained is True else pretrained, options)
    entry = find_model(name)
    known = entry.options()
    for key in options:
        if key not in known and key not in EVERYWHERE:
            raise unknown(f"option of {name}", key, [*known, *EVERYWHERE])
    check_num_classes(options.get("num_classes", 1))
    options |= check_options(entry.build, {key: value for key, value in options.items() if key in known})
    model = entry.build(**entry.preset, **{k: v for k, v in options.items() if k not in EVERYWHERE})
    strengths = options.get(EVERYWHERE[0])
    if strengths is not None:
        regularise(model, strengths, *(options.get(key, default) for key, default in _CHOICES.items()))
    for key in _CHOICES:
        if key in options and strengths is None:
            raise KinemaError(f"{key} needs {EVERYWHERE[0]}: give the strength of each stage")
    model.architecture = {"name": name, "options": _resolved(model, known, options)}
    return model


def _resolved(model: VideoModel, known: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns every option with its value, so that a later change of a default changes no saved network.

    If None means that the family chooses, the chosen value is returned.
    """
    found = {key: given.get(key, parameter.default) for key, parameter in known.items()}
    found[EVERYWHERE[0]] = given.get(EVERYWHERE[0])
    if found[EVERYWHERE[0]] is not None:
        found |= {key: given.get(key, default) for key, default in _CHOICES.items()}
    if found["frames"] is None:
        found["frames"] = model.clip_spec.frames
    return {**found, **model.resolved}
