"""Methods in their defaults learn about as well as the networks that they stand in; about two minutes each on a CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from training.moving_shapes import MOTIONS, Clips, moving_shapes

from kinema.models import VideoModel, create_model
from kinema.ops import SqueezeRecursion
from kinema.ops.recurrence import stage_open_rates
from kinema.training.config import Optim
from kinema.training.learning import parameter_groups
from kinema.training.schedule import factor

EPOCHS, CLIPS, BATCH = 10, 480, 16
OPTIM = Optim(lr=0.05, nesterov=True, warmup=1.0)


def learned(name: str, seed: int, task: Callable[..., Clips] = moving_shapes, **options: float) -> VideoModel:
    """A network after 300 steps, none of which sees a clip again."""
    torch.manual_seed(seed)
    model = create_model(name, num_classes=len(MOTIONS), frames=16, width=0.125, **options).train()
    sgd = torch.optim.SGD(
        parameter_groups(model, OPTIM), momentum=OPTIM.momentum, weight_decay=OPTIM.weight_decay, nesterov=True
    )
    highest = [group["lr"] for group in sgd.param_groups]
    for epoch in range(EPOCHS):
        data = task(CLIPS, seed=1000 * seed + epoch + 1)
        for i in range(0, CLIPS, BATCH):
            now = factor(OPTIM, epoch + i / CLIPS, EPOCHS)
            for group, lr in zip(sgd.param_groups, highest, strict=True):
                group["lr"] = now * lr
            sgd.zero_grad()
            F.cross_entropy(model(data.clips[i : i + BATCH]), data.labels[i : i + BATCH]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIM.max_grad_norm)
            sgd.step()
    return model.eval()


def logits(model: VideoModel, data: Clips) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(clips) for clips in data.clips.split(32)])


def accuracy(model: VideoModel, data: Clips) -> float:
    return float((logits(model, data).argmax(1) == data.labels).float().mean())


def without_recurrence(model: VideoModel) -> VideoModel:
    """The same network, all weights of its recurrent cells zero."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, SqueezeRecursion):
                for p in module.recurrence.parameters():
                    p.zero_()
    return model


@pytest.fixture(scope="module")
def unseen() -> Clips:
    return moving_shapes(256, seed=10**6)


def test_a_clip_played_backwards_is_of_the_opposite_class() -> None:
    """Where a shape is bright, its centre of mass and its size say how it moves."""
    data = moving_shapes(64, seed=0, noise=0.0)
    place = torch.linspace(-1, 1, data.clips.shape[-1])
    assert torch.bincount(data.labels, minlength=8).tolist() == [8] * 8
    for clip, label in zip(data.clips, data.labels, strict=True):
        mass = (clip - clip[:, :1, :1, :1]).abs().sum(0)  # T S S, without the ground
        size = mass.sum((1, 2))
        x, y = ((mass * place).sum((1, 2)) / size, (mass * place[:, None]).sum((1, 2)) / size)
        turn = (x[:-1] * y[1:] - x[1:] * y[:-1]).sum()  # on a screen, whose y points down, clockwise is positive
        ways = [
            x[0] - x[-1],
            x[-1] - x[0],
            y[0] - y[-1],
            y[-1] - y[0],
            turn,
            -turn,
            size[-1] - size[0],
            size[0] - size[-1],
        ]
        assert ways[int(label)] > 0, MOTIONS[int(label)]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "backbone"), [("srtg_r3d_34", "r3d_34"), ("mtconv_r50", "r3d_50")])
def test_a_method_learns_as_well_as_its_backbone(method: str, backbone: str, unseen: Clips) -> None:
    """Of one seed each; `benchmarks/moving_shapes.py` takes three."""
    found = {name: accuracy(learned(name, seed=0), unseen) for name in (method, backbone)}
    assert found[method] >= found[backbone] - 0.1, found
    assert found[method] > 0.5, found  # chance is 0.125


@pytest.mark.slow
def test_the_recurrence_of_srtg_takes_part(unseen: Clips) -> None:
    model = learned("srtg_r3d_34", seed=0)
    before = logits(model, unseen)
    rates = stage_open_rates(model)
    assert float(max(rates.values())) > 0.5
    assert rates["layer4"] == 0  # one frame is left there
    assert (logits(without_recurrence(model), unseen) - before).norm() > 0.02 * before.norm()
