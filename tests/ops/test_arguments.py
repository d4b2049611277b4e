"""Every argument of every public operator is checked when it is given, and the check costs next to nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinema import ops
from kinema.errors import KinemaError
from kinema.ops.arguments import ODD, Clips, Count, Range, checked

CLIP, SEQUENCE = torch.randn(2, 16, 6, 4, 4), torch.randn(2, 16, 6)
# What each operator needs, by name; all else has a default.
GIVEN: dict[str, dict[str, Any]] = {
    "CMM": {"channels": 16, "out_channels": 16},
    "CSTM": {"channels": 16, "out_channels": 16},
    "ClassRegularisation": {"classifier_features": 8, "channels": 16, "strength": 0.5},
    "DirectionalConv": {"channels": 16, "t_in": 6, "t_out": 3},
    "MTA": {"channels": 16},
    "MTConv": {"channels": 16, "out_channels": 16, "kernel": 3},
    "MotionExcitation": {"channels": 16},
    "NonLocal": {"channels": 16},
    "SqueezeRecursion": {"channels": 16},
    "TAM": {"channels": 16, "frames": 6},
    "cycle_consistent": {"a": SEQUENCE, "b": SEQUENCE},
    "select_frames": {"x": CLIP, "keep": 2},
    "soft_nearest": {"a": SEQUENCE, "b": SEQUENCE},
    "soft_pool": {"x": CLIP},
    "spatial_attention": {"x": CLIP},
    "temporal_shift": {"x": CLIP},
    "triplet_scores": {"v": SEQUENCE},
}
ALWAYS_WRONG = (None, "shfit", object(), float("nan"), float("inf"), -1, [], (1, "2", 3), {"a": 1}, torch.ones(2, 2))
WRONG = {
    "int": (*ALWAYS_WRONG, 0, 1.0, True, "3"),
    "float": (*ALWAYS_WRONG, True, "0.5", 0j),
    "bool": (*ALWAYS_WRONG, 0, 1, "no"),
    "str": (*ALWAYS_WRONG, True, 1),
    "Tensor": (*ALWAYS_WRONG, np.ones((2, 16, 6)), torch.randn(16, 6)),
    "tuple": (*ALWAYS_WRONG, (1, 2), (1, 2, 0), (1, 2, True), (1, 2, 2.0), (1, 2, 3, 4), "123", 0),
}


def kind(parameter: inspect.Parameter) -> str:
    for part, name in {"Tensor": "Tensor", "Clips": "Tensor", "Sequences": "Tensor", "riple": "tuple"}.items():
        if part in str(parameter.annotation):
            return name
    default = parameter.default
    if isinstance(default, bool | str | float | tuple):
        return type(default).__name__
    return "float" if parameter.name == "strength" else "int"


CASES = [
    (name, key, kind(parameter))
    for name in sorted(GIVEN)
    for key, parameter in inspect.signature(getattr(ops, name)).parameters.items()
]


def test_every_public_operator_is_here() -> None:
    operators = {name for name in ops.__all__ if hasattr(getattr(ops, name), "forward") or name in GIVEN}
    assert operators - {"Conv3d"} == set(GIVEN)


@pytest.mark.parametrize("name", GIVEN)
def test_right_arguments_pass(name: str) -> None:
    made = getattr(ops, name)(**GIVEN[name])
    parts = made if isinstance(made, tuple) else (made,)
    assert all(isinstance(part, nn.Module | Tensor) for part in parts)


@pytest.mark.parametrize(("name", "key", "kind"), CASES)
def test_a_wrong_argument_is_one_sentence_with_operator_argument_and_value(name: str, key: str, kind: str) -> None:
    operator = getattr(ops, name)
    by_position = [*inspect.signature(operator).parameters]
    for value in WRONG[kind]:
        with pytest.raises(KinemaError) as caught:
            operator(**{**GIVEN[name], key: value})
        message = str(caught.value)
        assert message.startswith(f"{name}: {key} is ") and "\n" not in message and len(message) < 250
        assert "give " in message or "choose from " in message
        if by_position.index(key) == 0:
            with pytest.raises(KinemaError, match=f"^{name}: {key} is "):
                operator(value, **{k: v for k, v in GIVEN[name].items() if k != key})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ops.CSTM(16, 16, init="shfit"), ["CSTM", "init", "shfit", "choose from 'shift', "]),
        (lambda: ops.CSTM(16, 16, init="Random"), ["CSTM", "init", "choose from 'random', "]),
        (lambda: ops.CSTM(16, 24, spatial="depthwise"), ["CSTM", "out_channels", "24", "16"]),
        (lambda: ops.ClassRegularisation(16, 16, 1.5), ["strength", "1.5", "from 0 to 1"]),
        (lambda: ops.ClassRegularisation(16, 16, 1, bounds="grow"), ["bounds", "grow", "shrink", "symmetric"]),
        (lambda: ops.temporal_shift(CLIP, 0), ["temporal_shift", "fold", "0"]),
        (lambda: ops.temporal_shift(CLIP, 1), ["temporal_shift", "fold", "1"]),
        (lambda: ops.MTConv(16, 16, (3, 2, 3)), ["MTConv", "kernel", "(3, 2, 3)", "odd"]),
        (lambda: ops.MTConv(16, 16, 3, delta=0), ["MTConv", "delta", "0", "above 0 and at most 1"]),
        (lambda: ops.MTConv(16, 16, 3, groups=5), ["MTConv", "groups", "5"]),
        (lambda: ops.NonLocal(16, attention="dot_product", scaled=True), ["NonLocal", "scaled", "dot_product"]),
        (lambda: ops.select_frames(CLIP, 5), ["select_frames", "keep", "5"]),
        (lambda: ops.triplet_scores(SEQUENCE[:, :, :2]), ["triplet_scores", "v", "3 frames"]),
        (lambda: ops.soft_nearest(SEQUENCE, SEQUENCE[:1]), ["soft_nearest", "b", "(2, 16, 6)"]),
    ],
)
def test_the_message_names_the_choices_the_nearest_first(call: Callable[[], object], words: list[str]) -> None:
    with pytest.raises(KinemaError) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


def test_numbers_of_other_libraries_and_lists_are_as_good() -> None:
    assert ops.temporal_shift(CLIP, np.int64(8)).shape == CLIP.shape
    assert ops.soft_pool(CLIP, [1, 2, 2]).shape == (2, 16, 6, 2, 2)
    assert ops.MTConv(16, 16, [3, 3, 3], torch.Size([1, 2, 2]))(CLIP).shape == (2, 16, 6, 2, 2)
    assert ops.ClassRegularisation(8, 16, np.float32(0.5)).strength == 0.5
    assert ops.ClassRegularisation(8, 16, Fraction(1, 2)).strength == 0.5
    assert ops.temporal_shift(CLIP, 1, causal=True).shape == CLIP.shape


def test_rules_follow_from_annotations() -> None:
    @checked
    def function(x: Tensor, share: Annotated[float, Range(0, 1)], odd: Annotated[int, ODD] | Literal["all"] = 1) -> str:
        return f"{share} {odd}"

    assert function(CLIP, 1) == "1 1"
    assert function(CLIP, share=0.0, odd="all") == "0.0 all"
    assert function.__name__ == "function" and list(inspect.signature(function).parameters) == ["x", "share", "odd"]
    for options in ({"share": 1.01}, {"share": 0.5, "odd": 2}, {"share": 0.5, "odd": "alls"}):
        with pytest.raises(KinemaError, match=list(options)[-1]):
            function(CLIP, **options)
    with pytest.raises(TypeError, match="no rule"):
        checked(_without_a_rule)


def _without_a_rule(x: dict[str, int]) -> None: ...


def test_compilers_and_exporters_see_nothing_of_it() -> None:
    class Shift(torch.nn.Module):
        def forward(self, x: Clips) -> Tensor:
            return ops.select_frames(ops.temporal_shift(x, 4), 2)[0]

    found = torch.compile(Shift(), backend="eager", fullgraph=True)(CLIP)
    assert torch.equal(found, Shift()(CLIP))
    frames = torch.export.Dim("frames", min=5, max=64)
    exported = torch.export.export(Shift(), (CLIP,), dynamic_shapes={"x": {2: frames}}, strict=False)
    assert torch.equal(exported.module()(CLIP), found)


def test_the_check_is_a_small_part_of_the_smallest_call() -> None:
    """Counted in Python calls, for a clock on a busy machine measures the machine."""
    import sys

    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    function: Callable[..., Tensor] = checked(_plain)
    sys.setprofile(count)
    try:
        function(CLIP, 8)
    finally:
        sys.setprofile(None)
    assert calls < 15


def _plain(x: Clips, fold: Count = 8) -> Tensor:
    return x
