"""Networks: each file contains one family and registers its names."""

from kinema.models import (
    cidc,
    csn,
    efficientnet2d,
    i3d,
    inception3d,
    mfnet,
    mtnet,
    r3d,
    resnet2d,
    resnext3d,
    slowfast,
    temporal_heads,
    x3d,
)
from kinema.models.registry import create_model, describe, find_model, list_models, register, set_resolver
from kinema.models.video_model import VideoModel

__all__ = [
    "VideoModel",
    "cidc",
    "create_model",
    "csn",
    "describe",
    "efficientnet2d",
    "find_model",
    "i3d",
    "inception3d",
    "list_models",
    "mfnet",
    "mtnet",
    "r3d",
    "register",
    "resnet2d",
    "resnext3d",
    "set_resolver",
    "slowfast",
    "temporal_heads",
    "x3d",
]
