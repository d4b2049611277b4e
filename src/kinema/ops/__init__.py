"""Operators: one equation of a paper is one operator, on tensors `N C T H W`."""

from kinema.ops.cidc import DirectionalConv, spatial_attention
from kinema.ops.class_regularisation import ClassRegularisation
from kinema.ops.cycle import cycle_consistent, soft_nearest
from kinema.ops.layout import check_clips, fold_time, unfold_time
from kinema.ops.mtconv import MTConv
from kinema.ops.nonlocal_attention import NonLocal
from kinema.ops.pooling import average_pool, prolong, soft_pool, stochastic_pool
from kinema.ops.recurrence import SqueezeRecursion, gated_stages, open_rates, recurrent, set_gate, stage_open_rates
from kinema.ops.selection import select_frames, triplet_scores
from kinema.ops.shift import temporal_shift
from kinema.ops.stm import CMM, CSTM

__all__ = [
    "CMM",
    "CSTM",
    "ClassRegularisation",
    "DirectionalConv",
    "MTConv",
    "NonLocal",
    "SqueezeRecursion",
    "average_pool",
    "check_clips",
    "cycle_consistent",
    "fold_time",
    "gated_stages",
    "open_rates",
    "prolong",
    "recurrent",
    "select_frames",
    "set_gate",
    "soft_nearest",
    "soft_pool",
    "spatial_attention",
    "stage_open_rates",
    "stochastic_pool",
    "temporal_shift",
    "triplet_scores",
    "unfold_time",
]
