import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kinema.backends.folding import fold_batchnorm
from kinema.models import create_model, find_model, list_models


def families() -> list[str]:
    """The smallest name of every registered family."""
    found: dict[str, str] = {}
    for name in sorted(list_models(), key=lambda name: (len(name), name)):
        found.setdefault(find_model(name).build.__module__ + find_model(name).build.__name__, name)
    return sorted(found.values())


def unsettled(network: nn.Module) -> nn.Module:
    """Statistics and weights of BatchNorm that matter: fresh ones do nothing."""
    noise = torch.Generator().manual_seed(3)
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.normal_(0, 0.1, generator=noise)
            norm.running_var.uniform_(0.8, 1.25, generator=noise)
            norm.weight.data.uniform_(0.6, 0.9, generator=noise)
            norm.bias.data.normal_(0, 0.1, generator=noise)
    return network.eval()


@pytest.mark.parametrize("name", families())
@torch.no_grad()
def test_every_family_gives_the_same_logits(name: str) -> None:
    torch.manual_seed(0)
    model = unsettled(create_model(name, num_classes=5, width=0.125))
    clip = torch.randn(2, 3, 8, 32, 32)
    expected = model(clip)
    folded, count = fold_batchnorm(model, clip[:1])
    assert count > 0
    found = folded(clip)
    assert (found - expected).abs().max() <= 1e-4 * max(1, expected.abs().max())
    assert not torch.equal(found, expected)  # something was computed otherwise
    assert torch.equal(model(clip), expected)  # and the network is as it was


class Odd(nn.Module):
    """A convolution whose output something else reads as well, one that is shared, and a BatchNorm before another."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.read_norm = nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4)
        self.shared, self.norm_a, self.norm_b = nn.Conv3d(4, 4, 1), nn.BatchNorm3d(4), nn.BatchNorm3d(4)
        self.before, self.last, self.plain = nn.BatchNorm3d(4), nn.Conv3d(4, 4, 1), nn.BatchNorm3d(4, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.read(x)
        y = y + self.read_norm(y)
        y = self.norm_a(self.shared(y)) + self.norm_b(self.shared(y))
        return self.plain(self.last(self.before(y))).mean((2, 3, 4))


@torch.no_grad()
def test_only_what_nothing_else_reads_is_folded() -> None:
    torch.manual_seed(0)
    model = Odd()
    for norm in (model.read_norm, model.norm_a, model.norm_b, model.before, model.plain):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    model.train()
    clip = torch.randn(2, 3, 2, 4, 4)
    folded, count = fold_batchnorm(model, clip)
    assert count == 1 and isinstance(folded.plain, nn.Identity)
    assert model.training and not folded.training
    torch.testing.assert_close(folded(clip), model.eval()(clip), rtol=1e-4, atol=1e-5)
