"""State of operators over time between the chunks of a stream, so that chunks give the result of the whole stream.

A network that streams hands one `Stream` to its operators with every chunk. An operator that looks back only, asks for
the frames before the chunk (`extended`). One that also looks a frame ahead answers a frame late; the frames that leave
it are those of one index less, and `lag` counts by how many. Frames before the first and after the last one do not
exist: they are zero wherever an operator pads a clip with zeros (`masked`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
# Keys of a state: int64 N, frames so far and, once the stream has ended, in all; int64 N 2, height and width of frames.
SEEN, LENGTH, SIZE = "seen", "length", "size"
ENDLESS = torch.iinfo(torch.int64).max


class Stream:
    """One chunk of N streams on its way through a network.

    Args:
        names: of the operators that remember, for the keys of the state.
        state: before the chunk.
        frames: t of the chunk.

    Attributes:
        lag: by how many frames what leaves the last operator is late.
        state: after the chunk, as far as the network has been run.
    """

    def __init__(self, names: Mapping[nn.Module, str], state: State, frames: int) -> None:
        self._names, self._before, self._frames = names, state, frames
        self.lag = 0
        self.state: State = {SEEN: state[SEEN] + frames, LENGTH: state[LENGTH]}
        self._whole: dict[int, bool] = {}  # frames by which to look back -> whether all of those exist

    def extended(self, module: nn.Module, x: Tensor, frames: int) -> Tensor:
        """The chunk with the last frames before it, which are zero where the stream begins.

        Args:
            module: that asks.
            x: N C t H W; frames that do not exist in it have to be zero (`masked`).
            frames: K, how many of those before.

        Returns:
            N C (K + t) H W.
        """
        key = self._names[module]
        past = self._before.get(key)
        if past is None:
            past = x.new_zeros(*x.shape[:2], frames, *x.shape[3:])
        whole = torch.cat([past.to(x.dtype), x], 2)
        # A copy: a view would keep the whole chunk.
        self.state[key] = whole[:, :, -frames:].contiguous(memory_format=torch.channels_last_3d).clone()
        return whole

    def previous(self, module: nn.Module, x: Tensor) -> Tensor:
        """The frame before each frame of the chunk; that of the first one is remembered, as by `extended`.

        Args:
            module: that asks.
            x: N C t H W; frames that do not exist in it have to be zero (`masked`).

        Returns:
            N C t H W, not to be changed in place.
        """
        key = self._names[module]
        past = self._before.get(key)
        past = x.new_zeros(*x.shape[:2], 1, *x.shape[3:]) if past is None else past.to(x.dtype)
        self.state[key] = x[:, :, -1:].clone(memory_format=torch.channels_last_3d)
        return past if x.shape[2] == 1 else torch.cat([past, x[:, :, :-1]], 2)

    def masked(self, x: Tensor, ahead: int = 0) -> Tensor:
        """N C t H W with zeros for the frames that do not exist, or of which the `ahead`-th next does not."""
        back = self.lag - ahead
        # On a CPU, where a look at values costs nothing, and not while a program is traced, which holds for any values.
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            if back not in self._whole:
                self._whole[back] = bool(self._exists(ahead).all())
            if self._whole[back]:
                return x
        return torch.where(self._exists(ahead)[:, None, :, None, None], x, 0)

    def _exists(self, ahead: int) -> Tensor:
        """bool N t: whether the frames of `index` are in their streams."""
        index = self.index(ahead)
        return (index >= 0) & (index < self.state[LENGTH][:, None])

    def index(self, ahead: int = 0) -> Tensor:
        """The indices in their streams of the frames that are now on their way, plus `ahead`; int64 N t."""
        seen = self._before[SEEN]
        return seen[:, None] + torch.arange(self._frames, device=seen.device) - self.lag + ahead

    def delayed(self, module: nn.Module, x: Tensor, frames: int) -> Tensor:
        """The frames that were on their way so many frames before, for a shortcut around operators that are late."""
        return x if frames == 0 else self.extended(module, x, frames)[:, :, : x.shape[2]]
