"""Networks whose 2-D kernels are packed once; see `kinema.ops.packing`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinema.backends.agreement import agreement
from kinema.backends.folding import fold_batchnorm
from kinema.backends.pytorch import Folded
from kinema.errors import KinemaError
from kinema.models.video_model import VideoModel
from kinema.ops.conv import Conv2d
from kinema.ops.layout import channels_last
from kinema.ops.packing import PackedKernel, no_packing, packs


class Packed(Folded):
    """`Folded` with packed kernels of 2-D convolutions."""

    name = "packed"
    devices: tuple[str, ...] = ("cpu",)
    convolutions = Folded()

    def available(self) -> str | None:
        """Returns why it cannot be used here; None if it can."""
        return no_packing()

    def prepared(self, network: nn.Module, example: Tensor) -> nn.Module:
        """Returns the folded copy with packed kernels.

        Raises:
            KinemaError: the network has no 2-D convolution.
        """
        folded = super().prepared(network, example)
        if not pack(folded):
            raise KinemaError("it has no 2-D convolution whose kernel can be packed")
        return folded


def pack(network: nn.Module) -> int:
    """Packs the kernel of every `Conv2d` that supports it; returns their number."""
    convolutions = [part for part in network.modules() if isinstance(part, Conv2d) and packs(part)]
    for conv in convolutions:
        conv.packed = PackedKernel(conv)
    return len(convolutions)


@torch.inference_mode()
def for_steps(model: VideoModel, size: int, *, delayed: bool = False) -> VideoModel:
    """Returns the network for streams, frame by frame: on a CPU a folded and packed copy, else the network itself.

    The copy is compared with the network on a few frames. If it cannot be made or is not correct, the network itself is
    returned. The states of the two networks are not interchangeable.

    Args:
        model: in evaluation mode; it is left unchanged.
        size: S for frames of S x S pixels.
        delayed: as in `VideoModel.initial_state`.

    Raises:
        KinemaError: the network cannot stream; the message names the alternatives.
    """
    state = model.initial_state(1, size=size, delayed=delayed)
    some = next(model.parameters(), None)
    if no_packing() or some is None or some.device.type != "cpu" or some.dtype != torch.float32:
        return model
    draw = torch.Generator().manual_seed(0)
    late = int(getattr(model, "delay", 0)) if delayed else 0
    clip = torch.randn(1, 3, late + 4, size, size, generator=draw)
    clip = clip.contiguous(memory_format=torch.channels_last_3d)
    packed, _ = fold_batchnorm(model, torch.cat([clip] * model.clip_spec.frames, 2)[:, :, : model.clip_spec.frames])
    channels_last(packed)
    if not pack(packed) or not isinstance(packed, VideoModel):
        return model
    expected, _ = model.step(clip, state)
    found, _ = packed.step(clip, packed.initial_state(1, size=size, delayed=delayed))
    known = ~expected.isnan().any(-1)
    return packed if agreement(expected[known], found[known]).objection("float32") is None else model
