"""Networks: one family is one file, each registers its names."""

from kinema.models import mtnet, r3d, resnet2d, x3d
from kinema.models.registry import create_model, find, list_models, register
from kinema.models.video_model import VideoModel

__all__ = ["VideoModel", "create_model", "find", "list_models", "mtnet", "r3d", "register", "resnet2d", "x3d"]
