"""Features for display: channels of any stage, and the outputs of STM's halves beside frequencies and optical flow.

Source: STM journal version, equation 7, figures 1 and 6.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kinema.errors import KinemaError, unknown
from kinema.explain.activations import one_clip, record, record_inputs
from kinema.explain.layers import exposed_layers, of_kind, stage_names
from kinema.ops.stm import CMM, CSTM


@dataclass(frozen=True)
class Channel:
    """The output of one channel of a stage for a clip.

    Attributes:
        layer: name of the stage.
        channel: its index.
        map: float32 T' h w.
    """

    layer: str
    channel: int
    map: Tensor


@dataclass(frozen=True)
class MotionViews:
    """The outputs of STM's CSTM and CMM in one block for a clip; all maps are float32 T h w, at least 0.

    A map is the mean of the absolute values over channels, so that brighter means larger (figure 6).

    Attributes:
        layer: name of the module.
        input: the input features (figure 1b).
        low: their low temporal frequency, F[t] + F[t + 1] (figure 1d); at the last frame F[t] alone.
        high: their high temporal frequency, F[t] - F[t + 1] (figure 1e); 0 at the last frame.
        cstm: output of the learned CSTM (figure 1g); None if there is none.
        cmm: output of the learned CMM (figure 1h); None if there is none.
        fixed_cstm: output of the CSTM with the kernel of the low frequency instead of its learned temporal kernels.
        fixed_cmm: output of the CMM with a plain difference instead of its learned kernel.
    """

    layer: str
    input: Tensor
    low: Tensor
    high: Tensor
    cstm: Tensor | None
    cmm: Tensor | None
    fixed_cstm: Tensor | None
    fixed_cmm: Tensor | None


def strongest_channels(model: nn.Module, clip: Tensor, layer: str, count: int = 8) -> list[Channel]:
    """Returns the channels of a layer that vary most over a clip, because a constant channel shows nothing.

    Args:
        model: the network, see `kinema.explain.layers`.
        clip: 3 T H W or 1 3 T H W.
        layer: name of a module that returns N C T H W, such as one of `feature_maps`; with the prefix `slow.` or
            `fast.` in a network with two pathways.
        count: largest number of channels.

    Returns:
        The channels by variance, the largest first.

    Raises:
        KinemaError: the layer does not exist or returns no such map, or count is below 1.
    """
    if count < 1:
        raise KinemaError(f"count is {count}: give at least 1 channel")
    layers = exposed_layers(model)
    if layer in stage_names(model) and layer not in layers:  # of two pathways, whose channels are unrelated
        raise unknown("layer", layer, layers)
    maps = record(model, one_clip(model, clip), [layer])[1][layer][0].float().cpu()
    order = maps.flatten(1).var(1, unbiased=False).argsort(descending=True, stable=True)[:count]
    return [Channel(layer, int(c), maps[c]) for c in order]


def motion_views(model: nn.Module, clip: Tensor, layer: str | None = None) -> MotionViews:
    """Returns the outputs of CSTM and CMM for a clip, and the plain frequencies of their input.

    The fixed kernels replace the learned ones in the trained network. A network that was trained with fixed kernels
    (`init="degenerate"`) is another network; this function works for it as well.

    Args:
        model: a network with CSTM or CMM, such as `stm_r50`.
        clip: 3 T H W or 1 3 T H W.
        layer: name of a CSTM, a CMM or the module that contains both, such as `layer1.0.conv2`; None is the first.

    Raises:
        KinemaError: the network has no CSTM or CMM, or no such layer.
    """
    halves = {**of_kind(model, CSTM), **of_kind(model, CMM)}
    places = list(dict.fromkeys(_place(name) for name in halves))
    order = [name for name, _ in model.named_modules()]
    places.sort(key=order.index)
    if not places:
        raise KinemaError(f"{type(model).__name__} has no CSTM and no CMM: give an STM network, such as stm_r50")
    chosen = places[0] if layer is None else _place(layer)
    if chosen not in places:
        raise unknown("layer", str(layer), places)
    mine = {"cstm" if isinstance(m, CSTM) else "cmm": m for name, m in halves.items() if _place(name) == chosen}
    passed = record_inputs(model, one_clip(model, clip), mine)
    x = next(iter(passed.values()))[0]
    low, high = x.clone(), torch.zeros_like(x)
    low[:, :, :-1] += x[:, :, 1:]
    high[:, :, :-1] = x[:, :, :-1] - x[:, :, 1:]
    fixed: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, module in mine.items():
            fixed[name] = _fixed(module)(x)
    shown = {name: _size(output) for name, (_, output) in passed.items()}
    return MotionViews(
        chosen, _size(x), _size(low), _size(high), shown.get("cstm"), shown.get("cmm"),
        _size(fixed["cstm"]) if "cstm" in fixed else None, _size(fixed["cmm"]) if "cmm" in fixed else None,
    )  # fmt: skip


def optical_flow(pictures: np.ndarray) -> Tensor | None:
    """Computes the magnitude of the TV-L1 optical flow from each frame to the next, with scikit-image (figure 1f).

    Args:
        pictures: uint8 RGB T H W 3.

    Returns:
        float32 T H W in pixels per frame, 0 at the last frame; None if scikit-image is not installed (extra
        `analysis`).
    """
    try:
        from skimage.registration import optical_flow_tvl1
    except ImportError:
        return None
    grey = pictures.astype(np.float32).mean(-1) / 255
    flow = np.zeros(grey.shape, np.float32)
    for t in range(len(grey) - 1):
        down, right = optical_flow_tvl1(grey[t], grey[t + 1])
        flow[t] = np.hypot(down, right)
    return torch.from_numpy(flow)


def _place(name: str) -> str:
    """Returns the module that contains both halves."""
    return name.removesuffix(".cstm").removesuffix(".cmm")


def _size(x: Tensor) -> Tensor:
    return x[0].float().abs().mean(0).cpu()


def _fixed(module: nn.Module) -> nn.Module:
    """Returns a copy whose temporal kernels are those of equation 7."""
    twin = copy.deepcopy(module).eval()
    if isinstance(twin, CMM):
        twin.dw = None
    elif isinstance(twin, CSTM):
        kernel = twin.kernel
        plain = torch.zeros_like(kernel)
        own = torch.arange(len(kernel))
        column = torch.zeros_like(own) if kernel.shape[1] == 1 else own
        now = 1  # the middle of three, or the last of two
        plain[own, column, now] = 1.0
        plain[own, column, (now + 1) % kernel.shape[2]] = 1.0
        if twin.t.weight is not None:
            twin.t.weight = nn.Parameter(plain)
    return twin
