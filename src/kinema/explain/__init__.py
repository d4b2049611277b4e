"""Explanations: where and when a network saw the evidence for a class, as maps, figures and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.lazy import lazy_names

# The released form of Saliency Tubes: on generated clips it beats a random map and a spot in the centre, which the
# tube of the thesis does not (docs/explain.md).
DEFAULT_METHOD = "cam"

if TYPE_CHECKING:
    from kinema.explain.explanation import Explanation, explain
    from kinema.explain.faithful import faithfulness
    from kinema.explain.frames import frame_values
    from kinema.explain.gradcam import grad_cam
    from kinema.explain.pyramid.graph import Pyramid
    from kinema.explain.pyramid.walk import class_feature_pyramid
    from kinema.explain.tubes import saliency_tubes

__all__ = [
    "DEFAULT_METHOD", "Explanation", "Pyramid", "class_feature_pyramid", "explain", "faithfulness", "frame_values",
    "grad_cam", "saliency_tubes",
]  # fmt: skip

_HOMES = {
    "Explanation": "kinema.explain.explanation",
    "Pyramid": "kinema.explain.pyramid.graph",
    "class_feature_pyramid": "kinema.explain.pyramid.walk",
    "explain": "kinema.explain.explanation",
    "faithfulness": "kinema.explain.faithful",
    "frame_values": "kinema.explain.frames",
    "grad_cam": "kinema.explain.gradcam",
    "saliency_tubes": "kinema.explain.tubes",
}

# Readers of videos and writers of files are imported when they are first needed.
__getattr__ = lazy_names(__name__, _HOMES)
