"""Sanity checks: what does not depend on the weights is found out, what does is not; the network is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explain.planted import Colour, spots, trained
from scipy.stats import spearmanr
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.randomise import cascade
from kinema.explain.sanity import rank_correlation, sanity
from kinema.models import create_model


def cam(model: Colour, clip: Tensor, target: int) -> Tensor:
    """Class activation: the classifier's row on the last stage's maps."""
    with torch.no_grad():
        return (model.classifier.weight[target, :, None, None, None] * model.second(model.first(clip))[0]).sum(0)


def edges(model: nn.Module, clip: Tensor, target: int) -> Tensor:
    """A map that knows nothing of the network: the picture itself."""
    return clip[0].abs().mean(0)


def test_a_map_of_the_picture_fails_and_class_activation_does_not() -> None:
    model = trained()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    clips, targets, _ = spots(8, seed=77)
    others = ((targets + 1) % 3).tolist()
    found = sanity(model, clips, targets.tolist(), others, {"cam": cam, "edges": edges})
    assert list(found["cam"].randomised) == ["classifier", "second", "first"]
    assert all(f.mean == pytest.approx(1) for f in found["edges"].randomised.values())
    assert found["edges"].other_class.mean == pytest.approx(1)
    assert found["edges"].untrained.mean == pytest.approx(1)
    assert found["cam"].untrained.mean < 0.5 and found["cam"].other_class.mean < 0.5
    assert not model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    again = sanity(model, clips, targets.tolist(), others, {"cam": cam})
    assert again["cam"] == found["cam"]


def test_a_map_that_needs_no_classifier_changes_only_with_the_stages() -> None:
    def activity(model: Colour, clip: Tensor, target: int) -> Tensor:
        with torch.no_grad():
            return model.first(clip)[0].mean(0)

    clips, targets, _ = spots(8, seed=78)
    found = sanity(trained(), clips, targets.tolist(), ((targets + 1) % 3).tolist(), {"activity": activity})
    random = {part: f.mean for part, f in found["activity"].randomised.items()}
    # BatchNorm measures its statistics anew on the same activations: the same map up to their noise
    assert random["classifier"] > 0.9 and random["second"] > 0.9 and random["first"] < 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_rank_correlation_is_spearmans(seed: int) -> None:
    a, b = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    b = (a + b).round()  # with ties
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic)
    assert rank_correlation(a, a**3) == pytest.approx(1) and rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, torch.ones_like(a)) == 0 and rank_correlation(torch.zeros(2), torch.ones(2)) == 1


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("stm_r18", {}, ["classifier", "layer4", "layer3", "layer2", "layer1"]),
        ("x3d_s", {"frames": 4}, ["classifier", "head"]),
        ("slowfast_50", {"frames": 16}, ["classifier"]),
        ("r3d_34", {"class_regularisation": (0.9, 0.8, 0.7, 0.6)}, ["classifier", "layer4"]),
        ("cidc_r2d_50", {"frames": 4}, ["classifier", "cidc"]),
    ],
)
def test_every_parameter_is_shuffled_once_from_the_top_down(name: str, options: dict, parts: list[str]) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, width=0.125, **options).eval()
    for parameter in model.parameters():  # so that every change shows
        parameter.data = torch.randn_like(parameter)
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    clips = torch.randn(2, 3, model.clip_spec.frames, 32, 32)
    seen, changed = [], {}
    for part, twin in cascade(model, clips):
        now = {k for k, v in twin.named_parameters() if v.numel() > 8 and not torch.equal(v, before[k])}
        changed[part] = now - set().union(*changed.values(), set())
        seen.append(part)
        assert changed[part] and not twin.training
    assert seen[: len(parts)] == parts
    assert set().union(*changed.values()) == {k for k, v in before.items() if v.numel() > 8}
    assert {k.split(".")[0] for k in changed["classifier"]} == {"classifier"}
    values = dict(twin.named_parameters())
    assert all(np.array_equal(np.sort(v.flatten()), np.sort(values[k].detach().flatten())) for k, v in before.items())
    assert all(torch.equal(v, before[k]) for k, v in model.named_parameters())


def test_refuses() -> None:
    clips, targets, _ = spots(2)
    with pytest.raises(KinemaError, match="feature_maps"):
        next(cascade(nn.Sequential(nn.Linear(2, 2)), clips))
    with pytest.raises(KinemaError, match="others"):
        sanity(Colour(), clips, targets.tolist(), targets.tolist(), {})
