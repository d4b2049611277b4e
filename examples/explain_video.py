"""Explain a prediction: write the video with the evidence for the best class drawn over it.

python examples/explain_video.py RECOGNIZER VIDEO OUT.mp4
"""

from __future__ import annotations

import argparse

from kinema import Recognizer
from kinema.explain import explain

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recognizer")
    parser.add_argument("video")
    parser.add_argument("out", help="ends in .mp4, .gif, .png, .svg or .json")
    args = parser.parse_args()

    recognizer = Recognizer.load(args.recognizer)
    (found,) = explain(recognizer, args.video, method="cam", target="top")
    print(f"{found.label}: {found.score:.2f}, map of {found.layer}, {tuple(found.map.shape)} (T H W)")
    if found.verdict:  # from `kinema explain RECOGNIZER --check DATA`
        print("do not rely on this map:", found.verdict)
    found.save(args.out)

    # Which frames matter? Each frame is replaced in turn, and the change of the score is its value.
    (found,) = explain(recognizer, args.video, method="frames")
    print({key: value for key, value in found.to_dict().items() if key not in ("method", "target", "layer", "verdict")})
