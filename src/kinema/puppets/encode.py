"""H.264 in which a picture decodes to the same pixels regardless of the pictures before and after it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

_QUALITY = 29  # the constant quantiser

# Every picture is an intra picture with the same quantiser, chosen independently of its neighbours. A clip and its
# reversed twin therefore decode to the same pictures. One thread, because slices would depend on the number of cores.
_X264 = "keyint=1:bframes=0:scenecut=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:aq-mode=0:threads=1"


# limited-range BT.601, which players assume for a small picture without tags: rows give Y, U, V from R, G, B and 1
_BT601 = (
    *(0.25679, 0.50413, 0.09791, 16.0),
    *(-0.14822, -0.29099, 0.43922, 128.0),
    *(0.43922, -0.36779, -0.07143, 128.0),
)


def pictures(frames: Sequence[npt.NDArray[np.uint8]]) -> list[av.VideoFrame]:
    """Converts RGB frames [H, W, 3], H and W even, to 4:2:0 pictures, ready for any number of encodings.

    Pillow converts them, because FFmpeg's converter starts threads for every picture, which takes longer.
    """
    images = []
    for frame in frames:
        luma, *chroma = Image.fromarray(frame).convert("RGB", _BT601).split()
        planes = [np.asarray(luma), *(np.asarray(c.reduce(2)).reshape(-1, frame.shape[1]) for c in chroma)]
        images.append(av.VideoFrame.from_ndarray(np.concatenate(planes), format="yuv420p"))
    return images


def mp4(images: Iterable[av.VideoFrame], rate: int) -> bytes:
    """Encodes the pictures in this order, at least one, as an MP4 file with a constant `rate` of frames per second."""
    buffer = io.BytesIO()
    coming = iter(images)
    first = next(coming)
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"preset": "superfast", "qp": str(_QUALITY), "x264-params": _X264}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = first.width, first.height
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for number, image in enumerate(chain([first], coming)):
            image.pts = number
            image.time_base = Fraction(1, rate)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return buffer.getvalue()
