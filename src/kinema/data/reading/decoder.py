"""Decodes as little as shows the wanted frames, and every frame as a decoder that ran from the start shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av
from av.video.frame import VideoFrame

from kinema.data.reading.frame_table import FrameTable
from kinema.data.reading.packets import Packets

_LONGEST_DELAY = 16  # packets from one that goes in to its frame coming out; the bound of H.264 and HEVC


@dataclass
class Work:
    """What reading cost so far.

    Attributes:
        decoded: packets that were sent to the decoder.
        spared: of these, packets that it was told to pass over if no other frame needs them.
        seeks: jumps to another keyframe.
        fallbacks: 1 if a frame was lost after a jump, so that decoding goes from the start since then.
    """

    decoded: int = 0
    spared: int = 0
    seeks: int = 0
    fallbacks: int = 0


class Decoder:
    """One codec context that walks over `Packets`.

    Args:
        packets: of the stream.
        threads: that decode; 1 where many readers run beside one another.

    Attributes:
        work: what decoding cost so far.
        damage: serials of packets that could not be decoded, or not well.
    """

    def __init__(self, packets: Packets, threads: int) -> None:
        self.work = Work()
        self.damage: set[int] = set(packets.corrupt)
        self._packets = packets
        self._threads = threads
        self._context = packets.decoder
        self._context.thread_count = threads
        if threads > 1:
            self._context.thread_type = "FRAME"
        # In H.264 a picture says itself that no other needs it. In HEVC it says so only within its temporal layer.
        self._may_spare = packets.codec == "h264" and packets.progressive
        self._walk: Iterator[tuple[int, av.Packet]] = iter(())
        self._next: int | None = None  # the packet to send next; None when only a restart helps
        self._shown = -1  # the last frame that came out
        self._used = False
        self._passing = False

    def collect(
        self, table: FrameTable, wanted: Sequence[int], *, exhaustive: bool = False
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Decodes wanted frames and yields each as it comes out of the decoder.

        A frame that depends on damage is not yielded, nor is one that does not come out. Finish or close the generator
        before you begin another one.

        Args:
            table: of the stream.
            wanted: ascending frame indices, without repeats.
            exhaustive: decode every packet from the first on, never jump.

        Yields:
            (frame index, decoded frame), ascending.
        """
        runs = [list(wanted)] if exhaustive and len(wanted) else _runs(table, wanted)
        finished = False
        try:
            for number, run in enumerate(runs):
                start = 0 if exhaustive else int(table.starts[run[0]])
                if not self._reaches(run, start):
                    self._restart(start, int(table.index_of[start]))
                spare = self._may_spare and not exhaustive
                yield from self._feed(table, run, drain=number + 1 < len(runs), spare=spare)
            finished = True
        finally:
            if not finished:
                self._next = None  # what the decoder still holds is lost: only a restart helps

    def all_frames(self) -> Iterator[VideoFrame]:
        """Every frame that the decoder shows, from the first packet to the last; a frame's `pts` is its packet."""
        self._restart(0, -1)
        for _, packet in self._walk:
            yield from self._checked(self._send(packet))
        yield from self._checked(self._send(None))
        self._next = None

    def _checked(self, frames: list[VideoFrame]) -> list[VideoFrame]:
        self.damage.update(frame.pts for frame in frames if frame.is_corrupt and frame.pts is not None)
        return frames

    def forget(self) -> None:
        """Takes back what was learned about damage: the next call starts afresh."""
        self.damage = set(self._packets.corrupt)
        self._next = None

    def sound_frames(self, table: FrameTable) -> int:
        """How many frames of the table decode without damage; decodes all of them."""
        self.forget()
        return sum(1 for _ in self.collect(table, range(len(table)), exhaustive=True))

    def _reaches(self, run: list[int], start: int) -> bool:
        """Whether decoding on from here meets the run without going back, and without passing a keyframe."""
        return self._next is not None and start <= self._next and run[0] > self._shown

    def _restart(self, serial: int, index: int) -> None:
        if self._used:
            self._context.flush_buffers()
        if serial and self._packets.primer and not self._used:
            _, first = next(self._packets.walk(0))
            self._send(first)
            self._context.flush_buffers()
        self.work.seeks += serial > 0 or self._used
        self._used = True
        self._walk = self._packets.walk(serial)
        self._next, self._shown = serial, max(index, 0) - 1

    def _feed(self, table: FrameTable, run: list[int], *, drain: bool, spare: bool) -> Iterator[tuple[int, VideoFrame]]:
        """Decodes on until all frames of a run came out, or until none of them can come any more.

        Args:
            table: of the stream.
            run: ascending frame indices.
            drain: end with the packet of the last frame and empty the decoder, so that a restart must follow; else
                decode on until the decoder lets it go, so that the next call may go on from there.
            spare: pass over frames that nobody wants and no other frame needs.
        """
        pending = set(run)
        last = max(int(table.serials[i]) for i in run)
        for serial, packet in self._walk:
            index = int(table.index_of[serial])
            passed = spare and index not in pending and (drain or index < run[-1])
            yield from self._take(table, self._send(packet, passed=passed), pending)
            self._next = serial + 1
            if not pending or serial > last + _LONGEST_DELAY + self._threads:
                return
            if drain and serial >= last:
                break
        yield from self._take(table, self._send(None), pending)
        self._next = None

    def _take(self, table: FrameTable, frames: list[VideoFrame], pending: set[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Of the frames that came out, those that are wanted and sound; removes the wanted ones from `pending`."""
        for frame in self._checked(frames):
            if table.counted:
                index = self._shown + 1
            else:
                index = -1 if frame.pts is None else int(table.index_of[frame.pts])
            self._shown = max(self._shown, index)
            if index in pending:
                pending.remove(index)
                if not self.is_spoiled(table, index):
                    yield index, frame

    def _send(self, packet: av.Packet | None, *, passed: bool = False) -> list[VideoFrame]:
        """Decodes one packet, or empties the decoder; damage is noted, for later frames may depend on it."""
        if passed != self._passing:
            self._context.skip_frame = "NONREF" if passed else "DEFAULT"
            self._passing = passed
        self.work.decoded += packet is not None
        self.work.spared += passed
        try:
            return self._context.decode(packet)
        except av.FFmpegError:
            at = len(self._packets) - 1 if packet is None or packet.pts is None else packet.pts
            # With several threads an error shows up that many packets late.
            self.damage.update(range(max(0, at - self._threads + 1), at + 1))
            return []

    def is_spoiled(self, table: FrameTable, index: int) -> bool:
        """Whether damage was met between the keyframe of a frame and the frame itself.

        Frames that are stored behind the keyframe and shown before it do not count: none after it draws on them, and
        after a jump to the keyframe they cannot be decoded.
        """
        first, last = int(table.starts[index]), int(table.serials[index])
        near = (serial for serial in self.damage if first <= serial <= last)
        return any(not 0 <= table.index_of[serial] < table.index_of[first] for serial in near)


def _runs(table: FrameTable, wanted: Sequence[int]) -> list[list[int]]:
    """Groups frames that are met by decoding on: a new run begins where the next frame lies beyond a keyframe."""
    runs: list[list[int]] = []
    reached = -1
    for index in wanted:
        if not runs or table.starts[index] > reached:
            runs.append([])
        runs[-1].append(index)
        reached = max(reached, int(table.serials[index]) + 1)
    return runs
