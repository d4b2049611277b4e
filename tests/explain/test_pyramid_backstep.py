"""One step back: which inputs of a layer are chosen for which outputs."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from kinema.explain.pyramid.backstep import class_relevance, relevance
from kinema.explain.pyramid.kernels import Kernel, LocalKernel, kernel_of

THRESHOLDS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def chosen(kernel: Kernel, means: Tensor, parent: int, threshold: float, mode: str = "feature") -> set[int]:
    scaled, seen = relevance(kernel, means, torch.tensor([parent]), mode)
    return set(((scaled >= threshold) & seen)[0].nonzero().flatten().tolist())


def test_hand_built_kernels_give_the_channels_that_they_were_built_for() -> None:
    weights = torch.zeros(3, 6)
    weights[2, [1, 4]] = 1.0
    weights[0, 5] = 1.0
    kernel, means = Kernel(weights), torch.ones(6)
    assert chosen(kernel, means, 2, 0.6) == {1, 4}
    assert chosen(kernel, means, 0, 0.6) == {5}
    assert chosen(kernel, means, 1, 0.0) == set()  # constant: nothing counts more than anything else


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_sets_are_nested_from_all_to_the_strongest(groups: int) -> None:
    generator = torch.Generator().manual_seed(groups)
    kernel = Kernel(torch.randn(8, 12 // groups, generator=generator), groups)
    means = torch.rand(12, generator=generator)
    for parent in range(8):
        sets = [chosen(kernel, means, parent, threshold) for threshold in THRESHOLDS]
        assert all(small <= large for large, small in pairwise(sets))
        rows, seen = kernel.rows(torch.tensor([parent]))
        own = set(seen[0].nonzero().flatten().tolist())
        assert sets[0] == own and len(own) == 12 // groups
        assert sets[-1] == {max(own, key=lambda i: float(rows[0, i] * means[i]))}


def test_scaling_is_minimum_to_maximum_whatever_the_sign_of_the_sum() -> None:
    kernel = Kernel(torch.tensor([[-3.0, 1.0, 0.5]]))  # divided by its sum, the most negative would come first
    scaled, _ = relevance(kernel, torch.ones(3), torch.tensor([0]), "feature")
    torch.testing.assert_close(scaled, torch.tensor([[0.0, 1.0, 0.875]]))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("mode", ["feature", "layer", "group"])
def test_grouped_kernels_never_give_a_channel_of_another_group(sign: float, mode: str) -> None:
    kernel = Kernel(sign * torch.rand(4, 3), 2)  # all negative: the zeros of the other group would be the largest
    for parent in range(4):
        for threshold in THRESHOLDS:
            own = set(range(3)) if parent < 2 else {3, 4, 5}
            assert chosen(kernel, torch.rand(6) + 0.1, parent, threshold, mode) <= own
        assert len(chosen(kernel, torch.rand(6) + 0.1, parent, 1.0, mode)) == 1


def test_zeros_of_other_groups_are_the_lower_end() -> None:
    scaled, seen = relevance(Kernel(torch.tensor([[2.0, 1.0], [3.0, 3.0]]), 2), torch.ones(4), torch.tensor([0, 1]),
                             "feature")  # fmt: skip
    assert torch.equal(seen, torch.tensor([[True, True, False, False], [False, False, True, True]]))
    torch.testing.assert_close(scaled[seen], torch.tensor([1.0, 0.5, 1.0, 1.0]))


@pytest.mark.parametrize("value", [2.0, 0.0, -2.0])
def test_the_only_input_of_a_channelwise_kernel_is_passed(value: float) -> None:
    kernel = Kernel(torch.full((3, 1), value), 3)
    assert chosen(kernel, torch.ones(3), 1, 1.0) == {1}


def test_one_parent_gives_the_same_by_itself_and_for_its_layer() -> None:
    kernel, means = Kernel(torch.randn(5, 7)), torch.rand(7)
    found = [relevance(kernel, means, torch.tensor([3]), mode)[0] for mode in ("feature", "layer", "group")]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_layer_wise_averages_over_parents_and_group_wise_over_those_of_a_group() -> None:
    weights, means = torch.randn(4, 3), torch.rand(6) + 0.1
    kernel, parents = Kernel(weights, 2), torch.tensor([0, 1, 3])
    inflated = torch.zeros(3, 6)
    inflated[:2, :3], inflated[2, 3:] = weights[:2], weights[3]
    by_layer, _ = relevance(kernel, means, parents, "layer")
    mean = (inflated * means).mean(0)
    expected = (mean - mean.min()) / (mean.max() - mean.min())
    torch.testing.assert_close(by_layer, expected.expand(3, 6))
    by_group, _ = relevance(kernel, means, parents, "group")
    torch.testing.assert_close(by_group[0], by_group[1])
    pair = (inflated[:2] * means).mean(0)
    low = min(0.0, float(pair[:3].min()))
    torch.testing.assert_close(by_group[0, :3], (pair[:3] - low) / (pair[:3].max() - low))
    assert torch.equal(by_group[2], relevance(kernel, means, torch.tensor([3]), "feature")[0][0])


def test_the_class_starts_from_activations_or_from_weights_alone() -> None:
    kernel = Kernel(torch.tensor([[1.0, 4.0, 2.0], [-1.0, 0.0, 0.0]]))
    means = torch.tensor([6.0, 0.5, 2.0])
    torch.testing.assert_close(class_relevance(kernel, means, 0, "activations"), torch.tensor([1.0, 0.0, 0.5]))
    torch.testing.assert_close(class_relevance(kernel, means, 0, "weights"), torch.tensor([0.4, 1.0, 0.6]))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", [nn.Conv3d, nn.ConvTranspose3d, nn.Conv2d, nn.Conv1d])
def test_the_kernel_of_a_convolution_is_what_its_output_changes_by(kind: type[nn.Module], groups: int) -> None:
    size = {"1": 1, "2": 2, "3": 3}[kind.__name__[-2]]
    layer = kind(4, 6, 3, groups=groups, bias=False)
    x = torch.rand(1, 4, *[5] * size, requires_grad=True)
    rows, seen = kernel_of(layer).rows(torch.arange(6))
    for j in range(6):
        middle = layer(x)[0, j].flatten()
        (gradient,) = torch.autograd.grad(middle[len(middle) // 2], x)
        expected = gradient[0].flatten(1).sum(1) / 3**size
        torch.testing.assert_close(rows[j], expected, atol=1e-5, rtol=1e-4)
        assert not rows[j][~seen[j]].any()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer_is_walked_through_the_weights_of_its_candidate(kind: type[nn.RNNBase]) -> None:
    layer = kind(5, 3, num_layers=2, bidirectional=True)
    candidate = slice(0, 3) if kind is nn.RNN else slice(6, 9)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            weight.zero_()
            if name.startswith("weight_ih_l0"):  # only the candidate sees input 4
                weight[candidate, 4] = 1.0
            if name.startswith("weight_ih_l1"):
                weight[candidate] = 1.0
    rows = kernel_of(layer).weights
    assert rows.shape == (6, 5)
    assert (rows[:, 4] > 0).all() and not rows[:, :4].any()


def test_a_local_kernel_is_that_of_the_convolution_inside() -> None:
    model = nn.Sequential(nn.Conv3d(3, 4, 1))
    rows, _ = LocalKernel(model, model[0], "0", torch.rand(1, 3, 2, 5, 5)).rows(torch.tensor([2, 0]))
    torch.testing.assert_close(rows, model[0].weight.detach().flatten(1)[[2, 0]])
    assert model.training and model[0].weight.grad is None
