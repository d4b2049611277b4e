"""State of operators over time between the chunks of a stream, so that chunks give the result of the whole stream.

A network that streams passes one `Stream` to its operators with every chunk. An operator that uses only earlier frames
requests those before the chunk (`extended`). An operator that also uses the next frame returns its result one frame
late: its output frames have indices one less, and `lag` counts this delay. Frames before the first and after the last
one do not exist: they are zero wherever an operator pads a clip with zeros (`masked`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
# Keys of a state: int64 N, frames so far and, once the stream has ended, in total; int64 N 2, height and width.
SEEN, LENGTH, SIZE = "seen", "length", "size"
ENDLESS = torch.iinfo(torch.int64).max


class Stream:
    """One chunk of N streams on its way through a network.

    Args:
        names: names of the operators with a state, for the keys of the state.
        state: state before the chunk.
        frames: t, number of frames of the chunk.

    Attributes:
        lag: number of frames by which the output of the last operator is delayed.
        state: state after the chunk, as far as the network has been run.
    """

    def __init__(self, names: Mapping[nn.Module, str], state: State, frames: int) -> None:
        self._names, self._before, self._frames = names, state, frames
        self.lag = 0
        self.state: State = {SEEN: state[SEEN] + frames, LENGTH: state[LENGTH]}
        self._whole: dict[int, bool] = {}  # number of earlier frames -> True if all of them exist

    def extended(self, module: nn.Module, x: Tensor, frames: int) -> Tensor:
        """Returns the chunk preceded by the last frames before it, which are zero at the start of a stream.

        Args:
            module: module that requests them.
            x: N C t H W; frames that do not exist in it must be zero (`masked`).
            frames: K, number of earlier frames.

        Returns:
            N C (K + t) H W.
        """
        key = self._names[module]
        past = self._before.get(key)
        if past is None:
            past = x.new_zeros(*x.shape[:2], frames, *x.shape[3:])
        whole = torch.cat([past.to(x.dtype), x], 2)
        # Copied, because a view would keep the whole chunk in memory.
        self.state[key] = whole[:, :, -frames:].contiguous(memory_format=torch.channels_last_3d).clone()
        return whole

    def previous(self, module: nn.Module, x: Tensor) -> Tensor:
        """Returns the frame before each frame of the chunk; the one before the first comes from the state (`extended`).

        Args:
            module: module that requests it.
            x: N C t H W; frames that do not exist in it must be zero (`masked`).

        Returns:
            N C t H W; do not change it in place.
        """
        key = self._names[module]
        past = self._before.get(key)
        past = x.new_zeros(*x.shape[:2], 1, *x.shape[3:]) if past is None else past.to(x.dtype)
        self.state[key] = x[:, :, -1:].clone(memory_format=torch.channels_last_3d)
        return past if x.shape[2] == 1 else torch.cat([past, x[:, :, :-1]], 2)

    def masked(self, x: Tensor, ahead: int = 0) -> Tensor:
        """Sets to zero the frames of N C t H W that do not exist, or whose `ahead`-th next frame does not exist."""
        back = self.lag - ahead
        # Only on a CPU, where reading values costs nothing, and not in traced programs, which must hold for any values.
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            if back not in self._whole:
                self._whole[back] = bool(self._exists(ahead).all())
            if self._whole[back]:
                return x
        return torch.where(self._exists(ahead)[:, None, :, None, None], x, 0)

    def _exists(self, ahead: int) -> Tensor:
        """bool N t: True if the frames of `index` are in their streams."""
        index = self.index(ahead)
        return (index >= 0) & (index < self.state[LENGTH][:, None])

    def index(self, ahead: int = 0) -> Tensor:
        """Returns the indices in their streams of the frames in progress, plus `ahead`; int64 N t."""
        seen = self._before[SEEN]
        return seen[:, None] + torch.arange(self._frames, device=seen.device) - self.lag + ahead

    def delayed(self, module: nn.Module, x: Tensor, frames: int) -> Tensor:
        """Returns the frames of so many frames earlier, for a shortcut around operators with a delay."""
        return x if frames == 0 else self.extended(module, x, frames)[:, :, : x.shape[2]]
