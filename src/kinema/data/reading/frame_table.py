"""Which packet shows which frame, at what time, and where decoding must start to show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kinema.data.reading.packets import NO_STAMP, Packets

_MAY_INTERLACE = frozenset(("h264", "mpeg2video", "mpeg1video"))


@dataclass(frozen=True)
class FrameTable:
    """The frames of a stream in the order in which they are shown.

    Attributes:
        serials: int64 per frame: the packet that it comes from.
        starts: int64 per frame: the last packet from which decoding gives this frame exactly.
        times: float64 per frame: seconds since the first frame, ascending.
        index_of: int64 per packet: the frame that it shows, -1 for none.
        settled: int64 per frame: when this frame has come out of a decoder, all that were decoded before it have.
        counted: packets that show two frames occur: frames are known by counting from the first, and by nothing else.
    """

    serials: np.ndarray
    starts: np.ndarray
    times: np.ndarray
    index_of: np.ndarray
    settled: np.ndarray
    counted: bool = False

    def __len__(self) -> int:
        return len(self.serials)

    @cached_property
    def keys(self) -> np.ndarray:
        """The packets at which decoding is begun, ascending int64; the first packet is always among them."""
        return np.unique(np.append(self.starts, 0))

    def start_before(self, serial: int) -> int:
        """The last packet before `serial` at which decoding is begun; 0 if there is none."""
        at = int(np.searchsorted(self.keys, serial, "left")) - 1
        return int(self.keys[max(at, 0)])


def from_stamps(packets: Packets) -> FrameTable | None:
    """The table by the stamps of the packets, or None where they cannot be trusted and only decoding tells.

    Trusted are codecs that are known to show one frame a packet, with a stamp of its own on each, in a stream that
    begins with a keyframe, and that reorders its stamps exactly if it reorders its frames.
    """
    if not (packets.certain and packets.clean[0]) or (packets.codec in _MAY_INTERLACE and not packets.progressive):
        return None
    shown = np.flatnonzero(~packets.hidden)
    stamps = packets.pts[shown]
    stored = packets.dts[packets.dts != NO_STAMP]
    if not len(shown) or (stamps == NO_STAMP).any() or (np.diff(stored) < 0).any():
        return None
    order = np.argsort(stamps, kind="stable")
    serials, steps = shown[order], np.diff(stamps[order])
    reorders = bool((np.diff(stamps) < 0).any())
    leads = packets.pts[0] > stamps[order[0]]  # frames before the first keyframe that no decoder can show
    if leads or (steps == 0).any() or reorders != (packets.reorder > 0):
        return None
    return _table(packets, serials, (stamps[order] - stamps[order[0]]) * packets.unit)


def from_decoding(packets: Packets, serials: Sequence[int | None]) -> FrameTable:
    """The table by what a decoder showed from the first packet to the last: the packet of each frame, in order."""
    last = len(packets) - 1
    shown = np.array([last if serial is None else serial for serial in serials], np.int64)
    if len(set(serials)) < len(serials) or None in serials:
        nowhere = np.full(len(packets), -1)
        times = packets.period * np.arange(len(shown))
        return FrameTable(shown, np.zeros_like(shown), times, nowhere, np.full(len(shown), -1), counted=True)
    return _table(packets, shown, _times(packets, shown))


def _times(packets: Packets, serials: np.ndarray) -> np.ndarray:
    """By presentation stamps, else by decoding stamps put in order, else a frame a period."""
    stamps = packets.pts[serials]
    if (stamps == NO_STAMP).any() or (np.diff(stamps) <= 0).any():
        stamps = np.sort(packets.dts[serials])
        if (packets.dts == NO_STAMP).any() or (np.diff(packets.dts) <= 0).any():
            return packets.period * np.arange(len(serials))
    return (stamps - stamps[0]) * packets.unit


def _table(packets: Packets, serials: np.ndarray, times: np.ndarray) -> FrameTable:
    index_of = np.full(len(packets), -1)
    index_of[serials] = np.arange(len(serials))
    keys = np.flatnonzero(packets.clean & (index_of >= 0))
    starts = np.zeros_like(serials)
    if len(keys) and (np.diff(index_of[keys]) > 0).all():
        # The last keyframe that is both stored and shown no later than the frame: what is stored after a keyframe but
        # shown before it (open GOP) still draws on the frames before that keyframe.
        last = np.minimum(
            np.searchsorted(keys, serials, "right"), np.searchsorted(index_of[keys], np.arange(len(serials)), "right")
        )
        starts = np.where(last > 0, keys[last - 1], 0)
    settled = np.maximum.accumulate(index_of)[serials]
    return FrameTable(serials, starts, times, index_of, settled)
