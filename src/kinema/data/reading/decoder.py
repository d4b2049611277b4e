"""Decodes as little as the wanted frames need; each frame is the same as after decoding from the start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from kinema.data.reading.bitstream import is_torn
from kinema.data.reading.frame_table import FrameTable
from kinema.data.reading.packets import Packets
from kinema.data.reading.picture_numbers import PictureNumbers
from kinema.data.reading.progress import beat
from kinema.data.reading.pyav import new_header, prepare

_LONGEST_DELAY = 16  # packets between the input of a packet and the output of its frame; the bound of H.264 and HEVC


@dataclass
class Work:
    """Counters of the work so far.

    Attributes:
        decoded: packets that were sent to the decoder.
        spared: those of them that the decoder was allowed to skip if no other frame needs them.
        seeks: jumps to another keyframe.
        fallbacks: number of times that a frame was lost after a jump and decoding had to restart further back.
    """

    decoded: int = 0
    spared: int = 0
    seeks: int = 0
    fallbacks: int = 0


class Decoder:
    """One codec context that moves through `Packets`.

    Args:
        packets: packets of the stream.
        threads: number of decoding threads; 1 if many readers run at the same time.

    Attributes:
        work: counters of the work so far.
        damage: packets that could not be decoded correctly, and losses that the container reports.
        complete: True if every packet was decoded from first to last, so that all damage is known.
    """

    def __init__(self, packets: Packets, threads: int) -> None:
        self.work = Work()
        self.damage = packets.damage.copy()
        self.complete = False
        self._doubtful: set[int] = set()  # damage that may come from a jump to a false keyframe
        self._packets = packets
        self._threads = threads
        self._take_over(packets.decoder)
        self._extradata = packets.decoder.extradata
        self._numbers = PictureNumbers(self._extradata) if packets.codec == "h264" else None
        # In H.264, a picture states that no other picture needs it. In HEVC, that holds only within its temporal layer.
        self._may_spare = packets.codec == "h264" and packets.progressive
        self._walk: Iterator[tuple[int, av.Packet]] = iter(())
        self._begun = 0  # the packet with which the decoder started
        self._next: int | None = None  # the packet to send next; None if a restart is needed
        self._shown = -1  # the last output frame
        self._ahead: dict[int, VideoFrame] = {}  # output frames after the last wanted one
        self._inside: set[int] = set()  # packets whose frames the decoder has not output yet
        self._used = False

    def collect(
        self, table: FrameTable, wanted: Sequence[int], *, farther: bool = False, exhaustive: bool = False
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Decodes wanted frames and yields each one that does not depend on damage.

        A frame is held until all frames that were decoded before it have been output, because a decoder may report only
        then that one of them is damaged. Finish or close the generator before you start another one.

        Args:
            table: frame table of the stream.
            wanted: ascending frame indices, without repeats.
            farther: start one keyframe before the one that should suffice, and forget doubtful damage.
            exhaustive: decode every packet from the first one, never jump, and forget doubtful damage.

        Yields:
            (frame index, decoded frame), ascending.
        """
        if farther or exhaustive:
            self.damage = self.damage.copy(without=self._doubtful)
            self._doubtful.clear()
            self._next = None  # frames that were output with this damage must not be used
        hopeful = [index for index in wanted if not self.is_spoiled(table, index)]
        runs = [hopeful] if exhaustive and hopeful else _runs(table, hopeful)
        finished = False
        try:
            for number, run in enumerate(runs):
                start = 0 if exhaustive else int(table.starts[run[0]])
                start = table.start_before(start) if farther else start
                if not self._reaches(run, start) or ((farther or exhaustive) and self._begun > start):
                    self._restart(start, int(table.index_of[start]))
                spare = self._may_spare and not exhaustive and not farther
                yield from self._feed(table, run, drain=number + 1 < len(runs), spare=spare)
            finished = True
        finally:
            if not finished:
                self._next = None  # frames inside the decoder are lost: a restart is needed

    def all_frames(self) -> Iterator[VideoFrame]:
        """Yields every frame of the decoder, from the first packet to the last; a frame's `pts` is its packet."""
        self._restart(0, -1)
        for _, packet in self._walk:
            yield from self._checked(None, self._send(None, packet))
        yield from self._checked(None, self._send(None, None))
        self._next = None
        self.complete = True

    def forget(self) -> None:
        """Forgets the damage that was found: the next call starts fresh."""
        self.damage = self._packets.damage.copy()
        self._doubtful.clear()
        self._next = None
        self.complete = False

    def count_sound(self, table: FrameTable, pixels: int) -> int | None:
        """Returns how many frames of the table do not depend on damage, or None if finding out would take too long.

        Args:
            table: frame table of the stream.
            pixels: largest number of pixels to decode, over all frames.
        """
        if not self.complete:
            width, height = self._packets.size
            if width * height * len(self._packets) > pixels:
                return None
            missed = set(range(len(table)))
            missed.difference_update(index for index, _ in self.collect(table, range(len(table)), exhaustive=True))
            for index in missed:
                if not self.is_spoiled(table, index):
                    self.give_up(table, index)
            self.complete = True
        return sum(not self.is_spoiled(table, index) for index in range(len(table)))

    def give_up(self, table: FrameTable, index: int) -> None:
        """Records that a frame is never output, wherever decoding starts."""
        self.damage.add(int(table.serials[index]))

    def _reaches(self, run: list[int], start: int) -> bool:
        """True if decoding from here reaches the run without going back and without passing a keyframe."""
        return self._next is not None and start <= self._next and (run[0] > self._shown or run[0] in self._ahead)

    def _take_over(self, context: VideoCodecContext) -> None:
        """Uses a codec context that has decoded nothing."""
        self._context, self._stained, self._passing = context, False, False
        prepare(context)
        context.thread_count = self._threads
        if self._threads > 1:
            context.thread_type = "FRAME"

    def _restart(self, serial: int, index: int) -> None:
        self.work.seeks += serial > 0 or self._used
        if self._used and self._stained:  # tables and headers of a damaged picture would survive flushing
            self._take_over(self._packets.new_decoder())
            self._used = False
        if self._used:
            self._context.flush_buffers()
        if serial and self._packets.primer and not self._used:
            _, first = next(self._packets.walk(0))
            with suppress(av.FFmpegError):  # the damage is recorded when decoding from the start
                self._context.decode(first)
            self._context.flush_buffers()
        self._used = True
        self._walk = self._packets.walk(serial)
        if self._numbers:
            self._numbers.restart()
        self._begun = self._next = serial
        self._ahead.clear()
        self._inside.clear()
        self._shown = max(index, 0) - 1

    def _feed(self, table: FrameTable, run: list[int], *, drain: bool, spare: bool) -> Iterator[tuple[int, VideoFrame]]:
        """Continues decoding until all frames of a run were output, or until none of them can follow any more.

        Args:
            table: frame table of the stream.
            run: ascending frame indices.
            drain: end with the packet of the last frame and empty the decoder, so that a restart must follow; otherwise
                decode until the decoder outputs it, so that the next call can continue from there.
            spare: skip frames that are not wanted and that no other frame needs.
        """
        pending = set(run)
        held = [(index, self._ahead[index]) for index in run if index in self._ahead]
        pending.difference_update(self._ahead)
        self._ahead = {index: frame for index, frame in self._ahead.items() if index > run[-1]}
        while held and self._is_settled(table, held[0][0]):
            yield from self._sound(table, held.pop(0))
        if not (pending or held):
            return
        last = max(int(table.serials[i]) for i in run)
        for serial, packet in self._walk:
            index = int(table.index_of[serial])
            passed = spare and index not in pending and (drain or index < run[-1])
            held += self._take(table, self._send(table, packet, passed=passed), pending)
            self._next = serial + 1
            beyond = serial > last + _LONGEST_DELAY + self._threads
            while held and (beyond or self._is_settled(table, held[0][0])):
                yield from self._sound(table, held.pop(0))
            if beyond or not (pending or held):
                return
            if drain and serial >= last:
                for _, following in islice(self._walk, 1):  # may prove that the last packet is damaged
                    self._look_into(table, following)
                break
        held += self._take(table, self._send(table, None), pending)
        self._next = None
        while held:
            yield from self._sound(table, held.pop(0))

    def _take(self, table: FrameTable, frames: list[VideoFrame], pending: set[int]) -> list[tuple[int, VideoFrame]]:
        """Yields the wanted frames among the output ones, and removes them from `pending`."""
        wanted: list[tuple[int, VideoFrame]] = []
        for frame in self._checked(table, frames):
            if table.counted:
                index = self._shown + 1
            else:
                index = -1 if frame.pts is None else int(table.index_of[frame.pts])
                self._inside.discard(-1 if frame.pts is None else frame.pts)
                self._note_missing(table, index)
            self._shown = max(self._shown, index)
            if index in pending:
                pending.remove(index)
                wanted.append((index, frame))
            elif not pending and index >= 0 and not table.counted:
                self._ahead[index] = frame
        return wanted

    def _enter(self, table: FrameTable, serial: int) -> None:
        """Records that the decoder gets a packet; frames before the keyframe at which it began may be left out."""
        if 0 <= table.index_of[self._begun] <= table.index_of[serial]:
            self._inside.add(serial)

    def _is_settled(self, table: FrameTable, index: int) -> bool:
        """True if the decoder has output all frames that it got no later than a frame, so that their damage is known.

        After damage, a later frame may be output before an earlier one.
        """
        if table.settled[index] > self._shown:
            return False
        return table.counted or min(self._inside, default=len(table.index_of)) > table.serials[index]

    def _note_missing(self, table: FrameTable, index: int) -> None:
        """Records the first decoded packet if its frame was not output before this one, which needs it."""
        first = int(table.index_of[self._begun])
        if self._shown < first < index:
            self._note(table, self._begun)

    def _sound(self, table: FrameTable, pair: tuple[int, VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        if not self.is_spoiled(table, pair[0]):
            yield pair

    def _checked(self, table: FrameTable | None, frames: list[VideoFrame]) -> list[VideoFrame]:
        for frame in frames:
            if frame.is_corrupt and frame.pts is not None:
                self._stained = True
                self._note(table, frame.pts)
        return frames

    def _send(self, table: FrameTable | None, packet: av.Packet | None, *, passed: bool = False) -> list[VideoFrame]:
        """Decodes one packet, or empties the decoder; damage is recorded, because later frames may depend on it."""
        beat()
        if packet is not None:
            self._look_into(table, packet)
        # A decoder that may skip a reference picture reports no error if it cannot decode it.
        passed = passed and self._numbers is not None and not self._numbers.is_reference
        if passed != self._passing:
            self._context.skip_frame = "NONREF" if passed else "DEFAULT"
            self._passing = passed
        if packet is not None and table is not None and not passed:
            self._enter(table, packet.pts or 0)
        self.work.decoded += packet is not None
        self.work.spared += passed
        try:
            return self._context.decode(packet)
        except av.FFmpegError:
            self._stained = True
            at = len(self._packets) - 1 if packet is None or packet.pts is None else packet.pts
            # With several threads, an error is reported that many packets late.
            for serial in range(max(0, at - self._threads + 1), at + 1):
                self._note(table, serial)
            self._inside.discard(at)
            return []

    def _look_into(self, table: FrameTable | None, packet: av.Packet) -> None:
        """Records what the bytes of a packet prove: that it is damaged, or that it does not follow the previous one."""
        data, serial = bytes(packet), packet.pts or 0
        if is_torn(self._packets.codec, data, self._extradata):
            self._stained = True
            self._note(table, serial)
        if self._numbers is None:
            return
        clean = False
        if packet.is_keyframe:
            clean = bool(self._packets.clean[serial])
            header = new_header(packet)
            if header:
                self._numbers.learn(header)
        index = -1 if table is None else int(table.index_of[serial])
        damaged = self._numbers.damaged(data, clean, index)
        if damaged == 1 and clean:
            self.damage.part(serial - 1)  # frames that need nothing from before the keyframe are intact
        else:
            for number in range(serial, serial - damaged, -1):
                self.damage.add(number)

    def _note(self, table: FrameTable | None, serial: int) -> None:
        """Records a damaged packet; it is doubtful if decoding started with the keyframe that the packet depends on."""
        if not self.damage.has(serial):
            self.damage.add(serial)
            if table is not None and self._begun and self._begun >= table.start_before(serial + 1):
                self._doubtful.add(serial)

    def is_spoiled(self, table: FrameTable, index: int) -> bool:
        """True if there was damage between the keyframe of a frame and the frame itself.

        Frames that are stored after the keyframe but shown before it do not count: no later frame depends on them, and
        they cannot be decoded after a jump to the keyframe.
        """
        first, last = int(table.starts[index]), int(table.serials[index])
        if self.damage.breaks(first, last):
            return True
        shown = table.index_of[first]
        return any(not 0 <= table.index_of[serial] < shown for serial in self.damage.within(first, last))

    def is_lost(self, table: FrameTable, index: int) -> bool:
        """True if a frame depends on damage that does not come from a jump."""
        return self.is_spoiled(table, index) and not any(
            serial in self._doubtful
            for serial in self.damage.within(int(table.starts[index]), int(table.serials[index]))
        )


def _runs(table: FrameTable, wanted: Sequence[int]) -> list[list[int]]:
    """Groups frames that continuous decoding reaches: a new run starts if the next frame is beyond a keyframe."""
    runs: list[list[int]] = []
    reached = -1
    for index in wanted:
        if not runs or table.starts[index] > reached:
            runs.append([])
        runs[-1].append(index)
        reached = max(reached, int(table.serials[index]) + 1)
    return runs
