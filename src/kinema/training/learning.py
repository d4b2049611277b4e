"""Trainable parts of a network and their learning rates: frozen parts, factors, fixed BatchNorm statistics."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kinema.errors import KinemaError, unknown
from kinema.models import VideoModel
from kinema.ops.recurrence import gated_stages
from kinema.text import plural
from kinema.training.config import Optim, TrainConfig

# Keys of `optim.lr_mult` that are not the name of a single part.
FEATURES = "features"  # everything except the classifier
RECURRENCE = "recurrence"  # recurrent cells; the names of their weights contain this word


def freeze(model: VideoModel, config: TrainConfig) -> None:
    """Sets `requires_grad` to False for every parameter that must not be trained.

    Args:
        model: changed in place.
        config: `trainable`, `optim.lr_mult` and `frozen_batchnorm` are used.

    Raises:
        KinemaError: `trainable` or `optim.lr_mult` names a part that the network does not have, a factor has no effect,
            or nothing trainable is left.
    """
    if config.trainable == "class_regularisation" and not model.class_regularisation:
        raise KinemaError(
            "trainable is class_regularisation: give options.class_regularisation, one number per stage, such as "
            "[0.9, 0.8, 0.7, 0.6]"
        )
    part = _learning_part(model, config)
    _known(model, config.optim)
    if part is not model:
        model.requires_grad_(False)
        part.requires_grad_(True)
        _effective(model, config)
    for name, parameter in model.named_parameters():
        if rate(name, config.optim, model.recurrence_rate) == 0:
            parameter.requires_grad_(False)
    if config.frozen_batchnorm:
        for module in _batchnorms(model):
            module.requires_grad_(False)
    if not any(p.requires_grad for p in model.parameters()):
        raise KinemaError("optim.lr_mult freezes every trainable part: give at least one part a factor above 0")


def keep_frozen(model: VideoModel, config: TrainConfig) -> None:
    """Sets the network to training mode, but every frozen BatchNorm to evaluation mode.

    A BatchNorm is frozen if its weights are frozen, if it is in a part that is not trained, and always with
    `frozen_batchnorm`.

    Args:
        model: its modes are changed; `freeze` must have been called before.
        config: as given to `freeze`.
    """
    part = _learning_part(model, config)
    learning = set(part.modules())
    model.train()
    for module in _batchnorms(model):
        own = list(module.parameters())
        frozen = bool(own) and not any(p.requires_grad for p in own)
        if config.frozen_batchnorm or frozen or module not in learning:
            module.eval()


def check_gates(model: VideoModel, config: TrainConfig) -> None:
    """Rejects a `gate_warmup` if there is no gate to hold open, or if it would stop the network from learning.

    Raises:
        KinemaError: the network has no hard gate, or its fusion multiplies the features by the states.
    """
    if not config.gate_warmup:
        return
    if not gated_stages(model):
        raise KinemaError(
            f"gate_warmup is {config.gate_warmup}, but {config.model} has no gate: set options.gate to hard"
        )
    if model.trunk_product:
        raise KinemaError(
            f"gate_warmup is {config.gate_warmup}, but options.fusion is mul at the end of every block, where open "
            "gates multiply all features by states near 0: set options.fusion to residual, or gate_warmup to 0"
        )


def doubts(model: VideoModel, config: TrainConfig) -> list[str]:
    """Finds settings with which a network can hardly learn.

    Args:
        model: the network after `freeze`.
        config: configuration of the run.

    Returns:
        One sentence per setting.
    """
    if config.weights is not None:
        return []
    found = []
    if model.trunk_product and config.trainable == "all":
        found.append(
            "options.fusion is mul at the end of every block: recurrent states near 0 multiply all features, so that "
            "the network hardly learns from random weights; options.fusion residual learns"
        )
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        found.append(
            f"weights is not given, so {plural(len(frozen), 'frozen tensor')} (the first is {frozen[0]}) will keep "
            "the values of an untrained network: give the weights of a trained one"
        )
    return found


def rate(name: str, optim: Optim, recurrence: float = 1.0) -> float:
    """Returns the factor of the learning rate of one parameter.

    Args:
        name: name of the parameter, as `named_parameters` gives it.
        optim: its `lr_mult` is used.
        recurrence: factor of recurrent cells if `lr_mult` has no key `recurrence`.
    """
    given = optim.lr_mult
    own = given.get(RECURRENCE, recurrence) if _matches(name, RECURRENCE) else 1.0
    parts = [key for key in given if key not in (FEATURES, RECURRENCE) and _matches(name, key)]
    if parts:
        return own * given[max(parts, key=len)]
    return own * (given.get(FEATURES, 1.0) if _matches(name, FEATURES) else 1.0)


def parameter_groups(model: VideoModel, optim: Optim) -> list[dict[str, Any]]:
    """Groups the trainable parameters by learning rate and weight decay.

    Args:
        model: the network after `freeze`.
        optim: the learning rate, the factors of the parts and the weight decay.

    Returns:
        Groups for a PyTorch optimiser, each with `params`, `lr` and `weight_decay`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = optim.weight_decay if optim.decay_bias_norm or parameter.ndim > 1 else 0.0
            groups.setdefault((rate(name, optim, model.recurrence_rate), decay), []).append(parameter)
    return [
        {"params": parameters, "lr": optim.lr * factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]


def optimiser(model: VideoModel, optim: Optim) -> torch.optim.Optimizer:
    """Builds the optimiser of `optim.name`.

    Args:
        model: the network after `freeze`.
        optim: all settings of the optimiser.
    """
    groups = parameter_groups(model, optim)
    if optim.name == "adamw":
        return torch.optim.AdamW(groups, optim.lr, betas=(optim.momentum, optim.beta2))
    return torch.optim.SGD(groups, optim.lr, momentum=optim.momentum, nesterov=optim.nesterov)


def _learning_part(model: VideoModel, config: TrainConfig) -> nn.Module:
    return model if config.trainable == "all" else getattr(model, config.trainable)


def _batchnorms(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, _BatchNorm)]


def _matches(name: str, key: str) -> bool:
    """True if a key of `optim.lr_mult` applies to the parameter with that name."""
    if key == FEATURES:
        return not name.startswith("classifier.")
    if key == RECURRENCE:
        return RECURRENCE in name.split(".")
    return name == key or name.startswith(key.rstrip(".") + ".")


def _known(model: VideoModel, optim: Optim) -> None:
    """Rejects a key of `optim.lr_mult` that matches no parameter."""
    names = [name for name, _ in model.named_parameters()]
    for key in optim.lr_mult:
        if not any(_matches(name, key) for name in names):
            parts = {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2)} | {FEATURES}
            if any(_matches(name, RECURRENCE) for name in names):
                parts.add(RECURRENCE)
            raise unknown("part of the network in optim.lr_mult", key, parts)


def _effective(model: VideoModel, config: TrainConfig) -> None:
    """Rejects factors of parts that `trainable` freezes."""
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    for key in config.optim.lr_mult:
        if key != FEATURES and not any(_matches(name, key) for name in learning):  # TrainConfig checks `features`
            raise KinemaError(
                f"optim.lr_mult.{key} has no effect if trainable is {config.trainable}: remove one of the two"
            )
