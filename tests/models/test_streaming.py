"""Networks that stream: chunks of any length give what the whole clip gives."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.models import create_model, list_models
from kinema.models.frame_model import FrameModel

SIZE, CLASSES = 32, 5
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("tsm_r18", {}),
    ("tsm_r50", {}),
    ("tsm_efficientnet_lite0", {}),
    ("stm_r18", {}),
    ("stm_r18", {"replace": "both", "fuse": "concat"}),
    ("stm_r18", {"mode": "cstm", "temporal": "ordinary", "replace": "both"}),
    ("stm_r18", {"mode": "cmm", "stride_at": "reduce"}),
    ("stm_r18", {"blocks": "four"}),
    ("stm_r50", {}),
]


def network(name: str, **options: Any) -> FrameModel:
    """A small network in which every operator has an effect and BatchNorm is not the identity."""
    torch.manual_seed(0)
    if name.startswith("stm"):
        options = {"zero_restore": False, **options}
    model = create_model(name, num_classes=CLASSES, width=0.125, dropout=0.0, **options).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.4, 0.8)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
    nn.init.normal_(model.classifier.weight, std=0.3)
    return model


def clip(streams: int = 2, frames: int = 24, seed: int = 1) -> Tensor:
    return torch.randn(streams, 3, frames, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def offline(model: FrameModel, x: Tensor) -> Tensor:
    """The logits of every frame of a clip, N T K."""
    with torch.no_grad():
        return model.classifier(model.pool_frames(model.forward_features(x)))


def streamed(model: FrameModel, x: Tensor, chunks: list[int]) -> Tensor:
    """The same by `step`, the frames that `flush` gives included."""
    assert sum(chunks) == x.shape[2]
    state = model.initial_state(len(x), size=SIZE, delayed=True)
    found = []
    with torch.no_grad():
        for chunk in x.split(chunks, 2):
            logits, state = model.step(chunk, state)
            found.append(logits)
        found.append(model.flush(state)[0])
    whole = torch.cat(found, 1)
    assert whole[:, : model.delay].isnan().all()  # of the frames before the first one
    return whole[:, model.delay :]


def close(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and bool((found - expected).abs().max() < 1e-4 * max(1, expected.abs().max()))


@pytest.mark.parametrize(("name", "options"), NETWORKS)
@pytest.mark.parametrize("causal", [True, False])
def test_frame_by_frame_is_the_whole_clip(name: str, options: dict[str, Any], causal: bool) -> None:
    model, x = network(name, causal=causal, **options), clip()
    blocks = {"tsm_r18": 8, "tsm_r50": 16, "tsm_efficientnet_lite0": 9, "stm_r18": 8, "stm_r50": 16}[name]
    if options.get("replace") == "both":
        blocks *= 2
    assert model.delay == (0 if causal else 4 if options.get("blocks") == "four" else blocks)
    expected = offline(model, x)
    assert close(streamed(model, x, [1] * 24), expected)
    if causal:
        with torch.no_grad():
            assert close(expected.mean(1), model(x))


@pytest.mark.parametrize("causal", [True, False])
@given(cuts=st.sets(st.integers(1, 63)), seed=st.integers(0, 9))
@settings(max_examples=12, deadline=None)
def test_chunks_of_any_length(causal: bool, cuts: set[int], seed: int) -> None:
    model, x = network("stm_r18", causal=causal), clip(1, 64, seed)
    lengths = [b - a for a, b in pairwise([0, *sorted(cuts), 64])]
    assert close(streamed(model, x, lengths), offline(model, x))


def test_no_frame_depends_on_a_later_one() -> None:
    model, x = network("stm_r18", causal=True), clip()
    changed = x.clone()
    changed[:, :, 10:] += 1
    before, after = streamed(model, x, [24]), streamed(model, changed, [24])
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])


def test_streams_join_leave_and_go_on_in_another_place() -> None:
    """A stream that is three frames old and a new one in one batch, saved, loaded, and taken apart again."""
    model, (a, b) = network("stm_r18", causal=True), (clip(1, 9, 1), clip(1, 6, 2))
    alone = [streamed(model, x, [1] * x.shape[2]) for x in (a, b)]
    with torch.no_grad():
        first, old = model.step(a[:, :, :3], model.initial_state(1, size=SIZE))
        new = model.initial_state(1, size=SIZE)
        both = {key: torch.cat([old[key], new[key]]) for key in old}
        assert old.keys() == new.keys()
        kept = {key: value.clone() for key, value in both.items()}
        file = io.BytesIO()
        torch.save(both, file)
        file.seek(0)
        again = torch.load(file, weights_only=True)
        together, after = model.step(torch.cat([a[:, :, 3:7], b[:, :, :4]]), both)
        assert torch.equal(together, model.step(torch.cat([a[:, :, 3:7], b[:, :, :4]]), again)[0])
        assert all(torch.equal(both[key], kept[key]) for key in kept)  # a step leaves its state alone
        left, _ = model.step(b[:, :, 4:], {key: value[1:] for key, value in after.items()})
        last, _ = model.step(a[:, :, 7:], {key: value[:1] for key, value in after.items()})
    assert close(torch.cat([first, together[:1], last], 1), alone[0])
    assert close(torch.cat([together[1:], left], 1), alone[1])


def test_a_long_stream_does_not_drift_and_its_state_does_not_grow() -> None:
    model = network("stm_r18", causal=True)
    state, size = model.initial_state(1, size=SIZE), None
    x = clip(1, 600, 3)
    with torch.no_grad():
        for i in range(0, 600, 4):
            logits, state = model.step(x[:, :, i : i + 4], state)
            now = {key: value.shape for key, value in state.items()}
            assert size is None or now == size
            size = now
        # One frame is remembered by each operator, so that a clip which begins earlier gives the same at its end.
        assert close(logits, offline(model, x[:, :, -40:])[:, -4:])
    assert all(value.untyped_storage().nbytes() <= value.nbytes for value in state.values())


def test_half_precision_and_training_mode() -> None:
    model = network("stm_r18", causal=True).bfloat16()
    x = clip(1, 4).bfloat16()
    with torch.no_grad():
        logits, _ = model.step(x, model.initial_state(1, size=SIZE))
    assert logits.dtype == torch.bfloat16
    assert logits.isfinite().all()
    model.train()
    model.initial_state(1, size=SIZE)
    assert model.training


@pytest.mark.parametrize("backbone", ["r2d_50", "tsn_r18"])
@pytest.mark.parametrize(
    "options", [{"direction": "uni"}, {"direction": "bi", "fusion": "channels"}, {"head": "flatten"}]
)
def test_cidc_classifies_the_window_that_ends_with_each_frame(backbone: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = create_model(
        "cidc", num_classes=CLASSES, width=0.125, frames=4, backbone=backbone, dropout=0.0, **options
    ).eval()
    assert model.window == 4
    x = clip(2, 9)
    padded = torch.cat([x[:, :, :1].expand(-1, -1, 3, -1, -1), x], 2)
    with torch.no_grad():
        expected = torch.stack([model(padded[:, :, i : i + 4]) for i in range(9)], 1)
        for chunks in ([1] * 9, [2, 6, 1], [9]):
            state, found = model.initial_state(2, size=SIZE), []
            for chunk in x.split(chunks, 2):
                logits, state = model.step(chunk, state)
                found.append(logits)
            assert close(torch.cat(found, 1), expected)
            assert state["layer4"].shape[2] == 4


def test_cidc_has_no_delayed_mode() -> None:
    model = create_model("cidc", num_classes=2, width=0.125, backbone="tsn_r18")
    with pytest.raises(KinemaError, match="cidc has no delayed mode"):
        model.initial_state(1, delayed=True)


def test_frozen_batchnorm_stays_frozen_where_a_network_that_is_trained_makes_a_state() -> None:
    model = network("tsm_r18", causal=True).train()
    model.stem.bn.eval()
    model.initial_state(1, size=SIZE)
    assert model.training and not model.stem.bn.training


def test_cidc_on_a_backbone_that_sees_time_says_how_else() -> None:
    model = create_model("cidc", num_classes=2, width=0.125, backbone="tsm_r18", backbone_options={"causal": True})
    with pytest.raises(KinemaError, match=r"cidc cannot stream on tsm_r18.*r2d_50 or tsn_r50.*sliding windows"):
        model.initial_state(1)


STREAMING = {name for name in list_models() if name.startswith(("tsn", "tsm", "stm"))}


@pytest.mark.parametrize("name", list_models())
def test_every_network_streams_or_says_how_else(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=2, width=0.125)
    if name.startswith(("tsn", "cidc_r2d_50", "cidc_r2d_101")) and "nl" not in name:
        assert model.initial_state(1, size=SIZE)["seen"].shape == (1,)
        return
    with pytest.raises(KinemaError, match=name) as refused:
        model.initial_state(1)
    assert "sliding windows" in str(refused.value)
    assert "causal=True" in str(refused.value)
    if name.startswith("cidc"):
        return
    if name in STREAMING:
        assert "delayed=True" in str(refused.value)
    else:
        with pytest.raises(KinemaError, match="sliding windows"):
            model.step(torch.zeros(1, 3, 1, 8, 8), {})


def test_bad_frames_and_states_are_one_sentence() -> None:
    model = network("tsm_r18", causal=True)
    state = model.initial_state(2, size=SIZE)
    for frames, words in (
        (torch.zeros(2, 3, 1, 48, 32), "48x32"),
        (torch.zeros(3, 3, 1, SIZE, SIZE), "2 streams"),
        (torch.zeros(2, 3, 0, SIZE, SIZE), "at least one frame"),
        (torch.zeros(2, 3, SIZE, SIZE), "N 3 T H W"),
    ):
        with pytest.raises(KinemaError, match=words):
            model.step(frames, state)
    with pytest.raises(KinemaError, match="'seen'"):
        model.step(torch.zeros(2, 3, 1, SIZE, SIZE), {})
    with pytest.raises(KinemaError, match="batch is 0"):
        model.initial_state(0)
    model.reset_classifier(0)
    with pytest.raises(KinemaError, match="num_classes is 0"):
        model.initial_state(1)
    regularised = create_model("tsn_r18", num_classes=2, width=0.125, class_regularisation=[0.9, 0.8, 0.7, 0.6])
    with pytest.raises(KinemaError, match="class_regularisation"):
        regularised.initial_state(1)
