"""Networks for the tests of explanations: small ones that do what people's own networks do, and those of the zoo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kinema.models import VideoModel, create_model, find_model, list_models

FRAMES, SIDE = 8, 33  # the last stages of all networks then have more than one point
# What the defaults make too large for a test.
OPTIONS: dict[str, dict[str, Any]] = {
    "attention_head": {"backbone": "r2d_50"},
    "cidc": {"backbone": "tsm_r18", "backbone_options": {"fold": 4}},
    "lstm_head": {"backbone": "tsn_efficientnet_lite0"},
    "mtconv_r50": {"layers": 1},
    "resnext3d_50": {"groups": 4},
}


def families() -> list[str]:
    """One name per builder and preset that differs in more than depth: every registered network, the shallow first."""
    chosen: dict[Any, str] = {}
    for name in sorted(list_models(), key=lambda n: (len(n), n)):
        chosen.setdefault((find_model(name).build, name.rstrip("0123456789")), name)
    return sorted(chosen.values())


def zoo(name: str, **options: Any) -> VideoModel:
    """A network of the zoo, as narrow as it gets, in which nothing starts as zero."""
    torch.manual_seed(0)
    given = {"num_classes": 4, "frames": FRAMES, "width": 0.125, **OPTIONS.get(name, {}), **options}
    model = create_model(name, **given).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) and not module.weight.any():
            nn.init.constant_(module.weight, 0.5)
    nn.init.normal_(model.classifier.weight)
    return model


def clip(frames: int = FRAMES, side: int = SIDE, seed: int = 0) -> Tensor:
    return torch.randn(1, 3, frames, side, side, generator=torch.Generator().manual_seed(seed))


class Own(nn.Module):
    """A person's own network: two stages, an in-place ReLU that overwrites the first, a module that runs twice."""

    feature_maps = ("first", "second")

    def __init__(self, classes: int = 3, *, inside: Callable[..., Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Sequential(nn.Conv3d(3, 6, 3, padding=1), nn.BatchNorm3d(6))
        self.relu = nn.ReLU(inplace=True)
        self.shared = nn.Conv3d(6, 6, 3, padding=1)
        self.second = nn.Sequential(nn.Conv3d(6, 8, 3, (1, 2, 2), 1), nn.Dropout(0.5))
        self.classifier = nn.Linear(8, classes)
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        x = self.shared(self.shared(x))
        x = self.second(x) if self.inside is None else self.inside(self.second, x)
        return self.classifier(x.mean((2, 3, 4)))


def checkpointed(module: nn.Module, x: Tensor) -> Tensor:
    return checkpoint(module, x, use_reentrant=False)


@contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Asserts that modes, hooks, weights, statistics, gradients and random generators are the same afterwards."""

    def state() -> tuple[Any, ...]:
        modules = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
        switches = [getattr(m, "grad_checkpointing", None) for m in model.modules()]
        return modules, switches, [p.grad is None for p in model.parameters()], torch.is_grad_enabled()

    before, values = state(), {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    yield
    assert state() == before
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


class Fixed(nn.Module):
    """A stage that gives the same maps for every clip: its answer is known."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = nn.Parameter(maps)

    def forward(self, x: Tensor) -> Tensor:
        return self.maps.expand(len(x), *self.maps.shape) + 0 * x.mean()


class Planted(nn.Module):
    """Maps C T H W, their mean, and a classifier with these rows K C."""

    feature_maps = ("stage",)

    def __init__(self, maps: Tensor, rows: Tensor) -> None:
        super().__init__()
        self.stage = Fixed(maps)
        self.classifier = nn.Linear(rows.shape[1], len(rows))
        with torch.no_grad():
            self.classifier.weight.copy_(rows)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.stage(x).mean((2, 3, 4)))
