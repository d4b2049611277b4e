"""BatchNorm over groups of a large batch, so that its statistics do not change with the size of the batch.

Multigrid training (Wu et al., 2020, the thesis's reference 292) uses batches of up to 32 times the clips of the full
shape. Normalised all together, they would have other statistics than batches of the full shape and than the tests.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kinema.errors import KinemaError


class SubBatches:
    """Makes every BatchNorm of a network normalise each group of `size` clips separately during training.

    A batch of 8B clips then gives the same as eight batches of B clips, one after the other: the same outputs,
    gradients and running statistics, which are updated group by group with the module's momentum. For at most `size`
    clips, in evaluation mode and if a BatchNorm is frozen, it is the plain BatchNorm. State dict names do not change.

    The input of a BatchNorm must be clip-major: `N ...`, or `(N T) ...` with the frames of a clip together.

    Args:
        model: the network; until `remove`, grouped modules with the same parameters and buffers replace its
            BatchNorm1d, 2d and 3d modules.

    Attributes:
        modules: the grouped modules.
        remark: one sentence about modules that are not divided, or None.

    Raises:
        KinemaError: the network is already divided, or is itself a BatchNorm.
    """

    def __init__(self, model: nn.Module) -> None:
        if any(isinstance(m, _Grouped) for m in model.modules()):
            raise KinemaError("this network's BatchNorm is already divided into sub-batches: remove() those first")
        if isinstance(model, _PLAIN):
            raise KinemaError("a single BatchNorm cannot be replaced: give the network that contains it")
        made: dict[nn.Module, nn.Module] = {}  # a module may occur in several places
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
        """Sets how the following forward passes are divided.

        Args:
            clips: N, number of clips of the next batch.
            size: clips per group; 0 does not divide. A single clip at the end joins the group before it.
        """
        groups = group_sizes(clips, size) if size else []
        for module in self.modules:
            module.groups = groups  # type: ignore[assignment]

    def remove(self) -> None:
        """Puts the original modules back, with the current parameters and statistics."""
        for parent, name, module in self._places:
            _share(getattr(parent, name), module)
            setattr(parent, name, module)
        self.modules, self._places = [], []


def group_sizes(clips: int, size: int) -> list[int]:
    """Returns the clips per group: `size`, and fewer in the last one; a single last clip joins the group before it."""
    groups = [size] * (clips // size)
    rest = clips % size
    if rest == 1 and groups:
        groups[-1] += 1
    elif rest:
        groups.append(rest)
    return groups


class _Grouped(_BatchNorm):
    """Normalises the groups of a batch one by one; as a base class it must precede a BatchNorm class."""

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
        rows = x.shape[0] // clips  # per clip
        if rows * min(groups) * x.shape[2:].numel() < 2:
            return super().forward(x)  # groups with one value per channel, which BatchNorm cannot normalise
        return torch.cat([super(_Grouped, self).forward(part) for part in x.split([rows * n for n in groups])])


class _Grouped1d(_Grouped, nn.BatchNorm1d):
    pass


class _Grouped2d(_Grouped, nn.BatchNorm2d):
    pass


class _Grouped3d(_Grouped, nn.BatchNorm3d):
    pass


_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _grouped(module: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> _Grouped:
    """Makes the grouped module of the same kind, with the same parameters, buffers and mode."""
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
