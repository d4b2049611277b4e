"""Networks whose kernels are laid out once: the same answers, in windows and frame by frame."""

from __future__ import annotations

import pytest
import torch

from kinema.backends.packing import Packed, for_steps, pack
from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.ops.conv import Conv2d
from kinema.ops.packing import no_packing

if no_packing() is not None:
    pytest.skip("PyTorch has no oneDNN here", allow_module_level=True)

NETWORKS = {
    "stm_r18": {"causal": True, "width": 0.25}, "tsm_r50": {"causal": True, "width": 0.125},
    "tsm_efficientnet_lite0": {"causal": True},
}  # fmt: skip


def network(name: str, **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = create_model(name, num_classes=5, frames=4, **{**NETWORKS[name], **changes})
    with torch.no_grad():  # statistics as after a training, so that folding has something to do
        for _ in range(3):
            model.train()(torch.randn(4, 3, 4, 64, 64))
    return model.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_of_the_copy_are_those_of_the_network(name: str) -> None:
    model = network(name)
    copy = for_steps(model, 64)
    assert copy is not model
    assert any(isinstance(part, Conv2d) and part.packed is not None for part in copy.modules())
    assert not any(isinstance(part, Conv2d) and part.packed is not None for part in model.modules())
    clip = torch.randn(1, 3, 6, 64, 64)
    with torch.inference_mode():
        expected, _ = model.step(clip, model.initial_state(1, size=64))
        state, rows = copy.initial_state(1, size=64), []
        for chunk in clip.split([1, 3, 2], 2):
            found, state = copy.step(chunk, state)
            rows.append(found)
    torch.testing.assert_close(torch.cat(rows, 1), expected, rtol=1e-4, atol=1e-4)


def test_a_delayed_stream_is_stepped_by_the_copy_too() -> None:
    model = network("stm_r18", causal=False)
    copy = for_steps(model, 64, delayed=True)
    assert copy is not model
    clip = torch.randn(1, 3, 12, 64, 64)
    results = []
    with torch.inference_mode():
        for one in (model, copy):
            first, state = one.step(clip, one.initial_state(1, size=64, delayed=True))
            results.append(torch.cat([first, one.flush(state)[0]], 1))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4, equal_nan=True)


def test_a_network_that_does_not_stream_says_so() -> None:
    with pytest.raises(KinemaError, match="stm_r18"):
        for_steps(network("stm_r18", causal=False), 64)


def test_a_network_in_double_precision_is_stepped_as_it_is() -> None:
    model = network("stm_r18").double()
    assert for_steps(model, 64) is model


def test_a_copy_that_is_wrong_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(copied: torch.nn.Module) -> int:
        with torch.no_grad():
            for part in copied.modules():
                if isinstance(part, Conv2d):
                    part.weight *= 1.02
        return pack(copied)

    monkeypatch.setattr("kinema.backends.packing.pack", wrong)
    model = network("stm_r18")
    assert for_steps(model, 64) is model


def test_windows_of_any_size_agree_with_the_network() -> None:
    model = network("stm_r18")
    clips = torch.randn(3, 3, 4, 64, 64)
    runner = Packed().build(model, clips)
    with torch.inference_mode():
        for x in (clips, clips[:1], torch.randn(2, 3, 4, 48, 80)):
            torch.testing.assert_close(runner(x), model(x), rtol=1e-4, atol=1e-4)


def test_gradients_do_not_go_through_packed_kernels() -> None:
    conv = Conv2d(3, 4, 3, padding=1)
    pack(conv)
    x = torch.randn(2, 3, 5, 5, requires_grad=True)
    conv(x).sum().backward()
    assert x.grad is not None
    assert conv.weight.grad is not None


def test_a_network_without_2d_convolutions_is_refused() -> None:
    model = create_model("r3d_34", num_classes=3, width=0.125).eval()
    with pytest.raises(KinemaError, match="2-D"):
        Packed().build(model, torch.randn(1, 3, 4, 32, 32))
