"""A clip of a large video takes little more memory than decoding it: whole frames are dropped once they are scaled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np

_CODE = """
import resource, sys, torch
from kinema.clip_spec import ClipSpec
from kinema.data.datasets import ClipKey, TrainClips
from kinema.data.manifest import Manifest, Sample
from kinema.data.transforms import Augment
torch.set_num_threads(1)
clips = TrainClips(Manifest("m", (Sample(sys.argv[1], "a"),), ("a",)), ("a",), ClipSpec(frames=32), Augment())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert clips[ClipKey(0, 0, 32, 224)]["clip"].shape == (32, 224, 224, 3)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_training_clip_of_a_4k_video(tmp_path: Path) -> None:
    path, width, height = tmp_path / "4k.mp4", 3840, 2160
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "g": "40"}
        picture = np.zeros((height, width, 3), np.uint8)
        for i in range(40):
            picture[:, 90 * i : 90 * i + 90] = 6 * i
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    done = subprocess.run([sys.executable, "-c", _CODE, str(path)], capture_output=True, text=True, check=True)
    frames = 32 * width * height * 3
    assert int(done.stdout) * 1024 < frames / 3  # all of them would take 800 MB; decoding alone takes about 110 MB
