"""Networks: one family is one file, each registers its names."""

from kinema.models import r3d, resnet2d
from kinema.models.registry import VideoModel, create_model, find, list_models, register

__all__ = ["VideoModel", "create_model", "find", "list_models", "r3d", "register", "resnet2d"]
