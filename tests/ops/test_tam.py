"""TAM against a slow reference of its equations (Liu et al., section 3.1)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.ops import TAM


def awake(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype))
    for m in module.modules():
        if isinstance(m, nn.BatchNorm1d):
            m.running_mean.uniform_(-0.2, 0.2, generator=generator)
            m.running_var.uniform_(0.5, 1.5, generator=generator)
    return module.double().eval()


def clip(t: int = 5, c: int = 8) -> Tensor:
    return torch.randn(2, c, t, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_it_is_the_paper_written_out(kernel_size: int) -> None:
    tam, x = awake(TAM(8, 5, kernel_size=kernel_size)), clip()
    s = x.mean((3, 4))
    importance = tam.weigh(s)  # N C T
    expected = torch.zeros_like(x)
    for n in range(2):
        for c in range(8):
            w1, norm, w2 = tam.kernel[0].weight, tam.kernel[1], tam.kernel[3].weight
            hidden = (w1 @ s[n, c] - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
            theta = (w2 @ (hidden * norm.weight + norm.bias).relu()).softmax(0)
            for t in range(5):
                for i in range(kernel_size):
                    at = t + i - kernel_size // 2
                    if 0 <= at < 5:
                        expected[n, c, t] += theta[i] * importance[n, c, at] * x[n, c, at]
    torch.testing.assert_close(tam(x), expected)
    assert (tam.kernels(s).sum(2) - 1).abs().max() < 1e-12


def test_each_clip_has_its_own_kernels_and_channels_meet_in_the_local_branch_only() -> None:
    tam, x = awake(TAM(8, 5)), clip()
    kernels = tam.kernels(x.mean((3, 4)))
    assert (kernels[0] - kernels[1]).abs().max() > 0.01
    changed = x.clone()
    changed[:, 3] += 1
    moved = (tam.kernels(changed.mean((3, 4))) - kernels).abs().amax((0, 2)) > 0
    assert moved.tolist() == [c == 3 for c in range(8)]
    assert ((tam(changed) - tam(x)).abs().amax((0, 2, 3, 4)) > 0).all()


def test_clips_of_other_lengths_have_the_kernels_of_the_interpolated_clip() -> None:
    tam, x = awake(TAM(8, 4)), clip(t=8)
    pairs = x.mean((3, 4)).unflatten(2, (4, 2)).mean(3)  # linear interpolation to half is the mean of two neighbours
    torch.testing.assert_close(tam.kernels(x.mean((3, 4))), tam.kernels(pairs))
    for t in (1, 3, 8):
        assert tam(clip(t=t)).shape == (2, 8, t, 4, 3)


def test_it_starts_near_the_mean_of_three_frames_and_has_the_counts_of_the_paper() -> None:
    torch.manual_seed(0)
    tam = TAM(64, 8)
    assert (tam.kernels(torch.randn(2, 64, 8)) - 1 / 3).abs().max() < 0.01
    # W1 and W2, their BatchNorm, the two convolutions of the local branch and their BatchNorm.
    assert sum(p.numel() for p in tam.parameters()) == 8 * 16 + 16 * 3 + 32 + 64 * 16 * 3 + 16 * 64 + 32


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"channels": 0}, "channels"),
        ({"frames": 0}, "frames"),
        ({"kernel_size": 2}, "kernel_size"),
        ({"alpha": 0.5}, "alpha"),
        ({"beta": True}, "beta"),
    ],
)
def test_bad_arguments(values: dict, field: str) -> None:
    with pytest.raises(KinemaError, match=field):
        TAM(**{"channels": 8, "frames": 4, **values})


def test_other_channels_are_refused() -> None:
    with pytest.raises(KinemaError, match="give N 8 T H W"):
        TAM(8, 4)(torch.zeros(1, 4, 4, 2, 2))
    with pytest.raises(KinemaError, match="give N 8 T H W"):
        TAM(8, 4)(torch.zeros(1, 8, 2, 2))
