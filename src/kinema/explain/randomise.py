"""Randomisation of the weights of a network, from the classifier down, one stage after another.

Source: Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018, section 3 (cascading randomisation).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.models.modes import in_evaluation

CLASSIFIER, HEAD, STEM = "classifier", "head", "stem"


def cascade(model: nn.Module, clips: Tensor, *, seed: int = 0, batch: int = 8) -> Iterator[tuple[str, nn.Module]]:
    """Randomises a copy of a network from the top down.

    The values of every parameter are shuffled within it, so that their distribution is kept and their order is lost.
    The running statistics of BatchNorm are then recomputed from the clips: with the statistics of the trained weights,
    activations would vanish or explode, and maps would change only for this reason.

    Args:
        model: a network with `feature_maps` (names of its stages, first to last) and `classifier`; it is left
            unchanged.
        clips: N 3 T H W, normalised.
        seed: seed of the shuffling.
        batch: clips per forward pass.

    Yields:
        The name of the part that was randomised last, and the network so far, in evaluation mode. The parts are
        `classifier`, `head` if there are modules between the last stage and the classifier, the stages from the last to
        the first, and `stem` for the modules before them. It is always the same network object: use it before the next
        step.

    Raises:
        KinemaError: the network has no stages or no classifier.
    """
    stages = getattr(model, "feature_maps", None)
    if not stages or not isinstance(getattr(model, CLASSIFIER, None), nn.Module):
        raise KinemaError(
            f"{type(model).__name__}: randomising from the top down needs feature_maps, the names of the stages in "
            "order, and classifier: add both attributes to the network"
        )
    twin = copy.deepcopy(model).eval()
    draw = torch.Generator().manual_seed(seed)
    for name, parameters in _parts(twin, tuple(stages)):
        with torch.no_grad():
            for parameter in parameters:
                flat = parameter.flatten()
                parameter.copy_(flat[torch.randperm(len(flat), generator=draw).to(flat.device)].view_as(parameter))
        measure_statistics(twin, clips, batch)
        yield name, twin


def _parts(model: nn.Module, stages: tuple[str, ...]) -> list[tuple[str, list[nn.Parameter]]]:
    """Returns the parameters of each part, from the classifier down, each parameter once."""
    owner: dict[int, str] = {id(p): CLASSIFIER for p in model.get_submodule(CLASSIFIER).parameters()}
    regularised = getattr(model, "class_regularisation", {})
    for stage in reversed(stages):
        modules = [model.get_submodule(stage)]
        if stage in regularised:
            modules.append(regularised[stage])
        for module in modules:
            for parameter in module.parameters():
                owner.setdefault(id(parameter), stage)
    found: dict[str, list[nn.Parameter]] = {name: [] for name in (CLASSIFIER, HEAD, *reversed(stages), STEM)}
    last_seen = False
    for parameter in model.parameters():
        place = owner.get(id(parameter))
        last_seen = last_seen or place == stages[-1]
        found[place or (HEAD if last_seen else STEM)].append(parameter)
    return [(name, parameters) for name, parameters in found.items() if parameters]


def measure_statistics(model: nn.Module, clips: Tensor, batch: int = 8) -> None:
    """Recomputes the running statistics of all BatchNorms, as the mean over batches of clips.

    Args:
        model: changed in place.
        clips: N 3 T H W, normalised.
        batch: clips per forward pass.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with in_evaluation(model), torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.training = True
        for chunk in clips.split(batch):
            model(chunk)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
