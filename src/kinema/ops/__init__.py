"""Operators: one equation of a paper is one operator, on tensors `N C T H W`."""

from kinema.ops.cycle import cycle_consistent, soft_nearest
from kinema.ops.layout import check_clips, fold_time, unfold_time
from kinema.ops.recurrence import SqueezeRecursion, open_rates, recurrent, set_gate
from kinema.ops.shift import temporal_shift
from kinema.ops.stm import CMM, CSTM

__all__ = [
    "CMM",
    "CSTM",
    "SqueezeRecursion",
    "check_clips",
    "cycle_consistent",
    "fold_time",
    "open_rates",
    "recurrent",
    "set_gate",
    "soft_nearest",
    "temporal_shift",
    "unfold_time",
]
