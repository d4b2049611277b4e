"""The options of all networks: what `kinema models NAME --options` tells of them, and what is no value of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser
import numpy as np
import pytest

from kinema.errors import KinemaError
from kinema.models import VideoModel, create_model, describe, find, list_models
from kinema.models.options import accepts
from kinema.ops.arguments import ODD, Range

BUILDERS = sorted({find(name).build for name in list_models()}, key=lambda build: build.__name__)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_options_are_explained_where_they_stand_and_closed_ones_name_every_value(
    build: Callable[..., VideoModel],
) -> None:
    fixed = set.intersection(*(set(entry.preset) for entry in map(find, list_models()) if entry.build is build))
    told = {p.arg_name: p.description or "" for p in docstring_parser.parse(build.__doc__ or "").params}
    for key, kind in get_type_hints(build).items():
        if key in fixed or key == "return":
            continue
        assert told[key]
        assert not told[key].startswith("see "), key  # a person at a terminal has no docstring of something else
        for value in get_args(kind) if get_origin(kind) is Literal else ():
            assert f"`{value}`" in told[key], (key, value)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_what_is_no_value_of_an_option_is_one_sentence(build: Callable[..., VideoModel]) -> None:
    name = next(name for name in list_models() if find(name).build is build)
    wrong: dict[str, tuple[Any, ...]] = {"dropout": (1, -0.1, "0.5", True, None)}
    for key, parameter in find(name).options().items():
        if isinstance(parameter.default, bool):
            wrong[key] = ("no", 1, None)
        elif get_origin(get_type_hints(build)[key]) is Literal:
            wrong[key] = ("nothing such", 1, None)
    for key, values in wrong.items():
        for value in values:
            with pytest.raises(KinemaError, match=key):
                create_model(name, num_classes=2, width=0.0625, **{key: value})


def test_types_are_told_and_checked_as_annotated() -> None:
    told = {option.name: option.type for option in describe("cidc")}
    assert told["backbone_options"] == "dict | None"
    assert told["units"] == "int | list[int]"
    assert told["stages"] == "list[str] | None"
    assert told["fusion"] == "time | channels | sum"
    for hint, right, wrong in (
        (int, (0, -3), (True, 1.0, "1", None)),
        (float, (1, 0.5), (True, "0.5", None, float("inf"), float("nan"))),
        (Annotated[float, Range(0, 1, above=True, below=True)], (0.5, 1e-5), (0, 1, 1.0, -1, True)),
        (Annotated[int, Range(1), ODD] | None, (None, 1, 3), (2, 0, -1, True, 1.0)),
        (int | None, (None, 4), (False, "4")),
        (Literal["a", 1], ("a", 1), ("b", True, 1.0, None, ["a"])),
        (Sequence[int], ((1, 2), [3], ()), ("12", 1, [1.0], None)),
        (int | Sequence[int], (1, [1]), ("1", [True])),
        (Mapping[str, Any] | None, ({}, None, {"a": 1}), (["a"], "a")),
    ):
        assert all(accepts(hint, value) for value in right), hint
        assert not any(accepts(hint, value) for value in wrong), hint


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("slowfast_50", {"alpha": "8"}, "alpha"),
        ("slowfast_50", {"fusion_taps": 7.0}, "fusion_taps"),
        ("resnext3d_50", {"groups": None}, "groups"),
        ("r3d_34", {"eps": "small"}, "eps"),
        ("r3d_34", {"time_strides": "1222"}, "time_strides"),
        ("mtnet_s", {"delta": "half"}, "delta"),
        ("mtnet_s", {"frames": True}, "frames"),
        ("stm_r18", {"low_scale": None}, "low_scale"),
        ("lstm_head", {"hidden": 2.5}, "hidden"),
        ("attention_head", {"backbone": None}, "backbone"),
        ("cidc", {"units": "two"}, "units"),
    ],
)
def test_a_value_of_another_type_is_one_sentence(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(KinemaError, match=told):
        create_model(name, num_classes=2, **options)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("stm_r18", {"reduction": 0}, "reduction is 0: give an integer of at least 1"),
        ("stm_r18", {"reduction": True}, "reduction is True"),
        ("tsm_r18", {"fold": 1}, "fold is 1: give an integer of at least 2"),
        ("tsm_efficientnet_lite0", {"fold": True}, "fold is True"),
        ("mtnet_s", {"layers": -1}, "layers is -1: give an integer of at least 0"),
        ("ir_csn_50", {"eps": 0.0}, "eps is 0.0: give a number above 0 and below 1"),
        ("r3d_34", {"eps": float("nan")}, "eps is nan"),
        ("r3d_50", {"residual_init": -0.5}, "residual_init is -0.5: give a number from 0 to 1"),
        ("r3d_50", {"stem_frames": 2}, "stem_frames is 2: give an odd integer"),
        ("slowfast_50", {"fusion_taps": 4}, "fusion_taps is 4: give an odd integer of at least 1, or None"),
        ("slowfast_50", {"temporal_blocks": -1}, "temporal_blocks is -1"),
        ("i3d_50", {"stem_stride": 3}, "stem_stride is 3: give an integer from 1 to 2"),
        ("lstm_head", {"hidden": 0}, "hidden is 0"),
        ("resnext3d_50", {"groups": 0}, "groups is 0"),
        ("tsn_r18", {"dropout": float("inf")}, "dropout is inf: give a number from 0 to below 1"),
        ("tsn_r18", {"width": 17}, "width is 17: give a number above 0 and at most 16"),
        ("tsn_r18", {"frames": 0}, "frames is 0: give an integer of at least 1"),
    ],
)
def test_bounds_stand_in_the_annotations(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(KinemaError) as caught:
        create_model(name, num_classes=2, **options)
    assert str(caught.value).startswith(told)


def test_numbers_of_other_libraries_become_plain_ones() -> None:
    model = create_model("tsm_r18", num_classes=2, width=np.float32(0.125), frames=np.int64(4), fold=np.int32(4))
    options = model.architecture["options"]
    assert (options["width"], options["frames"], options["fold"]) == (0.125, 4, 4)
    assert json.loads(json.dumps(options)) == options
