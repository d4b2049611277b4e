"""Operators: one equation of a paper is one operator, on tensors `N C T H W`."""

from kinema.ops.layout import check_clips, fold_time, unfold_time
from kinema.ops.shift import temporal_shift
from kinema.ops.stm import CMM, CSTM

__all__ = ["CMM", "CSTM", "check_clips", "fold_time", "temporal_shift", "unfold_time"]
