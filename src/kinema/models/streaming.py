"""Checks shared by networks that stream."""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.errors import KinemaError
from kinema.models.video_model import VideoModel
from kinema.ops.layout import check_clips
from kinema.ops.streaming import SEEN, SIZE, State


def check_streaming(model: VideoModel, batch: object) -> None:
    """Rejects networks that cannot stream, and a batch without streams.

    Raises:
        KinemaError: there is no classifier, there is Class Regularisation, or the batch is below 1.
    """
    if not model.num_classes:
        raise KinemaError("a stream needs a classifier, but num_classes is 0: call reset_classifier(n) first")
    if model.class_regularisation:
        raise KinemaError(
            "Class Regularisation chooses its gains from a whole clip, so this network cannot stream: build it "
            "without class_regularisation, or classify sliding windows"
        )
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise KinemaError(f"batch is {batch!r}: give the number of streams, at least 1")


def check_state(frames: Tensor, state: State, *keys: str) -> None:
    """Rejects frames that do not fit a state.

    Args:
        frames: N 3 t H W.
        state: result of `initial_state` or of a step.
        *keys: required keys besides those of every state.

    Raises:
        KinemaError: the shape, number of streams or size differs, or it is not a state.
    """
    check_clips(frames)
    if torch.compiler.is_compiling():  # the size is a tensor value, which cannot be traced
        return
    for key in (SEEN, SIZE, *keys):
        if key not in state:
            raise KinemaError(f"the state of a stream lacks {key!r}: start with initial_state(batch)")
    if frames.shape[2] < 1 or len(state[SEEN]) != len(frames):
        raise KinemaError(
            f"frames of shape {tuple(frames.shape)} for a state of {len(state[SEEN])} streams: give N 3 t H W with one "
            "row per stream and at least one frame"
        )
    height, width = state[SIZE][0].tolist()
    if tuple(frames.shape[3:]) != (height, width):
        raise KinemaError(
            f"frames of {frames.shape[3]}x{frames.shape[4]} pixels for a state of {height}x{width}: give frames of "
            "that size, or start with initial_state(batch, size=(H, W))"
        )
