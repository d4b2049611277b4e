"""Squeeze and Recursion, its cells and its gate, against slow references."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.ops import SqueezeRecursion, cycle_consistent, soft_nearest
from kinema.ops.recurrence import open_rates, recurrent, set_gate

CELLS = ("rnn", "lstm", "peephole", "gru")


def slow_soft_nearest(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """One sample, C T: equation 4, number by number, in float64."""
    found = []
    for t in range(a.shape[1]):
        exponents = [-float(((a[:, t] - b[:, i]) ** 2).sum()) / temperature for i in range(b.shape[1])]
        top = max(exponents)
        weights = [math.exp(e - top) for e in exponents]
        found.append(sum(w / sum(weights) * b[:, i] for i, w in enumerate(weights)))
    return torch.stack(found, 1)


def slow_consistent(a: Tensor, b: Tensor, temperature: float) -> bool:
    """One sample, C T: equation 5, both ways."""
    for one, other in ((a, b), (b, a)):
        soft = slow_soft_nearest(one, other, temperature)
        for t in range(one.shape[1]):
            distances = [float(((soft[:, t] - other[:, i]) ** 2).sum()) for i in range(other.shape[1])]
            if distances.index(min(distances)) != t:
                return False
    return True


def slow_cell(kind: str, weights: dict[str, Tensor], x: Tensor, layers: int) -> Tensor:
    """A stack of cells on one sample, C T -> C T, gate by gate."""
    for i in range(layers):
        w_x, w_h = weights[f"weight_ih_l{i}"], weights[f"weight_hh_l{i}"]
        b_x, b_h = weights[f"bias_ih_l{i}"], weights[f"bias_hh_l{i}"]
        size = w_h.shape[1]
        h = c = torch.zeros(size, dtype=x.dtype)
        states = []
        for t in range(x.shape[1]):
            from_x, from_h = (w_x @ x[:, t] + b_x).split(size), (w_h @ h + b_h).split(size)
            if kind == "rnn":
                h = torch.tanh(from_x[0] + from_h[0])
            elif kind == "gru":
                reset, update = torch.sigmoid(from_x[0] + from_h[0]), torch.sigmoid(from_x[1] + from_h[1])
                h = (1 - update) * torch.tanh(from_x[2] + reset * from_h[2]) + update * h
            else:
                peep = weights.get(f"peephole_l{i}", torch.zeros(3, size, dtype=x.dtype))
                enter = torch.sigmoid(from_x[0] + from_h[0] + peep[0] * c)
                forget = torch.sigmoid(from_x[1] + from_h[1] + peep[1] * c)
                c = forget * c + enter * torch.tanh(from_x[2] + from_h[2])
                h = torch.sigmoid(from_x[3] + from_h[3] + peep[2] * c) * torch.tanh(c)
            states.append(h)
        x = torch.stack(states, 1)
    return x


def frames(*rows: list[float]) -> Tensor:
    """A sequence of scalar features as 1 1 T."""
    return torch.tensor(rows).unsqueeze(1)


def separated(n: int = 1, c: int = 6, t: int = 5) -> Tensor:
    """Sequences whose frames lie far apart, N C T."""
    x = torch.zeros(n, c, t)
    x[:, range(t), range(t)] = 10.0
    return x


# ---- equations 4 and 5


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_soft_nearest_is_equation_4(temperature: float) -> None:
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(3, 4, 6, generator=g).double(), torch.randn(3, 4, 6, generator=g).double()
    expected = torch.stack([slow_soft_nearest(a[i], b[i], temperature) for i in range(3)])
    torch.testing.assert_close(soft_nearest(a, b, temperature), expected)


def test_soft_nearest_has_a_gradient_to_both() -> None:
    a = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    b = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_nearest, (a, b))


def test_cycle_consistent_is_equation_5() -> None:
    g = torch.Generator().manual_seed(2)
    a = torch.randn(60, 5, 4, generator=g).double() * 2
    noise = torch.randn(60, 5, 4, generator=g).double() * torch.linspace(0, 3, 60)[:, None, None]
    expected = torch.tensor([slow_consistent(x, y, 1.0) for x, y in zip(a, a + noise, strict=True)])
    assert 10 < expected.sum() < 50  # both answers occur
    assert torch.equal(cycle_consistent(a, a + noise), expected)
    assert torch.equal(cycle_consistent(a + noise, a), expected)  # symmetric
    shift = torch.randn(60, 5, 1, generator=g).double() * 3
    assert torch.equal(cycle_consistent(a + shift, a + noise + shift), expected)  # only differences count


def test_separated_frames_match_only_in_order() -> None:
    a = separated()
    for order in permutations(range(5)):
        assert cycle_consistent(a, a[:, :, list(order)]).item() is (order == tuple(range(5)))


def test_one_way_is_not_enough() -> None:
    a, b = frames([0.0, 10.0, 20.0]), frames([0.0, 9.0, 100.0])

    def found(one: Tensor, other: Tensor) -> list[int]:
        return (soft_nearest(one, other).transpose(1, 2) - other).abs().argmin(2)[0].tolist()

    assert found(b, a) == [0, 1, 2]
    assert found(a, b) == [0, 1, 1]
    assert not cycle_consistent(a, b)
    assert not cycle_consistent(b, a)


def test_equal_frames_are_consistent_only_alone() -> None:
    assert not cycle_consistent(torch.full((1, 3, 4), 0.3), torch.full((1, 3, 4), 0.3))
    assert cycle_consistent(torch.randn(1, 3, 1), torch.randn(1, 3, 1))


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-2, 1e-3])
def test_one_hot_frames_open_at_every_scale(scale: float) -> None:
    a = torch.eye(8, dtype=torch.float64)[None, :, :5] * scale
    weight = 1 / (1 + 4 * math.exp(-2 * scale**2))
    torch.testing.assert_close(soft_nearest(a, a)[0, 0, 0] / scale, torch.tensor(weight, dtype=torch.float64))
    assert cycle_consistent(a, a)


def test_temperature_is_a_scale() -> None:
    a = torch.rand(4, 16, 6, generator=torch.Generator().manual_seed(0)) * 10
    assert cycle_consistent(a, a).all()
    small = a * 1e-3
    assert not cycle_consistent(small, small).any()  # identical, and yet closed at temperature 1
    assert cycle_consistent(small, small, temperature=1e-6).all()


def test_far_from_zero_the_digits_are_kept() -> None:
    a = separated() / 4
    assert cycle_consistent(a + 4096, a + 4096)


def test_half_precision_decides_as_float32() -> None:
    a = torch.randn(8, 64, 8, generator=torch.Generator().manual_seed(3)).mul(500).half()
    with torch.autocast("cpu", torch.bfloat16):
        soft = soft_nearest(a, a)
        assert soft.dtype == torch.float32 and soft.isfinite().all()
        assert cycle_consistent(a, a).all()


def test_samples_do_not_meet() -> None:
    a = torch.cat([separated(2), torch.ones(1, 6, 5), separated(1)])
    assert cycle_consistent(a, a).tolist() == [True, True, False, True]


def test_the_decision_has_no_gradient() -> None:
    a = separated().requires_grad_()
    assert not cycle_consistent(a, a).requires_grad


# ---- recurrent cells


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 6])
def test_cells_follow_their_equations(cell: str, layers: int, length: int) -> None:
    torch.manual_seed(4)
    module = recurrent(cell, 5, layers).double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape))  # peepholes too, which start at zero
    x = torch.randn(3, 5, length, dtype=torch.float64)
    weights = dict(module.cell.named_parameters())
    expected = torch.stack([slow_cell(cell, weights, sample, layers) for sample in x])
    torch.testing.assert_close(module(x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(
    ("cell", "per_layer"), [("rnn", (2, 2)), ("gru", (6, 6)), ("lstm", (8, 8)), ("peephole", (8, 11))]
)
def test_cells_have_the_parameters_of_their_kind(cell: str, per_layer: tuple[int, int]) -> None:
    c = 12
    square, single = per_layer
    assert sum(p.numel() for p in recurrent(cell, c, 2).parameters()) == 2 * (square * c * c + single * c)


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_lstms_take_and_give_what_those_of_pytorch_do(cell: str, length: int) -> None:
    ours, theirs = recurrent(cell, 5, 2).cell, nn.LSTM(5, 5, 2)
    theirs.load_state_dict({k: v for k, v in ours.state_dict().items() if "peephole" not in k})
    x = torch.randn(length, 3, 5)
    results = []
    for module in (ours, theirs):
        y, (h, c) = module(x)
        (y.square().sum() + h.sum() + c.prod(0).sum()).backward()
        results.append([y, h, c, *(p.grad for name, p in module.named_parameters() if "peephole" not in name)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_a_peephole_lstm_starts_as_the_lstm() -> None:
    lstm, peephole = recurrent("lstm", 4, 2), recurrent("peephole", 4, 2)
    assert peephole.load_state_dict(lstm.state_dict(), strict=False).missing_keys == [
        "cell.peephole_l0",
        "cell.peephole_l1",
    ]
    x = torch.randn(2, 4, 5)
    torch.testing.assert_close(peephole(x), lstm(x))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cells_are_finite_in_half_precision(cell: str, dtype: torch.dtype) -> None:
    for length in (2, 5):
        x = torch.randn(2, 8, length).mul(500).to(dtype)
        with torch.autocast("cpu", dtype):
            assert recurrent(cell, 8, 2)(x).isfinite().all()
        y = recurrent(cell, 8, 2).to(dtype)(x)
        assert y.dtype == dtype and y.isfinite().all()


# ---- Squeeze and Recursion


FUSIONS = {
    "mul": lambda x, h: x * h,
    "add": lambda x, h: x + h,
    "residual": lambda x, h: x + x * h,
}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_squeeze_recursion_fuses_the_states(fusion: str) -> None:
    torch.manual_seed(5)
    module = SqueezeRecursion(4, fusion=fusion).double()
    x = torch.randn(2, 4, 5, 3, 6, dtype=torch.float64)
    weights = dict(module.recurrence.cell.named_parameters())
    for sample, result in zip(x, module(x), strict=True):
        h = slow_cell("lstm", weights, sample.mean((2, 3)), 2)[:, :, None, None]
        torch.testing.assert_close(result, FUSIONS[fusion](sample, h))


@pytest.mark.parametrize("compare", ["state", "fused"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_gate_compares_what_it_is_told_to(fusion: str, compare: str) -> None:
    """Sample by sample: the cell, the fused result, its mean over the positions, then equation 5."""
    torch.manual_seed(7)
    module = SqueezeRecursion(
        3, cell="rnn", layers=1, gate="hard", fusion=fusion, compare=compare, temperature=0.02
    ).double()  # fmt: skip
    with torch.no_grad():  # a cell that imitates small features, so that some samples open the gate
        for name, p in module.recurrence.cell.named_parameters():
            p.copy_(torch.eye(3) + 0.3 * torch.randn(3, 3) if "weight_ih" in name else 0.2 * torch.randn(p.shape))
    x = torch.randn(60, 3, 3, 2, 2, dtype=torch.float64) * torch.linspace(0.05, 3, 60)[:, None, None, None, None]
    x += 0.5  # the product imitates better where the features are positive
    weights = {name: p.detach() for name, p in module.recurrence.cell.named_parameters()}
    result, opened = module(x), 0
    for sample, found in zip(x, result, strict=True):
        h = slow_cell("rnn", weights, sample.mean((2, 3)), 1)[:, :, None, None]
        fused = FUSIONS[fusion](sample, h)
        other = fused.mean((2, 3)) if compare == "fused" else h[:, :, 0, 0]
        is_open = slow_consistent(sample.mean((2, 3)), other, 0.02)
        opened += is_open
        torch.testing.assert_close(found, fused if is_open else sample)
    assert float(module.open_rate) == pytest.approx(opened / 60)
    assert 0 < opened < 60, opened


@pytest.mark.parametrize("compare", ["state", "fused"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_single_frame_never_opens_the_gate(fusion: str, compare: str) -> None:
    module = SqueezeRecursion(4, gate="hard", fusion=fusion, compare=compare)
    x = torch.randn(3, 4, 1, 2, 2)
    assert torch.equal(module(x).view(torch.int32), x.view(torch.int32))
    assert module.open_rate == 0
    module.gate_open = True  # held open, it fuses all the same
    assert not torch.allclose(module(x), x)
    assert module.open_rate == 0


def test_cells_learn_from_open_samples_alone() -> None:
    module = SqueezeRecursion(6, gate="hard", fusion="residual", compare="fused")
    opening = separated()[..., None, None] * torch.ones(2, 2)
    closing = torch.ones(1, 6, 5, 2, 2)
    module(torch.cat([opening, closing])).square().sum().backward()
    assert module.open_rate == 0.5
    both = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    module(opening).square().sum().backward()
    for p, expected in zip(module.parameters(), both, strict=True):
        assert expected.any()
        torch.testing.assert_close(p.grad, expected)
    module.zero_grad()
    module(closing).square().sum().backward()
    assert not any(p.grad.any() for p in module.parameters())


def test_an_lstm_of_zeros_silences() -> None:
    module = SqueezeRecursion(4)
    for p in module.parameters():
        nn.init.zeros_(p)
    assert not module(torch.randn(2, 4, 3, 2, 2)).any()


def test_parameters_of_the_default() -> None:
    c = 24
    assert sum(p.numel() for p in SqueezeRecursion(c).parameters()) == 16 * c * c + 16 * c


def test_without_a_gate_no_frame_sees_a_later_one() -> None:
    module = SqueezeRecursion(4)
    x = torch.randn(1, 4, 6, 3, 3)
    changed = x.clone()
    changed[:, :, 4:] += 1
    before, after = module(x), module(changed)
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.allclose(before[:, :, 4:], after[:, :, 4:])


def test_places_are_treated_alike() -> None:
    module = SqueezeRecursion(4).double()
    x = torch.randn(2, 4, 3, 5, 7, dtype=torch.float64)
    order = torch.randperm(35)
    shuffled = x.flatten(3)[..., order].view_as(x)
    torch.testing.assert_close(module(shuffled), module(x).flatten(3)[..., order].view_as(x))


def test_layouts_agree_and_stay() -> None:
    module = SqueezeRecursion(8)
    x = torch.randn(2, 8, 3, 5, 5)
    last = module(x.contiguous(memory_format=torch.channels_last_3d))
    assert last.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(last, module(x))


def identity_gate(fusion: str = "mul") -> SqueezeRecursion:
    """A gate whose "recurrent cells" repeat the features, so that separated frames open it."""
    module = SqueezeRecursion(6, gate="hard", fusion=fusion)
    module.recurrence = nn.Identity()
    return module


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_gate_is_per_sample(fusion: str) -> None:
    module = identity_gate(fusion)
    x = torch.cat([separated(), torch.ones(1, 6, 5), separated()])[..., None, None] * torch.ones(2, 2)
    x[1, 0, 0] = torch.tensor([[-0.0, 2.0], [2.0, 0.0]])  # equal means; a zero with a sign
    original = x.clone()
    y = module(x)
    h = x.mean((3, 4), keepdim=True)
    fused = x * (1 + h) if fusion == "residual" else FUSIONS[fusion](x, h)
    assert torch.equal(y[[0, 2]], fused[[0, 2]])
    assert torch.equal(y[1].view(torch.int32), original[1].view(torch.int32))  # bit for bit
    assert torch.equal(x.view(torch.int32), original.view(torch.int32))
    assert open_rates(nn.Sequential(module)) == {"0": pytest.approx(2 / 3)}
    for i in range(3):
        assert torch.equal(module(x[i : i + 1])[0], y[i])


@pytest.mark.parametrize("cell", CELLS)
def test_closed_gates_teach_nothing_until_held_open(cell: str) -> None:
    torch.manual_seed(6)
    module = SqueezeRecursion(8, cell=cell, gate="hard")
    x = torch.randn(3, 8, 4, 2, 2, requires_grad=True)
    y = module(x)
    y.square().sum().backward()
    assert torch.equal(y, x) and module.open_rate == 0
    assert torch.equal(x.grad, 2 * x)
    assert all(not p.grad.any() for p in module.parameters())

    assert set_gate(nn.Sequential(module), open=True) == 1
    module(x).square().sum().backward()
    assert module.open_rate == 0  # what the gate would have said
    assert all(p.grad.any() for p in module.parameters())
    set_gate(module, open=False)
    assert torch.equal(module(x), x)


def test_a_learned_cell_opens_the_gate_and_goes_on_learning() -> None:
    module = SqueezeRecursion(6, cell="rnn", layers=1, gate="hard")
    with torch.no_grad():  # h = tanh(features / 10), which is close to the features where these are small
        for name, p in module.recurrence.cell.named_parameters():
            p.copy_(torch.eye(6)) if name.startswith("weight_ih") else p.zero_()
    module.temperature = 1e-3
    x = (separated() / 100)[..., None, None].expand(1, 6, 5, 2, 2)
    module(x).sum().backward()
    assert module.open_rate == 1
    assert module.recurrence.cell.weight_ih_l0.grad.any()


def test_set_gate_counts_the_gates() -> None:
    model = nn.Sequential(SqueezeRecursion(2), SqueezeRecursion(2, gate="hard"), nn.Linear(2, 2))
    assert set_gate(model, open=True) == 1
    assert open_rates(model) == {}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("gate", ["none", "hard"])
def test_half_precision_is_finite(dtype: torch.dtype, gate: str) -> None:
    # 300 x 300 places of 500: their sum does not fit into float16, their mean does
    x = (torch.rand(1, 8, 3, 300, 300) * 500).to(dtype)
    for module in (SqueezeRecursion(8, gate=gate), SqueezeRecursion(8, gate=gate).to(dtype)):
        with torch.autocast("cpu", dtype):
            y = module(x)
        assert y.dtype == dtype and y.isfinite().all()


def test_the_gate_survives_export() -> None:
    module = SqueezeRecursion(4, gate="hard").eval()
    x = torch.randn(2, 4, 3, 2, 2)
    exported = torch.export.export(module, (x,), strict=False).module()  # PyTorch 2.6 has another default
    torch.testing.assert_close(exported(x), module(x))


def test_a_gate_decides_on_a_pytorch_that_cannot_tell_exporting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.compiler, "is_exporting", raising=False)  # new in PyTorch 2.7
    module = SqueezeRecursion(4, gate="hard")
    module(torch.randn(2, 4, 3, 2, 2))
    assert module.open_rate is not None


# ---- bad input


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cell": "lsmt"}, "SqueezeRecursion: cell is 'lsmt'; choose from 'lstm', "),
        ({"gate": "soft"}, "SqueezeRecursion: gate is 'soft'; choose from "),
        ({"fusion": "concat"}, "SqueezeRecursion: fusion is 'concat'; choose from "),
        ({"layers": 0}, "SqueezeRecursion: layers is 0; give "),
        ({"temperature": 0.0}, "SqueezeRecursion: temperature is 0.0; give a number above 0"),
        ({"temperature": math.nan}, "SqueezeRecursion: temperature is nan; give a number above 0"),
    ],
)
def test_bad_options(options: dict[str, object], says: str) -> None:
    with pytest.raises(KinemaError) as caught:
        SqueezeRecursion(4, **options)
    assert str(caught.value).startswith(says)


def test_bad_sequences() -> None:
    with pytest.raises(KinemaError, match=r"b has shape \(1, 2, 4\); give the shape of a, \(1, 2, 3\)"):
        cycle_consistent(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4))
    with pytest.raises(KinemaError, match="temperature is -1"):
        soft_nearest(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), temperature=-1)
