"""Class Feature Pyramids: trace a class back through the layers to the channels that contribute to it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, get_args

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError, unknown
from kinema.explain.activations import one_clip
from kinema.explain.class_weights import check_target
from kinema.explain.methods import Asked, Finding, Findings, register
from kinema.explain.pyramid.backstep import BackStep, Found, Mode, Start
from kinema.explain.pyramid.graph import Node, Pyramid
from kinema.explain.pyramid.kernels import Kernel, LocalKernel
from kinema.explain.pyramid.plan import CLASS, Column, plan_of
from kinema.explain.pyramid.read import Reader, Readings
from kinema.explain.source import Pixels, pixels_of
from kinema.explain.tubes import clip_size

DEPTH = 3  # the layers of table 7.1 and figure 7.12
# Table 7.1, for SlowFast figure 7.12. The thesis chose each value by the number of remaining features; the value of
# ResNet50-3D is also used for networks with 34 layers.
_THRESHOLDS = {
    "i3d_v1": 0.65, "slowfast*": 0.65, "mtnet*": 0.67, "mtconv*": 0.67,
    "*r3d_34": 0.55, "*r3d_50": 0.55, "*r2plus1d_34": 0.55, "*r2plus1d_50": 0.55,
}  # fmt: skip
OTHERS = 0.6  # most networks of the table: ResNet101-3D, ResNet152-3D, ResNeXt101-3D, MFNet


def default_threshold(model: nn.Module) -> float:
    """Returns theta for a network: the value of the thesis for its family, or 0.6 for networks not in the thesis."""
    architecture = getattr(model, "architecture", None)
    name = str(architecture.get("name")) if isinstance(architecture, dict) else ""
    return next((value for pattern, value in _THRESHOLDS.items() if fnmatchcase(name, pattern)), OTHERS)


def class_feature_pyramid(
    model: nn.Module,
    clip: Tensor,
    target: int,
    *,
    depth: int | str = DEPTH,
    threshold: float | None = None,
    mode: Mode = "feature",
    start: Start = "activations",
) -> Pyramid:
    """Traces a class back through a network.

    A step from output j of a layer to its inputs i: `p_i = mean(W[j, i]) mean(a_i)`, kernels averaged over time, height
    and width, activations a over the clip. p is scaled to [0, 1] over the inputs; those of at least `threshold` are
    chosen. The first step, from the class, is the same on the weights and inputs of the classifier.

    Layers are convolutions, linear and recurrent layers. The connections between them are found by following channels
    through all operations of a forward pass, so this works for any network: through BatchNorm, activations, pooling,
    shifts, reshapes, selections of frames and joined pathways.

    - Along an identity shortcut a channel passes unchanged and is united with the main path. A convolution in a
      shortcut is
      a step of its own.
    - Kernels of grouped convolutions are zero-inflated to all channels.
    - All branches of a block have the length of the longest one.
    - Gates (squeeze and excitation, recurrent states that multiply, attention) weight channels and are not followed.
    - For a stage whose inner operations cannot be followed, the gradient is used.

    The structure found for a network is cached for its next clip.

    Args:
        model: `feature_maps`, `classifier` and `forward` are enough, see `kinema.explain.layers`.
        clip: float `1 3 T H W` or `3 T H W`, normalised.
        target: index of the class.
        depth: number of steps from the class, at least 1; or the name of a module: the steps through it and all later
            layers (table 7.1 has "1 + mixed5c" for I3D, which is `"layer4.mixed_c"` of `i3d_v1`). If a network has
            fewer steps, all are taken. A channel that the classifier reads directly is always included, even if another
            path to it is longer.
        threshold: theta, 0 to 1; 0 chooses all channels, 1 only the strongest. None is `default_threshold`.
        mode: `feature`: every channel is traced separately. `layer`: p is averaged over the chosen channels of a layer,
            and one set is chosen for all. `group`: as `layer`, for each group of a grouped convolution.
        start: `activations`: see above. `weights`: the first step uses only the classifier's weights, scaled over all
            classes, as in the authors' released code.

    Returns:
        The graph, with a map for every channel.

    Raises:
        KinemaError: an argument has an invalid value, there are several clips, the classifier cannot be traced back, or
            activations are not finite.

    Source: thesis, sections 7.5 and 8.1.4. As printed, equation 7.3 chooses every channel; here the threshold is
    applied to p directly, as in the released code.
    """
    check_target(model, target)
    return _Walk(model, one_clip(model, clip), depth, threshold, mode, start).pyramid(target)


class _Walk:
    """The shared work for the pyramids of several classes: one trace and one forward pass."""

    def __init__(
        self, model: nn.Module, clip: Tensor, depth: int | str, threshold: float | None, mode: str, start: str
    ) -> None:
        self._theta, self._mode, self._start = _checked(model, depth, threshold, mode, start)
        self._model, self._clip = model, clip
        self._plan = plan_of(model, clip, depth)
        self._columns, self._near = self._plan.columns, self._plan.near
        self.readings: Readings = Reader(model, self._plan).run(clip)

    def pyramid(self, target: int) -> Pyramid:
        """Returns the pyramid of a class."""
        score = float(self.readings.logits[0].double().softmax(0)[target])
        walk = BackStep(self._columns, self._near, self.readings.means, self._kernel, self._theta, self._mode)
        found = walk.run(target, score, self._start)
        nodes = [Node(CLASS, target, score)]
        nodes += [Node(*self._columns.name(o), s) for o, s in zip(found.origins[1:], found.scores[1:], strict=True)]
        deepest = max(column.level for column in self._near.values())
        levels = [tuple(n for n, c in self._near.items() if c.level == level) for level in range(deepest + 1)]
        return Pyramid(
            tuple(nodes), tuple(found.links), tuple(levels), target, self._theta, self._mode, self._start,
            clip_size(self._clip), self._maps(found), self._pixels(),
        )  # fmt: skip

    def _kernel(self, number: int) -> Kernel | LocalKernel:
        layer = self._columns.provenance.layers[number]
        if layer.kernel is not None:
            return layer.kernel()
        assert layer.module is not None
        return LocalKernel(self._model, layer.module, layer.name, self.readings.inputs[number])

    def _maps(self, found: Found) -> dict[int, Tensor]:
        """Returns the activation map of every node, t h w, on the CPU."""
        maps: dict[int, Tensor] = {}
        for name in dict.fromkeys(found.columns[1:]):
            numbers = [i for i, column in enumerate(found.columns) if column == name]
            for held, channels in self._sites(self._near[name]):
                place = {origin: i for i, origin in reversed(list(enumerate(channels.tolist())))}
                fits = [i for i in numbers if i not in maps and found.origins[i] in place]
                if fits:
                    chosen = held[torch.tensor([place[found.origins[i]] for i in fits], device=held.device)]
                    maps |= dict(zip(fits, chosen.detach().cpu(), strict=True))
        return dict(sorted(maps.items()))

    def _sites(self, column: Column) -> list[tuple[Tensor, Tensor]]:
        """Yields maps C t h w with channels of a column, the largest first, and the origins of their channels."""
        provenance, readings = self._columns.provenance, self.readings
        given: list[tuple[Tensor, Tensor]] = []
        for number in sorted(self._plan.readers):
            inputs = provenance.layers[number].inputs
            if column.origins & set(inputs.tolist()):
                given.append((readings.inputs[number], inputs))
        carrier = self._plan.carriers[column.name]
        if carrier is not None and carrier in readings.outputs:
            given.append((readings.outputs[carrier], self._plan.kept[carrier].channels))
        if readings.head is not None and column.name == "head.expand":
            with torch.no_grad():  # the head pools inside; before, it is applied per position
                maps = self._model.get_submodule("head").maps(readings.head)  # type: ignore[operator]
            given.append((maps, torch.tensor(sorted(column.origins, key=lambda o: self._columns.name(o)[1]))))
        found = [(_map(x, len(channels)), channels) for x, channels in given]
        held = [(x, channels) for x, channels in found if x is not None]
        return sorted(held, key=lambda one: -one[0][0].numel())

    def _pixels(self) -> Pixels | None:
        spec = getattr(self._model, "clip_spec", None)
        return None if spec is None or self._clip.shape[1] != 3 else pixels_of(self._clip, spec)


def _map(x: Tensor, channels: int) -> Tensor | None:
    """Returns C t h w from a map of one clip, whose frames may be in the batch dimension; None for other tensors."""
    if x.dim() == 5 and len(x) == 1:
        found = x[0]
    elif x.dim() == 4:
        found = x.transpose(0, 1) if x.shape[1] == channels else x
    else:
        return None
    return found if len(found) == channels else None


def _checked(
    model: nn.Module, depth: object, threshold: float | None, mode: str, start: str
) -> tuple[float, Mode, Start]:
    """Checks theta, mode and start, and returns theta.

    Raises:
        KinemaError: an argument has an invalid value.
    """
    if isinstance(depth, str):
        names = [name for name, _ in model.named_modules() if name]
        if depth not in names:
            raise unknown("module in depth", depth, names)
    elif not isinstance(depth, int) or isinstance(depth, bool) or depth < 1:
        raise KinemaError(f"depth is {depth!r}: give a number of at least 1, or the name of a module")
    theta = default_threshold(model) if threshold is None else threshold
    if not isinstance(theta, int | float) or isinstance(theta, bool) or not 0 <= theta <= 1:
        raise KinemaError(f"threshold is {threshold!r}: give a number from 0 (all channels) to 1 (only the strongest)")
    for key, value, allowed in (("mode", mode, Mode), ("start", start, Start)):
        if value not in get_args(allowed):
            raise unknown(key, str(value), get_args(allowed))
    return float(theta), mode, start  # type: ignore[return-value]


@register("pyramid", ["depth", "threshold", "mode", "start"])
def _pyramid(asked: Asked) -> Findings:
    return _findings(asked, **asked.options)


def _findings(
    asked: Asked, depth: Any = DEPTH, threshold: Any = None, mode: Any = "feature", start: Any = "activations"
) -> Findings:
    """Computes the pyramid of each class; the map is the sum over the channels that feed the class."""
    walk = _Walk(asked.model, asked.clip, depth, threshold, mode, start)
    found = []
    for target in asked.choose(walk.readings.logits):
        pyramid = walk.pyramid(target)
        details = {"threshold": pyramid.threshold, "mode": pyramid.mode, "channels": len(pyramid.nodes) - 1}
        found.append(Finding(target, pyramid.volume(pyramid.nodes[0]), None, details, pyramid))
    return walk.readings.logits, found
