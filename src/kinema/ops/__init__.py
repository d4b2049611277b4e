"""Operators on tensors `N C T H W`; each one implements one equation of a paper."""

from kinema.ops.cidc import DirectionalConv, spatial_attention
from kinema.ops.class_regularisation import ClassRegularisation
from kinema.ops.conv import Conv3d
from kinema.ops.cycle import cycle_consistent, soft_nearest
from kinema.ops.mtconv import MTConv
from kinema.ops.nonlocal_attention import NonLocal
from kinema.ops.pooling import soft_pool
from kinema.ops.recurrence import SqueezeRecursion
from kinema.ops.selection import select_frames, triplet_scores
from kinema.ops.shift import temporal_shift
from kinema.ops.stm import CMM, CSTM
from kinema.ops.tam import TAM
from kinema.ops.tea import MTA, MotionExcitation

__all__ = [
    "CMM",
    "CSTM",
    "MTA",
    "TAM",
    "ClassRegularisation",
    "Conv3d",
    "DirectionalConv",
    "MTConv",
    "MotionExcitation",
    "NonLocal",
    "SqueezeRecursion",
    "cycle_consistent",
    "select_frames",
    "soft_nearest",
    "soft_pool",
    "spatial_attention",
    "temporal_shift",
    "triplet_scores",
]
