"""Groups of a batch against plain BatchNorm on each group by itself."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.ops.layout import fold_time
from kinema.training.sub_batches import SubBatches, group_sizes

SHAPES = {nn.BatchNorm1d: (), nn.BatchNorm2d: (3, 5), nn.BatchNorm3d: (2, 3, 5)}


def norm(kind: type[nn.Module], **options: object) -> nn.Module:
    """A network of one BatchNorm."""
    torch.manual_seed(1)
    made = kind(4, **options)
    nn.init.uniform_(made.weight)
    nn.init.uniform_(made.bias)
    return nn.Sequential(made)


def rows(kind: type[nn.Module], n: int) -> Tensor:
    return torch.randn(n, 4, *SHAPES[kind], generator=torch.Generator().manual_seed(n)) * 3 + 1


def check_against_groups(plain: nn.Module, x: Tensor, clips: int, size: int, parts: list[int]) -> None:
    """`parts` are the clips of each group, which the reference normalises one after the other."""
    divided = copy.deepcopy(plain)
    sub = SubBatches(divided)
    sub.set(clips, size)
    per_clip = len(x) // clips
    xs = [x.clone().requires_grad_() for _ in range(2)]
    expected = torch.cat([plain(part) for part in xs[0].split([per_clip * n for n in parts])])
    got = divided(xs[1])
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9))
    for y in (expected, got):
        (y * weights).sum().backward()
    torch.testing.assert_close(xs[1].grad, xs[0].grad, rtol=0, atol=0)
    for a, b in zip(divided.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    assert divided.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(divided.state_dict()[name], value), name


def test_group_sizes() -> None:
    assert group_sizes(16, 4) == [4, 4, 4, 4]
    assert group_sizes(14, 4) == [4, 4, 4, 2]
    assert group_sizes(9, 4) == [4, 5]
    assert group_sizes(3, 4) == [3]
    assert group_sizes(1, 4) == [1]
    assert group_sizes(3, 1) == [1, 1, 1]


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_forward_backward_and_statistics_are_those_of_one_group_after_the_other(
    kind: type[nn.Module], momentum: float | None
) -> None:
    check_against_groups(norm(kind, momentum=momentum), rows(kind, 11), 11, 4, [4, 4, 3])
    check_against_groups(norm(kind, momentum=momentum), rows(kind, 9), 9, 4, [4, 5])
    check_against_groups(norm(kind, momentum=momentum), rows(kind, 3), 3, 4, [3])


def test_channels_last_memory_is_kept() -> None:
    x = rows(nn.BatchNorm3d, 8).contiguous(memory_format=torch.channels_last_3d)
    check_against_groups(norm(nn.BatchNorm3d), x, 8, 4, [4, 4])
    divided = norm(nn.BatchNorm3d)
    SubBatches(divided).set(8, 4)
    assert divided(x).is_contiguous(memory_format=torch.channels_last_3d)


def test_rows_of_a_folded_clip_stay_together() -> None:
    clips = torch.randn(5, 4, 6, 3, 3)
    check_against_groups(norm(nn.BatchNorm2d), fold_time(clips), 5, 2, [2, 3])


def test_without_groups_in_evaluation_and_frozen_it_is_the_plain_one() -> None:
    plain = norm(nn.BatchNorm2d)
    divided = copy.deepcopy(plain)
    sub, x = SubBatches(divided), rows(nn.BatchNorm2d, 8)
    assert torch.equal(divided(x), plain(x))  # nothing set
    sub.set(8, 0)
    assert torch.equal(divided(x), plain(x))
    sub.set(8, 4)
    assert not torch.equal(divided(x), plain(x))
    plain.load_state_dict(divided.state_dict())
    plain.eval(), divided.eval()
    assert torch.equal(divided(x[:3]), plain(x[:3]))


def test_groups_of_a_single_value_do_not_crash() -> None:
    check_against_groups(norm(nn.BatchNorm1d), rows(nn.BatchNorm1d, 5), 5, 2, [2, 3])
    check_against_groups(norm(nn.BatchNorm1d), rows(nn.BatchNorm1d, 5), 5, 1, [5])
    check_against_groups(norm(nn.BatchNorm2d), rows(nn.BatchNorm2d, 3), 3, 1, [1, 1, 1])


def test_another_batch_than_was_said_is_refused() -> None:
    divided = norm(nn.BatchNorm2d)
    SubBatches(divided).set(8, 4)
    with pytest.raises(KinemaError, match="for 8 clips, but a BatchNorm was given 12 rows"):
        divided(rows(nn.BatchNorm2d, 12))


def test_a_network_copies_saves_and_is_given_back_its_modules() -> None:
    torch.manual_seed(0)
    model = create_model("stm_r18", num_classes=3, frames=2, width=0.125)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    names, modules = list(model.state_dict()), list(model.modules())
    parameters = list(model.parameters())
    x = torch.randn(4, 3, 2, 32, 32)
    reference = copy.deepcopy(model)
    sub = SubBatches(model)
    assert sub.remark is None
    with pytest.raises(KinemaError, match="already divided"):
        SubBatches(model)
    sub.set(4, 2)
    twin = copy.deepcopy(model)
    got = model(x)
    torch.testing.assert_close(got, torch.cat([reference(x[:2]), reference(x[2:])]))
    torch.testing.assert_close(twin(x), got)
    assert list(model.state_dict()) == names
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)
    sub.remove()
    assert list(model.modules()) == modules
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    torch.testing.assert_close(model(x), reference(x))


def test_what_is_synchronised_is_left_alone_and_said() -> None:
    model = nn.Sequential(nn.SyncBatchNorm(4), nn.BatchNorm2d(4), nn.SyncBatchNorm(4))
    sub = SubBatches(model)
    assert type(model[0]) is nn.SyncBatchNorm
    assert sub.remark is not None
    assert sub.remark.startswith("2 SyncBatchNorm modules")


def test_what_happens_to_a_divided_network_is_there_when_it_is_whole_again() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm1d(4, affine=False, track_running_stats=False)))
    model.append(model[0])  # one module in two places
    own = list(model.modules())
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    model.eval()
    sub = SubBatches(model)
    assert len(sub.modules) == 2
    assert model[0] is model[2] and not model[0].training
    model.double().train()
    model[0](torch.randn(8, 4, 2, 2).double()).square().sum().backward()
    before = model[0].weight.clone()
    optimiser.step()
    assert not torch.equal(model[0].weight, before)
    values = {name: value.clone() for name, value in model.state_dict().items()}
    sub.remove()
    assert list(model.modules()) == own
    assert own[1].training
    assert own[1].running_mean.dtype == own[1].weight.dtype == torch.float64
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    SubBatches(model).remove()  # and again
    with pytest.raises(KinemaError, match="single BatchNorm"):
        SubBatches(nn.BatchNorm2d(4))


def test_blocks_that_run_again_take_every_group_once() -> None:
    torch.manual_seed(0)
    plain = create_model("r3d_34", num_classes=3, frames=4, width=0.125)
    thrifty = copy.deepcopy(plain)
    thrifty.set_grad_checkpointing()
    x = torch.randn(4, 3, 4, 32, 32)
    for model in (plain, thrifty):
        SubBatches(model).set(4, 2)
        model(x).square().sum().backward()
    for (name, a), b in zip(plain.state_dict().items(), thrifty.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(plain.parameters(), thrifty.parameters(), strict=True))
