"""The kernels that Class Regularisation amplifies most, and where they lead: on a planted network and on the zoo."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.amplified import amplified_kernels
from kinema.models import create_model
from kinema.ops.class_regularisation import ClassRegularisation


class Planted(nn.Module):
    """Two stages of 4 and 5 channels: channel 2 of the first feeds channel 4 of the second, channel 0 feeds channel 1.

    The class 1 reads channel 4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(3, 4, 1, bias=False), nn.Conv3d(4, 5, 1, bias=False)
        self.classifier = nn.Linear(5, 2, bias=False)
        self.class_regularisation = nn.ModuleDict(
            {"first": ClassRegularisation(5, 4, 0.5), "second": ClassRegularisation(5, 5, 0.5)}
        )
        with torch.no_grad():
            self.first.weight.fill_(1 / 3)
            self.second.weight.zero_()
            self.second.weight[4, 2] = self.second.weight[1, 0] = 1
            self.classifier.weight.zero_()
            self.classifier.weight[1, 4] = 3
            self.classifier.weight[0, 1] = 0.1
            self.class_regularisation["first"].weight.zero_()[2, 4] = 1
            self.class_regularisation["second"].weight.copy_(torch.eye(5))

    def forward(self, x: Tensor) -> Tensor:
        w = self.classifier.weight
        x = self.class_regularisation["first"](self.first(x), w)
        x = self.class_regularisation["second"](self.second(x), w)
        return self.classifier(x.mean((2, 3, 4)))


def test_a_planted_network() -> None:
    model, clip = Planted().train(), torch.rand(3, 2, 4, 4) + 0.5
    found = amplified_kernels(model, clip, 1, count=1)
    assert [(k.stage, k.channel) for k in found] == [("first", 2), ("second", 4)]
    assert found[0].leads_to == ((4, pytest.approx(1.0)),) and found[1].leads_to == ()
    with torch.no_grad():
        score = float(model.eval()(clip[None])[0, 1])
    assert found[0].evidence == pytest.approx(score) and found[1].evidence == pytest.approx(score)
    assert found[0].gain > 1 and found[0].map.shape == (2, 4, 4)
    assert torch.allclose(found[0].map, clip.mean(0), atol=1e-6)  # a gain of 1 of the operator
    again = amplified_kernels(model, clip, 1, count=3)
    assert next(k.channel for k in again if k.stage == "first") == 2 and len(again) == 6
    silent = next(k for k in again if k.stage == "first" and k.channel not in (0, 2))
    assert silent.leads_to == () and silent.evidence == pytest.approx(0)


@pytest.mark.parametrize(("name", "bounds"), [("r3d_34", "shrink"), ("r3d_34", "symmetric"), ("tsn_r18", "shrink")])
def test_networks_of_the_zoo(name: str, bounds: str) -> None:
    torch.manual_seed(0)
    stages = [s for s in create_model(name, num_classes=3, width=0.125).feature_maps if s != "stem"]
    strengths = [0.9 - 0.1 * i for i in range(len(stages))]
    model = create_model(
        name, num_classes=3, width=0.125, class_regularisation=strengths, class_regularisation_bounds=bounds
    ).eval()
    clip = torch.randn(3, 8, 32, 32)
    with torch.no_grad():
        before = model(clip[None])
    found = amplified_kernels(model, clip, 2)
    assert [k.stage for k in found] == [s for s in stages for _ in range(3)]
    for i, kernel in enumerate(found):
        assert kernel.gain >= 1 - 1e-6 if i % 3 == 0 else kernel.gain <= found[i - 1].gain
        assert (len(kernel.leads_to) == 0) or kernel.stage != stages[-1]
        shares = [share for _, share in kernel.leads_to]
        assert shares == sorted(shares, reverse=True) and sum(shares) <= 1 + 1e-6
    with torch.no_grad():  # as before: with gradients another library may compute
        assert torch.equal(model(clip[None]), before)
    assert not any(m._forward_hooks for m in model.modules())


def test_refuses() -> None:
    clip = torch.rand(3, 2, 4, 4)
    with pytest.raises(KinemaError, match="class_regularisation"):
        amplified_kernels(nn.Linear(1, 1), clip, 0)
    with pytest.raises(KinemaError, match="target is 2"):
        amplified_kernels(Planted(), clip, 2)
    with pytest.raises(KinemaError, match="clip"):
        amplified_kernels(Planted(), torch.rand(2, 3, 2, 4, 4), 1)
