"""Run an ONNX file of `export_model.py` on a video, without Kinema and without PyTorch.

    pip install av numpy onnxruntime
    python run_exported.py FILE.onnx VIDEO

The file was exported with `preprocessing=True`: it takes pixels and normalises them itself. Choosing, resizing and
cutting frames is the task of this program.
"""

from __future__ import annotations

import argparse
import json

import av
import numpy as np
import onnxruntime


def positions(count: int, clip: dict) -> np.ndarray:
    """Returns the indices of the frames of one central clip in a video of `count` frames."""
    t = clip["frames"]
    if clip["sampler"] == "segments":  # the middle of each of T equal parts
        return ((np.arange(t) + 0.5) * count / t).astype(int)
    span = (t - 1) * clip["stride"] + 1  # frames `stride` apart, from the middle of the video
    return np.clip((count - span) // 2 + np.arange(t) * clip["stride"], 0, count - 1)


def read_pixels(path: str, clip: dict, side: int) -> np.ndarray:
    """Resizes the shorter side of frames to `short_side` pixels and crops the centre; uint8 1 T side side 3."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    pictures = []
    for index in positions(len(frames), clip):
        frame = frames[index]
        scale = clip["short_side"] / min(frame.width, frame.height)
        width, height = round(frame.width * scale), round(frame.height * scale)
        picture = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
        top, left = (height - side) // 2, (width - side) // 2
        pictures.append(picture[top : top + side, left : left + side])
    return np.stack(pictures)[None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("video")
    args = parser.parse_args()

    session = onnxruntime.InferenceSession(args.file)
    about = json.loads(session.get_modelmeta().custom_metadata_map["kinema"])
    (taken,) = session.get_inputs()
    if taken.type != "tensor(uint8)":
        raise SystemExit(f"{args.file} takes normalised clips: export it with preprocessing=True")
    pixels = read_pixels(args.video, about["clip"], side=about["input"]["shape"][-2])
    logits = session.run(None, {taken.name: pixels})[0][0].astype(np.float64)
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    for k in scores.argsort()[::-1][:3]:
        print(f"{scores[k]:.3f}  {about['labels'][k]}")
