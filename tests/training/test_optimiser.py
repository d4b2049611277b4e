"""The optimisers against their equations, and which parameters decay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.models import VideoModel, create_model
from kinema.training.config import Optim
from kinema.training.learning import optimiser, parameter_groups


def network() -> VideoModel:
    return create_model("stm_r18", num_classes=3, frames=4, width=0.0625)


def stepped(optim: Optim, steps: int = 4) -> tuple[dict[str, Tensor], dict[str, Tensor], list[dict[str, Tensor]]]:
    """Parameters in float64 before and after some steps, and the gradients of each step."""
    torch.manual_seed(3)
    model = network().double()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    built, gradients = optimiser(model, optim), []
    for _ in range(steps):
        for p in model.parameters():
            p.grad = torch.randn_like(p)
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        built.step()
    return before, {name: p.detach() for name, p in model.named_parameters()}, gradients


def test_adamw_is_its_paper_with_each_parts_rate_and_without_decay_where_told() -> None:
    optim = Optim(
        name="adamw", lr=0.003, momentum=0.8, beta2=0.95, weight_decay=0.2, decay_bias_norm=False,
        lr_mult={"features": 0.5},
    )  # fmt: skip
    before, after, gradients = stepped(optim)
    for name, start in before.items():
        lr = optim.lr * (1 if name.startswith("classifier.") else 0.5)
        decay = 0.2 if start.ndim > 1 else 0.0
        x, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
        for t, grads in enumerate(gradients, 1):
            g = grads[name]
            m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
            update = (m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
            x = x - lr * decay * x - lr * update
        torch.testing.assert_close(after[name], x, rtol=1e-10, atol=1e-12)


def test_sgd_decays_everything_by_default() -> None:
    optim = Optim(lr=0.1, momentum=0.9, weight_decay=0.01)
    before, after, gradients = stepped(optim)
    for name, start in before.items():
        x, velocity = start.clone(), torch.zeros_like(start)
        for grads in gradients:
            velocity = 0.9 * velocity + grads[name] + 0.01 * x
            x = x - 0.1 * velocity
        torch.testing.assert_close(after[name], x, rtol=1e-10, atol=1e-12)


def test_biases_and_norms_can_be_left_out_of_the_decay() -> None:
    model = network()
    groups = parameter_groups(model, Optim(weight_decay=0.1, decay_bias_norm=False))
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    norms = {
        f"{place}.{name}"
        for place, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    }
    for name, p in model.named_parameters():
        left_out = name in norms or name.endswith("bias")
        assert decays[id(p)] == (0.0 if left_out else 0.1), name
    (group,) = parameter_groups(model, Optim(weight_decay=0.1))
    assert group["weight_decay"] == 0.1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "adam"}, r"optim\.name 'adam'.*adamw"),
        ({"name": "AdamW"}, r"optim\.name 'AdamW'"),
        ({"name": "adamw", "nesterov": True}, r"optim\.nesterov is true, but adamw"),
        ({"name": "adamw", "momentum": 1.0}, r"optim\.momentum is 1\.0"),
        ({"name": "adamw", "beta2": 1.0}, r"optim\.beta2 is 1\.0"),
        ({"name": "adamw", "beta2": float("nan")}, r"optim\.beta2 is nan"),
        ({"beta2": 0.99}, r"optim\.beta2 is 0\.99, but sgd"),
    ],
)
def test_what_an_optimiser_cannot_take_is_refused(fields: dict, sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        Optim(**fields)
