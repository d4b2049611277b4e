"""Class Regularisation: the kernels of each stage that it amplifies most, and the later kernels that they affect.

Source: thesis, section 6.3, figure 6.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.explain.activations import one_clip, record_inputs
from kinema.models.modes import in_evaluation
from kinema.ops.class_regularisation import ClassRegularisation


@dataclass(frozen=True)
class Amplified:
    """One of the most amplified kernels of a stage.

    Attributes:
        stage: name of the stage.
        channel: index of the kernel.
        gain: its factor in Class Regularisation, relative to the mean over the stage's channels.
        map: float32 T' h w, the output of the kernel after multiplication by its factor.
        leads_to: kernels of the next regularised stage whose mean changes most when this kernel is silenced, the
            largest change first: (channel, change as a share of the total change). Empty in the last stage.
        evidence: decrease of the class's logit when this kernel is silenced.
    """

    stage: str
    channel: int
    gain: float
    map: Tensor
    leads_to: tuple[tuple[int, float], ...]
    evidence: float


def amplified_kernels(model: nn.Module, clip: Tensor, target: int, *, count: int = 3) -> list[Amplified]:
    """Finds the most amplified kernels of every regularised stage and follows them to the next one.

    The effect of a kernel is measured by silencing it: the network runs again with this channel set to 0. The factors
    of all stages are kept from the first run, so that the effect comes from the connections and not from a change of
    the class that Class Regularisation chooses.

    Args:
        model: a network with Class Regularisation (`class_regularisation`).
        clip: 3 T H W or 1 3 T H W.
        target: the class whose score is measured.
        count: kernels per stage, and kernels that each leads to.

    Returns:
        `count` per stage, the largest gain first, in the order of the network. For equal gains, the kernel with the
        larger mean activation comes first.

    Raises:
        KinemaError: the network has no Class Regularisation, or the class does not exist.
    """
    batch = one_clip(model, clip)
    stages = {
        name: module
        for name, module in getattr(model, "class_regularisation", {}).items()
        if isinstance(module, ClassRegularisation)
    }
    if not stages:
        raise KinemaError(
            f"{type(model).__name__} has no Class Regularisation: build the network with class_regularisation, "
            "a list of one strength per stage"
        )
    classifier = model.get_submodule("classifier")
    assert isinstance(classifier, nn.Linear)
    if not 0 <= target < classifier.out_features:
        raise KinemaError(f"target is {target}: the network has classes 0 to {classifier.out_features - 1}")
    passed = record_inputs(model, batch, stages)
    with torch.no_grad():
        factors = {name: module.gains(passed[name][0], classifier.weight) for name, module in stages.items()}
    plain = _run(model, batch, stages, factors)
    names = list(stages)
    found = []
    for number, name in enumerate(names):
        y = passed[name][1]
        gains = factors[name][0].float().cpu()
        gains = gains / gains.mean()
        strength = y[0].float().abs().mean((1, 2, 3)).cpu()
        order = sorted(range(len(gains)), key=lambda c: (-float(gains[c]), -float(strength[c])))
        for channel in order[:count]:
            silenced = _run(model, batch, stages, factors, silence=(name, channel))
            leads: tuple[tuple[int, float], ...] = ()
            if number + 1 < len(names):
                change = (plain[1][names[number + 1]] - silenced[1][names[number + 1]]).abs()
                whole = float(change.sum())
                far = change.argsort(descending=True, stable=True)[:count].tolist()
                leads = tuple((c, float(change[c]) / whole) for c in far) if whole > 0 else ()
            evidence = float(plain[0][target] - silenced[0][target])
            found.append(Amplified(name, channel, float(gains[channel]), y[0, channel].float().cpu(), leads, evidence))
    return found


def _run(
    model: nn.Module, batch: Tensor, stages: dict[str, ClassRegularisation], factors: dict[str, Tensor],
    silence: tuple[str, int] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """Returns logits K and the mean of every channel per stage, with given factors and one channel silenced."""
    means: dict[str, Tensor] = {}
    handles = []
    try:
        for name, module in stages.items():

            def note(_: nn.Module, given: tuple[Tensor, ...], __: Tensor, name: str = name) -> Tensor:
                y = given[0] * factors[name].to(given[0].dtype)[:, :, None, None, None]
                if silence is not None and silence[0] == name:
                    y[:, silence[1]] = 0
                means[name] = y[0].float().mean((1, 2, 3)).cpu()
                return y

            handles.append(module.register_forward_hook(note))
        with in_evaluation(model), torch.no_grad():
            logits = model(batch)[0].float().cpu()
    finally:
        for handle in handles:
            handle.remove()
    return logits, means
