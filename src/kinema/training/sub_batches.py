"""BatchNorm over groups of a large batch, so that its statistics do not change with the size of the batch.

Multigrid training (Wu et al., 2020, the thesis's reference 292) takes up to 32 times the clips of the full shape.
Normalised all together they would meet other statistics than the full shape does, and the tests.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kinema.errors import KinemaError


class SubBatches:
    """Makes every BatchNorm of a network normalise every `size` clips separately while it trains.

    A batch of 8B clips then gives what eight batches of B clips give, one after the other: outputs, gradients and the
    running statistics, which take up group after group with the module's momentum. For up to `size` clips, in
    evaluation and where a BatchNorm is frozen, it is the plain BatchNorm. Names in the state dict stay as they are.

    What enters a BatchNorm must be clip-major: `N ...`, or `(N T) ...` with the frames of a clip together.

    Args:
        model: the network; until `remove`, grouped modules with the same parameters and buffers stand in place of its
            BatchNorm1d, 2d and 3d modules.

    Attributes:
        modules: the grouped modules.
        remark: one sentence about what is left alone, or None.

    Raises:
        KinemaError: the network is divided already, or is itself a BatchNorm.
    """

    def __init__(self, model: nn.Module) -> None:
        if any(isinstance(m, _Grouped) for m in model.modules()):
            raise KinemaError("this network's BatchNorm is already divided into sub-batches: remove() those first")
        if isinstance(model, _PLAIN):
            raise KinemaError("a BatchNorm alone cannot be replaced: give the network that holds it")
        made: dict[nn.Module, nn.Module] = {}  # a module may have several places
        self._places: list[tuple[nn.Module, str, nn.Module]] = []
        for path, module in list(model.named_modules(remove_duplicate=False)):
            if isinstance(module, _PLAIN):
                made.setdefault(module, _grouped(module))
                before, _, name = path.rpartition(".")
                parent = model.get_submodule(before)
                self._places.append((parent, name, module))
                setattr(parent, name, made[module])
        self.modules = list(made.values())
        self.set(0, 0)
        synced = sum(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
        self.remark = (
            f"{synced} SyncBatchNorm modules normalise over the batches of all processes and are not divided into "
            "sub-batches"
            if synced
            else None
        )

    def set(self, clips: int, size: int) -> None:
        """Sets how the next forward passes are divided.

        Args:
            clips: N of the next batch.
            size: clips of a group; 0 does not divide. A single clip at the end joins the group before it.
        """
        groups = group_sizes(clips, size) if size else []
        for module in self.modules:
            module.groups = groups  # type: ignore[assignment]

    def remove(self) -> None:
        """Puts the modules of the network back, with the parameters and statistics as they are now."""
        for parent, name, module in self._places:
            _share(getattr(parent, name), module)
            setattr(parent, name, module)
        self.modules, self._places = [], []


def group_sizes(clips: int, size: int) -> list[int]:
    """Clips of each group: `size`, and fewer in the last one, but a last one of a single clip joins the one before."""
    groups = [size] * (clips // size)
    rest = clips % size
    if rest == 1 and groups:
        groups[-1] += 1
    elif rest:
        groups.append(rest)
    return groups


class _Grouped(_BatchNorm):
    """Normalises the groups of a batch one by one; as a base class it must stand before a BatchNorm."""

    groups: list[int]

    def forward(self, x: Tensor) -> Tensor:
        groups = self.groups
        if not self.training or len(groups) < 2:
            return super().forward(x)
        clips = sum(groups)
        if x.shape[0] % clips:
            raise KinemaError(
                f"sub-batches were set for {clips} clips, but a BatchNorm was given {x.shape[0]} rows: call set() with "
                "the clips of every batch before its forward pass"
            )
        rows = x.shape[0] // clips  # of a clip
        if rows * min(groups) * x.shape[2:].numel() < 2:
            return super().forward(x)  # groups of a single value a channel, which no BatchNorm can normalise
        return torch.cat([super(_Grouped, self).forward(part) for part in x.split([rows * n for n in groups])])


class _Grouped1d(_Grouped, nn.BatchNorm1d):
    pass


class _Grouped2d(_Grouped, nn.BatchNorm2d):
    pass


class _Grouped3d(_Grouped, nn.BatchNorm3d):
    pass


_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _grouped(module: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> _Grouped:
    """The grouped module of the same kind, with the same parameters, buffers and mode."""
    kind = next(
        grouped
        for plain, grouped in zip(_PLAIN, (_Grouped1d, _Grouped2d, _Grouped3d), strict=True)
        if isinstance(module, plain)
    )
    made: _Grouped = kind(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
    _share(module, made)
    return made


def _share(source: nn.Module, target: nn.Module) -> None:
    for name, parameter in source.named_parameters(recurse=False):
        target.register_parameter(name, parameter)
    for name, buffer in source.named_buffers(recurse=False):
        target.register_buffer(name, buffer)
    target.train(source.training)
