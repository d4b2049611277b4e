"""Maps packets to frames: which packet shows which frame, at what time, and where decoding must start for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kinema.data.reading.packets import NO_STAMP, Packets

_MAY_INTERLACE = frozenset(("h264", "mpeg2video", "mpeg1video"))


@dataclass(frozen=True)
class FrameTable:
    """The frames of a stream, in display order.

    Attributes:
        serials: int64 per frame: the packet that it comes from.
        starts: int64 per frame: the last packet from which decoding gives exactly this frame.
        times: float64 per frame: seconds since the first frame, ascending.
        index_of: int64 per packet: the frame that it shows, -1 for none.
        settled: int64 per frame: once this frame has been output, so have all that were decoded before it.
        counted: True if some packets show two frames: frames can then be identified only by counting from the start.
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
        """The packets at which decoding may start, ascending int64; the first packet is always one of them."""
        return np.unique(np.append(self.starts, 0))

    def start_before(self, serial: int) -> int:
        """Returns the last packet before `serial` at which decoding may start; 0 if there is none."""
        at = int(np.searchsorted(self.keys, serial, "left")) - 1
        return int(self.keys[max(at, 0)])


def from_stamps(packets: Packets) -> FrameTable | None:
    """Builds the table from the packets' timestamps; None if they cannot be trusted and the file must be decoded.

    Timestamps are trusted for codecs that are known to show one frame per packet, if each packet has its own timestamp,
    the stream begins with a keyframe, and the timestamps are reordered exactly if the frames are.
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
    leads = packets.pts[0] > stamps[order[0]]  # frames before the first keyframe, which no decoder can show
    if leads or (steps == 0).any() or reorders != (packets.reorder > 0):
        return None
    return _table(packets, serials, (stamps[order] - stamps[order[0]]) * packets.unit)


def from_decoding(packets: Packets, serials: Sequence[int | None]) -> FrameTable:
    """Builds the table from the output of a decoder for all packets: the packet of each frame, in order."""
    last = len(packets) - 1
    shown = np.array([last if serial is None else serial for serial in serials], np.int64)
    if len(set(serials)) < len(serials) or None in serials:
        nowhere = np.full(len(packets), -1)
        times = packets.period * np.arange(len(shown))
        return FrameTable(shown, np.zeros_like(shown), times, nowhere, np.full(len(shown), -1), counted=True)
    return _table(packets, shown, _times(packets, shown))


def _times(packets: Packets, serials: np.ndarray) -> np.ndarray:
    """Returns frame times: presentation times, else sorted decoding times, else one frame per period."""
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
        # The last keyframe that is both stored and shown no later than the frame: a frame that is stored after a
        # keyframe but shown before it (open GOP) still depends on the frames before that keyframe.
        last = np.minimum(
            np.searchsorted(keys, serials, "right"), np.searchsorted(index_of[keys], np.arange(len(serials)), "right")
        )
        starts = np.where(last > 0, keys[last - 1], 0)
    settled = np.maximum.accumulate(index_of)[serials]
    return FrameTable(serials, starts, times, index_of, settled)
