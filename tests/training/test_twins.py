"""The correlation loss against loops, its invariants, and gathering over two processes."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import kinema.training
from kinema.errors import KinemaError
from kinema.training.twins import Twins, doubts, gather_logits, twins_loss


def logits(n: int = 6, k: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_correlation(a: Tensor, b: Tensor, i: int, j: int) -> float:
    """Equation 8 for one pair of classes."""
    dot = sum(float(x) * float(y) for x, y in zip(a[:, i], b[:, j], strict=True))
    lengths = [math.sqrt(sum(float(v) ** 2 for v in column)) for column in (a[:, i], b[:, j])]
    return dot / (lengths[0] * lengths[1])


@pytest.mark.parametrize("centre", [False, True])
def test_it_is_equation_8(centre: bool) -> None:
    a, b, expected = logits(), logits(seed=1), 0.0
    ca, cb = (a - a.mean(0), b - b.mean(0)) if centre else (a, b)
    for i in range(5):
        for j in range(5):
            c = slow_correlation(ca, cb, i, j)
            assert abs(c) <= 1
            expected += (1 - c) ** 2 if i == j else 0.01 * c**2
    assert twins_loss(a, b, beta=0.01, centre=centre).item() == pytest.approx(expected, rel=1e-12)


def test_repeated_one_hot_columns_lose_nothing() -> None:
    y = torch.eye(4, dtype=torch.float64).repeat(3, 1) * 7
    assert twins_loss(y, y).item() < 1e-12


def test_the_views_may_be_swapped() -> None:
    a, b = logits(), logits(seed=1)
    assert twins_loss(a, b).item() == pytest.approx(twins_loss(b, a).item(), rel=1e-12)


def test_the_scale_of_a_class_does_not_count_but_a_shift_does_unless_centred() -> None:
    a, b, scale = logits(), logits(seed=1), torch.tensor([0.1, 3, 100, 1, 0.02], dtype=torch.float64)
    loss, shifted = twins_loss(a, b).item(), twins_loss(a + 3, b + 3).item()
    assert twins_loss(a * scale, b).item() == pytest.approx(loss, rel=1e-12)
    assert abs(shifted - loss) > 0.1
    centred = twins_loss(a, b, centre=True).item()
    assert twins_loss(a + 3, b + 3, centre=True).item() == pytest.approx(centred, rel=1e-12)


def test_one_clip_would_correlate_with_everything_and_is_refused() -> None:
    # Two equal clips are as one: every product is 1, and the loss is beta * K * (K - 1) whatever the network does.
    y = torch.rand(1, 6, dtype=torch.float64).add(0.1).repeat(2, 1)
    assert twins_loss(y, y).item() == pytest.approx(0.0039 * 6 * 5, rel=1e-9)
    with pytest.raises(KinemaError, match="at least 2"):
        twins_loss(y[:1], y[:1])
    with pytest.raises(KinemaError, match=r"\(2, 6\) and \(2, 5\)"):
        twins_loss(y, y[:, :5])


@pytest.mark.parametrize("centre", [False, True])
def test_a_column_without_direction_costs_1_and_has_finite_gradients(centre: bool) -> None:
    torch.manual_seed(0)
    a = torch.randn(7, 5)
    a[:, 2] = 123.4567 if centre else 0.0  # what centring leaves of it is rounding
    a.requires_grad_()
    b = torch.randn(7, 5)
    loss = twins_loss(a, b, beta=0, centre=centre)
    rest = [i for i in range(5) if i != 2]
    assert loss.item() == pytest.approx(1 + twins_loss(a[:, rest], b[:, rest], beta=0, centre=centre).item(), rel=1e-4)
    loss.backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()
    assert a.grad.abs().max() < 10


def test_float32_under_autocast() -> None:
    a, b = logits().float(), logits(seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert twins_loss(a, b).item() == twins_loss(a.clone(), b.clone()).item()
        inside = twins_loss(a, b)
    assert inside.dtype == torch.float32
    assert inside.item() == twins_loss(a, b).item()
    half = twins_loss(a.bfloat16(), b.bfloat16())
    assert half.dtype == torch.float32
    assert half.item() == twins_loss(a.bfloat16().float(), b.bfloat16().float()).item()


@pytest.mark.parametrize("centre", [False, True])
def test_gradients(centre: bool) -> None:
    a, b = logits(4, 3).requires_grad_(), logits(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: twins_loss(a, b, beta=0.3, centre=centre), (a, b))


def test_doubts_name_the_floor_that_views_in_agreement_reach() -> None:
    said = doubts(Twins(weight=0.01), 8, 174)
    assert said is not None
    assert "174 classes over only 8 clips" in said
    assert "above 14.1 (0.141 after its weight)" in said
    # Two classes a clip, orthogonal: no batch of 3 can do better with 6 classes.
    y = torch.eye(3, dtype=torch.float64).repeat(1, 2)
    assert twins_loss(y, y, beta=0.5).item() == pytest.approx(0.5 * (6**2 / 3 - 6), rel=1e-9)
    assert doubts(Twins(1.0, 0.5, centre=True), 3, 6) != doubts(Twins(1.0, 0.5), 3, 6)
    assert doubts(Twins(weight=0.01), 174, 174) is None
    assert doubts(Twins(), 1, 174) is None


def test_doubts_follow_what_each_process_correlates() -> None:
    alone, gathered = Twins(weight=0.01), Twins(weight=0.01, gather=True)
    assert "gather" not in (doubts(alone, 8, 174) or "gather")
    assert "over only 4 clips" in (doubts(alone, 8, 174, processes=2) or "")
    assert "and so does twins.gather" in (doubts(alone, 8, 174, processes=2) or "")
    assert doubts(gathered, 8, 174, processes=2) == doubts(alone, 8, 174)
    for given, batch, processes, sentence in (
        (alone, 1, 1, "batch is 1: .* give at least 2$"),
        (alone, 2, 2, "batch is 2, so that each of 2 processes has 1: .* at least 4, or set twins.gather$"),
        (gathered, 1, 2, "batch is 1, so that each of 2 processes has 1: .* at least 2$"),
    ):
        with pytest.raises(KinemaError, match=sentence):
            doubts(given, batch, 174, processes=processes)


def test_one_process_gathers_nothing() -> None:
    x = logits()
    assert gather_logits(x) is x


def test_the_package_offers_the_loss_and_stays_light() -> None:
    assert kinema.training.twins_loss is twins_loss
    with pytest.raises(AttributeError):
        kinema.training.nothing  # noqa: B018
    code = "import sys, kinema.training; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def network() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(4, 5).double()


def joint_loss(net: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    return twins_loss(gather_logits(net(a)), gather_logits(net(b)), beta=0.1)


def one_of_two(rank: int, rows: list[int], folder: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    net = network()
    own = [logits(sum(rows), 4, seed).split(rows)[rank] for seed in (0, 1)]
    loss = joint_loss(net, *own)
    loss.backward()
    for parameter in net.parameters():  # as DistributedDataParallel does
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= 2
    torch.save({"loss": loss.detach(), "grads": [p.grad for p in net.parameters()]}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_gathered_over_two_processes_it_is_that_of_the_joint_batch(tmp_path: Path) -> None:
    rows = [3, 5]  # they need not have as many each
    code = "import sys, test_twins as t; t.one_of_two(int(sys.argv[1]), [3, 5], sys.argv[2])"
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(rank), str(tmp_path)], cwd=Path(__file__).parent)
        for rank in range(2)
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    net = network()
    expected = joint_loss(net, *(logits(sum(rows), 4, seed) for seed in (0, 1)))
    expected.backward()
    for rank in range(2):
        got = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(got["loss"], expected.detach(), rtol=1e-12, atol=1e-12)
        for grad, parameter in zip(got["grads"], net.parameters(), strict=True):
            torch.testing.assert_close(grad, parameter.grad, rtol=1e-10, atol=1e-12)
