"""Networks that process frames separately, except for operators over time that keep the number of frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kinema.errors import KinemaError
from kinema.models.checkpointing import Stack
from kinema.models.modes import in_evaluation
from kinema.models.streaming import check_state, check_streaming
from kinema.models.video_model import VideoModel
from kinema.ops.shift import Shift
from kinema.ops.stm import CMM, CSTM
from kinema.ops.streaming import ENDLESS, LENGTH, SEEN, SIZE, State, Stream
from kinema.ops.tam import TAM
from kinema.ops.tea import MTA, MotionExcitation

TEMPORAL = (Shift, CSTM, CMM)  # operators that use other frames


def sees_other_frames(module: nn.Module) -> bool:
    """True if an operator uses other frames; a custom operator states this with an attribute of this name."""
    return isinstance(module, TEMPORAL) or getattr(module, "sees_other_frames", False) is True


def sees_whole_clips(module: nn.Module) -> bool:
    """True if an operator cannot process a stream in chunks; a custom operator states this with such an attribute."""
    if getattr(module, "sees_whole_clips", False) is True:
        return True
    return isinstance(module, TAM | MotionExcitation) or (isinstance(module, MTA) and len(module.t) > 0)


class FrameModel(VideoModel):
    """Base class of 2-D networks on frames: every stage keeps T, and a clip's logits are the mean over its frames.

    Such a network can stream, unless it has an operator that needs whole clips, as TEA and TANet do. `step` takes the
    next frames and returns the logits of each. If all operators over time are causal, the mean of these logits over the
    frames of a clip equals the result of `forward`. An operator that uses the next frame delays the result by one
    frame. The total is `delay`, and `flush` returns the last results; the logits are then those of the whole stream as
    one clip.

    Stages take `(x, stream=None)`; a block has `look_ahead`, the number of frames by which it is delayed in a stream.
    """

    @property
    def delay(self) -> int:
        """Number of frames by which the result of `step` is delayed; 0 if no operator looks ahead."""
        return sum(block.look_ahead for block in self.blocks())

    @property
    def per_frame(self) -> bool:  # type: ignore[override]
        """True if no frame depends on another one before the head."""
        return not any(sees_other_frames(module) or sees_whole_clips(module) for module in self.modules())

    def blocks(self) -> Iterator[Any]:
        """The residual blocks, in order."""
        for name in self.feature_maps:
            for stack in self.get_submodule(name).modules():
                if isinstance(stack, Stack):
                    yield from stack

    def initial_state(self, batch: int, *, size: int | tuple[int, int] | None = None, delayed: bool = False) -> State:
        """Returns the state of streams before their first frame.

        A state is a dict of tensors whose first dimension is the stream: its rows can be selected, copied, joined with
        those of another state, saved and restored. Creating it takes a forward pass of one frame.

        Args:
            batch: N, number of streams.
            size: H and W of the frames; None means `clip_spec.tested`.
            delayed: accept a network that looks ahead, so that the results of `step` are `delay` frames late.

        Returns:
            Name -> tensor with N rows, on the device of the network.

        Raises:
            KinemaError: the network looks ahead but `delayed` is not set, needs whole clips, has Class Regularisation
                or no classifier, or the batch is below 1.
        """
        check_streaming(self, batch)
        self._require_operators()
        self._require_causality(delayed)
        height, width = (size, size) if isinstance(size, int) else size or (self.clip_spec.tested,) * 2
        some = next(self.parameters())
        empty = {
            SEEN: torch.zeros(1, dtype=torch.int64, device=some.device),
            LENGTH: torch.full((1,), ENDLESS, dtype=torch.int64, device=some.device),
        }
        with in_evaluation(self), torch.no_grad():
            _, after = self._run(some.new_zeros(1, 3, 1, height, width), empty)
        rows = {key: torch.zeros_like(value) for key, value in after.items()} | empty | {SIZE: after[SIZE]}
        return {key: value.repeat(batch, *[1] * (value.ndim - 1)) for key, value in rows.items()}

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Computes the logits of the next frames of N streams.

        A chunk of any length gives the same as its frames one by one. In evaluation mode, the streams of a batch are
        independent of each other.

        Args:
            frames: N 3 t H W, with t of at least 1.
            state: result of `initial_state` or of the previous step; it is not changed.

        Returns:
            Logits N t K, one row per frame, not averaged, and the state after them. With a `delay` of D frames, row i
            belongs to the frame D positions earlier, and is NaN if there is none yet.

        Raises:
            KinemaError: the frames have another shape than the state, or the network needs whole clips.
        """
        self._require_operators()
        check_state(frames, state, LENGTH)
        delay = self.delay
        logits, after = self._run(frames, state)
        if delay:
            index = after[SEEN][:, None] - frames.shape[2] + torch.arange(frames.shape[2], device=frames.device) - delay
            exists = (index >= 0) & (index < after[LENGTH][:, None])
            logits = torch.where(exists[:, :, None], logits, torch.nan)
        return logits, after

    def flush(self, state: State) -> tuple[Tensor, State]:
        """Returns the logits of the last `delay` frames of streams that have ended.

        Args:
            state: state after the last step.

        Returns:
            Logits N D K, NaN if a stream had fewer frames, and a state that accepts no further frames.
        """
        some = next(self.parameters())
        ended = {**state, LENGTH: state[SEEN].clone()}
        if self.delay == 0:
            return some.new_zeros(len(state[SEEN]), 0, self.num_classes), ended
        return self.step(some.new_zeros(len(state[SEEN]), 3, self.delay, *state[SIZE][0].tolist()), ended)

    def _run(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        names = {module: name for name, module in self.named_modules()}
        stream = Stream(names, state, frames.shape[2])
        x = frames.contiguous(memory_format=torch.channels_last_3d)
        for name in self.feature_maps:
            x = self.get_submodule(name)(x, stream)
        logits = self.classifier(self.dropout(self.pool_frames(x)))
        size = torch.tensor([frames.shape[3:]], device=frames.device).repeat(frames.shape[0], 1)  # not len()
        return logits, {**stream.state, SIZE: size}

    def _require_operators(self) -> None:
        if torch.compiler.is_compiling():  # compiled code always starts with a state
            return
        if any(sees_whole_clips(module) for module in self.modules()):
            raise self._no_stream()

    def _require_causality(self, delayed: bool) -> None:
        if self.delay and not delayed:
            raise KinemaError(
                f"{self.architecture['name']} uses later frames: build it with causal=True and train it, or use "
                f"initial_state(batch, delayed=True), whose results are {self.delay} frames late, or classify sliding "
                "windows"
            )

    def pool(self, features: Tensor) -> Tensor:
        """N C T H W -> N C."""
        return self.pool_frames(features).mean(1)

    def pool_frames(self, features: Tensor) -> Tensor:
        """N C T H W -> N T C."""
        return features.mean((3, 4)).transpose(1, 2)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """N C T H W -> logits N K, the mean of the frames' logits; or the embedding N C."""
        if pre_logits or not self.num_classes:
            return self.pool(features)
        return self.classifier(self.dropout(self.pool_frames(features))).mean(1)
