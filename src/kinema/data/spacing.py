"""The time between frames of the clips in a data set, which a stream has to keep."""

from __future__ import annotations

from statistics import median

from kinema.clip_spec import ClipSpec
from kinema.data.doctor.index import probe_all
from kinema.data.manifest import Manifest
from kinema.data.samplers import find_sampler
from kinema.errors import UnreadableVideo

PROBED = 32  # number of videos, spread evenly over the data set


def frame_seconds(manifest: Manifest, spec: ClipSpec) -> float | None:
    """Returns the median time between frames of a clip.

    Args:
        manifest: the videos; 32 of them are probed.
        spec: specification of the clips.

    Returns:
        Seconds, or None if none of the videos can be read.
    """
    samples = manifest.samples[:: max(1, len(manifest.samples) // PROBED)][:PROBED]
    infos = probe_all({sample.path for sample in samples}, manifest.source)
    found = []
    for sample in samples:
        info = infos[sample.path]
        if isinstance(info, UnreadableVideo):
            continue
        end = info.duration if sample.end is None else min(sample.end, info.duration)
        if info.fps > 0:
            found.append(find_sampler(spec.sampler).spacing(spec, max(0.0, end - (sample.start or 0.0)), info.fps))
    return median(found) if found else None
