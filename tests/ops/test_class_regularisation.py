"""Class Regularisation against algorithm 1 written out in loops, and its invariants on networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.ops import ClassRegularisation
from kinema.ops.class_regularisation import _highest_product


def slow(
    x: Tensor, weight: Tensor, mapping: Tensor, strength: float, top: float, choice: str = "sum", gains: bool = True
) -> tuple[Tensor, list[int]]:
    """Algorithm 1 with its missing plus sign, one sample, class and channel after the other."""
    out, chosen = torch.empty_like(x), []
    for b in range(x.shape[0]):
        best, row_of_best = -float("inf"), torch.empty(0)
        for n in range(weight.shape[0]):
            row = torch.tensor([max(0.0, float(sum(weight[n] * mapping[c]))) for c in range(x.shape[1])])
            products = [float(row[c]) * float(x[b, c].mean()) for c in range(x.shape[1])]
            score = sum(products) if choice == "sum" else max(products)
            if score > best:
                best, row_of_best, index = score, row, n
        chosen.append(index)
        if not gains:
            continue
        low, high = float(row_of_best.min()), float(row_of_best.max())
        for c in range(x.shape[1]):
            share = (float(row_of_best[c]) - low) / (high - low)
            out[b, c] = x[b, c] * (strength + (top - strength) * share)
    return out, chosen


def made(seed: int = 0, n: int = 3, c: int = 6, features: int = 5, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, c, 3, 4, 4, generator=generator) * torch.rand(n, c, 1, 1, 1, generator=generator)
    return x, torch.randn(classes, features, generator=generator)


@pytest.mark.parametrize(("bounds", "top"), [("shrink", 1.0), ("symmetric", 1.3)])
@pytest.mark.parametrize("choice", ["sum", "max"])
def test_against_the_algorithm_in_loops(bounds: str, top: float, choice: str) -> None:
    x, weight = made()
    cr = ClassRegularisation(5, 6, 0.7, bounds=bounds, choice=choice)
    expected, _ = slow(x, weight, cr.weight.detach(), 0.7, top, choice)
    torch.testing.assert_close(cr(x, weight), expected)


@pytest.mark.parametrize("features", ["positive", "of both signs", "negative", "zero", "one channel"])
@pytest.mark.parametrize("classes", [1, 2, 9])
def test_the_choice_by_the_maximum_is_that_of_the_loops(features: str, classes: int) -> None:
    """Whole numbers, so that many classes have the same maximum: the first of them is chosen."""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        channels = 1 if features == "one channel" else 6
        low, high = {"positive": (1, 4), "negative": (-3, 0), "zero": (0, 1)}.get(features, (-3, 4))
        x = torch.randint(low, high, (5, channels, 1, 1, 1), generator=generator).double()
        rows = torch.randint(-2, 4, (classes, channels), generator=generator).double()
        _, expected = slow(x, rows, torch.eye(channels, dtype=torch.float64), 0.5, 1.0, "max", gains=False)
        assert _highest_product(x.mean((2, 3, 4)), rows.relu()).tolist() == expected


def test_the_two_choices_differ_where_one_feature_stands_out() -> None:
    weight = torch.tensor([[0.6, 0.6, 0.5], [1.0, 0.0, 0.5]])
    x = torch.ones(1, 3, 1, 2, 2)
    gains = {}
    for choice in ("sum", "max"):
        cr = ClassRegularisation(3, 3, 0.5, choice=choice)
        with torch.no_grad():
            cr.weight.copy_(torch.eye(3))
        gains[choice] = cr(x, weight)[0, :, 0, 0, 0]
    torch.testing.assert_close(gains["sum"], torch.tensor([1.0, 1.0, 0.5]))
    torch.testing.assert_close(gains["max"], torch.tensor([1.0, 0.5, 0.75]))


@pytest.mark.parametrize("choice", ["sum", "max"])
def test_features_that_are_no_numbers_come_out_as_such(choice: str) -> None:
    x, weight = made()
    x[1] = float("nan")
    out = ClassRegularisation(5, 6, 0.7, choice=choice)(x, weight)
    assert out[1].isnan().all()
    assert out[[0, 2]].isfinite().all()


def test_gains_lie_between_lambda_and_one_touch_both_and_are_constant_over_time_and_space() -> None:
    x, weight = made()
    cr = ClassRegularisation(5, 6, 0.6)
    gain = cr(x, weight) / x
    torch.testing.assert_close(gain, gain[:, :, :1, :1, :1].expand_as(gain))
    per_channel = gain[:, :, 0, 0, 0]
    torch.testing.assert_close(per_channel.amin(1), torch.full((3,), 0.6))
    torch.testing.assert_close(per_channel.amax(1), torch.ones(3))


def test_lambda_one_is_the_identity_bit_for_bit() -> None:
    x, weight = made()
    assert torch.equal(ClassRegularisation(5, 6, 1.0)(x, weight), x)


def test_a_planted_class_is_chosen_for_each_sample_by_itself() -> None:
    cr = ClassRegularisation(3, 3, 0.5)
    with torch.no_grad():
        cr.weight.copy_(torch.eye(3))
    weight = torch.tensor([[1.0, 0.2, 0.0], [0.0, 1.0, 0.4]])
    x = torch.zeros(2, 3, 1, 1, 1)
    x[0, 0], x[1, 1] = 2, 3
    out = cr(x + 1e-3, weight)
    gains = (out / (x + 1e-3))[:, :, 0, 0, 0]
    torch.testing.assert_close(gains, torch.tensor([[1.0, 0.6, 0.5], [0.5, 1.0, 0.7]]))
    torch.testing.assert_close(cr((x + 1e-3) * 9, weight), 9 * out)  # the choice does not depend on the scale
    torch.testing.assert_close(cr(x[1:] + 1e-3, weight), out[1:])  # nor on the batch


@pytest.mark.parametrize("choice", ["sum", "max"])
def test_gradients_reach_the_features_and_the_map_and_never_the_classifier(choice: str) -> None:
    x, weight = made()
    x, weight = x.requires_grad_(), nn.Parameter(weight)
    cr = ClassRegularisation(5, 6, 0.7, choice=choice)
    cr(x, weight).square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert cr.weight.grad.abs().sum() > 0
    assert weight.grad is None


def test_a_flat_row_changes_nothing() -> None:
    x, _ = made()
    cr = ClassRegularisation(5, 6, 0.7)
    assert torch.equal(cr(x, torch.zeros(4, 5)), x)


@pytest.mark.parametrize("choice", ["sum", "max"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite_on_large_features(dtype: torch.dtype, choice: str) -> None:
    x, weight = made()
    out = ClassRegularisation(5, 6, 0.7, choice=choice)((x * 500).to(dtype), weight)
    assert out.dtype == dtype
    assert out.isfinite().all()


STRENGTHS = (0.9, 0.8, 0.7, 0.6)


@pytest.mark.parametrize(("name", "channels"), [
    ("r3d_34", (64, 128, 256, 512)), ("stm_r50", (256, 512, 1024, 2048)), ("x3d_m", (24, 48, 96, 192)),
    ("mtnet_m", (24, 48, 96, 192)), ("srtg_r2plus1d_34", (64, 128, 256, 512)), ("mtconv_r50", (64, 128, 256, 512)),
])  # fmt: skip
def test_exactly_a_map_a_stage_is_added(name: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        plain = create_model(name, num_classes=400)
        regular = create_model(name, num_classes=400, class_regularisation=STRENGTHS)
    added = sum(p.numel() for p in regular.parameters()) - sum(p.numel() for p in plain.parameters())
    assert added == plain.classifier.in_features * sum(channels)


def test_the_thesis_increment_of_mtnet() -> None:
    """Table 6.3: +0.76 M; the sum of C' C is 2048 * 360."""
    assert 2048 * sum((24, 48, 96, 192)) == 737_280


@pytest.mark.parametrize("name", ["stm_r18", "r3d_34", "x3d_s", "mtnet_s"])
def test_networks_run_with_it_and_all_ones_change_nothing(name: str) -> None:
    torch.manual_seed(0)
    options = {"num_classes": 4, "frames": 8, "width": 0.25}
    model = create_model(name, **options, class_regularisation=STRENGTHS).eval()
    plain = create_model(name, **options).eval()
    none = create_model(name, **options, class_regularisation=(1, 1, 1, 1)).eval()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("class_regularisation")}
    plain.load_state_dict(state)
    none.load_state_dict({**none.state_dict(), **state})
    x = torch.randn(2, 3, 8, 64, 64)
    assert torch.equal(plain(x), none(x))
    assert (model(x) - plain(x)).abs().max() > 0
    model.train()(x).square().sum().backward()
    for key, p in model.class_regularisation.named_parameters():
        assert p.grad is not None, key
        assert p.grad.isfinite().all(), key


@pytest.mark.parametrize("name", ["r3d_34", "slowfast_50", "lstm_head"])
def test_the_choice_is_an_option_of_every_network(name: str) -> None:
    options = {"num_classes": 4, "frames": 8, "width": 0.125}
    strengths = [0.5] * sum(stage != "stem" for stage in create_model(name, **options).feature_maps)
    torch.manual_seed(0)
    model = create_model(name, **options, class_regularisation=strengths, class_regularisation_choice="max").eval()
    assert {module.choice for module in model.class_regularisation.values()} == {"max"}
    stated = model.architecture["options"]
    assert (stated["class_regularisation_choice"], stated["class_regularisation_bounds"]) == ("max", "shrink")
    again = create_model(**{"name": name, **stated}).eval()
    again.load_state_dict(model.state_dict())
    by_sum = create_model(name, **{**stated, "class_regularisation_choice": "sum"}).eval()
    by_sum.load_state_dict(model.state_dict())
    x = torch.randn(4, 3, 8, 64, 64)
    assert torch.equal(again(x), model(x))
    assert not torch.equal(by_sum(x), model(x))


def test_only_its_weights_can_be_trained() -> None:
    model = create_model("r3d_34", num_classes=4, frames=4, width=0.125, class_regularisation=STRENGTHS)
    nn.init.normal_(model.classifier.weight)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.requires_grad_(False).eval()
    model.class_regularisation.requires_grad_(True)
    loss = model(torch.randn(2, 3, 4, 48, 48)).square().sum()
    loss.backward()
    torch.optim.SGD(model.class_regularisation.parameters(), 1.0).step()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(k.startswith("class_regularisation.") for k in changed)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"class_regularisation": (0.9, 0.8)}, "one number for each of the 4 stages layer1"),
        ({"class_regularisation": (0.9, 0.8, 0.7, 1.6)}, "from 0 to 1"),
        ({"class_regularisation": 0.9}, "one number for each"),
        ({"class_regularisation": STRENGTHS, "class_regularisation_bounds": "grow"}, "choose from shrink"),
        ({"class_regularisation": STRENGTHS, "class_regularisation_choice": "maximum"}, "did you mean 'max'"),
        ({"class_regularisation": STRENGTHS, "class_regularisation_choice": ["max"]}, "class_regularisation_choice"),
        ({"class_regularisation_choice": "max"}, "needs class_regularisation"),
        ({"class_regularisation_bounds": "shrink"}, "needs class_regularisation"),
        ({"class_regularization": STRENGTHS}, "did you mean 'class_regularisation'"),
    ],
)
def test_bad_strengths_are_one_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        create_model("tsn_r18", width=0.0625, **options)
