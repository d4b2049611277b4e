"""Checks that the pictures of an H.264 stream follow one another as their encoder numbered them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from kinema.data.reading.bitstream import length_width
from kinema.data.reading.h264 import REFRESH, ParameterSets, SequenceSet, forgets_all, parameter_sets, read_slice

_START_CODE = b"\x00\x00\x01"
_SLICES, _SETS = (1, 2, REFRESH), (7, 8)  # types of units (table 7-1)
_DELIMITER, _ESCAPE = b"\x09", b"\x00\x00\x03"
_LONGEST_SET = 1024  # bytes that are kept of a parameter set; what stands behind them is not needed
# At most this many reference pictures are stored after a keyframe and shown before it: 15 B frames have up to 7.
_LEADING = 7
_REORDERED = 16  # pictures that may be stored between two that are shown one after the other


class PictureNumbers:
    """Checks `frame_num`, by which H.264 counts reference pictures (ISO 14496-10, 7.4.3).

    The number of a picture is one more than that of the previous reference picture in decoding order; an IDR picture
    has 0. If a reference picture was lost, duplicated or swapped, the number of the next picture does not fit. Decoders
    conceal this.

    Three kinds of streams are not checked: those that may leave out pictures (`gaps_in_frame_num_value_allowed_flag`),
    those whose numbers never rise, and those whose parameter sets are missing. The two fields of a frame may have the
    same number. Numbers may be missing directly after a keyframe of an open GOP, because editors that cut a stream
    there remove the pictures that are stored after the keyframe and shown before it.

    Pictures that no other needs have equal numbers. If two of them were swapped, their `pic_order_cnt_lsb` (8.2.1.1)
    shows it: it orders pictures for display as the stamps of the container do. This is checked from the first picture
    on that is stored after the previous one and shown before it by both; not for fields.

    Args:
        extradata: of the stream.

    Attributes:
        is_reference: other pictures may need the last packet.
    """

    def __init__(self, extradata: bytes | None) -> None:
        self.is_reference = True
        self._width = length_width("h264", extradata)
        self._sets = ParameterSets()
        self._counts = False  # numbers have risen
        self._orders = False  # a picture is shown before the previous one, by its stamp and by its order count
        # By the first 18 bits of ordinary slices: where `frame_num` and the order count end in the first 48 bits,
        # their masks, and whether the picture is a reference. Nearly all packets are checked with this, in a quarter of
        # the time.
        self._known: dict[int, tuple[int, int, int, int, bool]] = {}
        self.learn(extradata or b"")
        self.restart()

    def restart(self) -> None:
        """Accepts any packet next; the parameter sets are kept, as in a decoder."""
        self._last: int | None = None  # number of the last reference picture
        self._before = (b"", 0)  # its packet, and where in that its slice begins
        self._is_field = False  # the last picture was a field; another may follow in the same packet
        self._opens = False  # the last picture was a keyframe that is no refresh
        self._base: int | None = None  # order count of the last reference picture
        self._place = (0, -1)  # order count and frame index of the last picture
        self._recent: deque[tuple[int, int]] = deque(maxlen=_REORDERED)  # and of those before it

    def learn(self, extradata: bytes) -> None:
        """Adds the parameter sets of a header, in the form of MP4 (`avcC`) or with start codes."""
        for unit in parameter_sets(extradata):
            self._sets.add(unit)
        self._known.clear()

    def damaged(self, data: bytes, clean: bool, index: int) -> int:
        """Returns how many of the packets up to this one are damaged: 0, 1, or 2 if the previous one is too.

        1 for a packet at which decoding can start says that something before it is missing; it is damaged itself only
        with 2.

        Args:
            data: the next packet in the order of decoding.
            clean: decoding can start at it.
            index: its frame in the order of display by the container; -1 if that is unknown.
        """
        width, last, base = self._width, self._last, self._base
        at = width or data.find(_START_CODE) + 3
        head = data[at : at + 6]
        if head[:1] == _DELIMITER:
            at = at + width + int.from_bytes(data[at - width : at], "big") if width else data.find(_START_CODE, at) + 3
            head = data[at : at + 6]
        word = int.from_bytes(head, "big")
        known = self._known.get(word >> 30)
        if known and last is not None and base is not None and _ESCAPE not in head:
            shift, mask, order_shift, order_mask, is_reference = known
            number = word >> shift & mask
            if number - last & mask == 1:
                ordered = self._is_ordered(word >> order_shift & order_mask, order_mask, index, is_reference)
                self._opens, self._counts, self.is_reference = False, True, is_reference
                if is_reference:
                    self._last, self._before = number, (data, at)
                return 0 if ordered else 2
        return self._damaged(data, clean, index)

    def _damaged(self, data: bytes, clean: bool, index: int) -> int:
        """Does what `damaged` does, for every kind of packet."""
        self.is_reference = True
        for at in self._units(data):
            kind = data[at] & 31
            if kind in _SETS:
                end = data.find(_START_CODE, at, at + _LONGEST_SET)
                if self._sets.add(data[at : end if end > 0 else at + _LONGEST_SET]):
                    self._known.clear()
            elif kind in _SLICES:
                found = self._take(data, at, clean, index)
                if found or not self._is_field:
                    return found
        return 0

    def _take(self, data: bytes, at: int, clean: bool, index: int) -> int:
        """Checks a picture by one of its slices, and continues from it."""
        try:
            found = read_slice(data, at, self._sets)
        except IndexError:
            found = None
        if data[at] & 31 == REFRESH:
            self._last, self._before, self._opens, self._is_field = 0, (data, at), False, False
            self._base, self._place = found[1].order if found else None, (0, -1)
            self._recent.clear()
            return 0
        if found is None:
            self._last = self._base = None
            self._recent.clear()
            return 0
        self.is_reference = bool(data[at] & 0x60)
        sequence, head = found
        number, last = head.number, self._last
        if not (head.first or sequence.gaps) and sequence.frames_only:
            self._remember(data[at : at + 6], head.end, sequence)
        self._is_field = head.field is not None
        opens, self._opens = self._opens, clean
        fits, ahead = True, 0
        if last is not None:
            ahead = (number - last) % (1 << sequence.frame_bits)
            self._counts = self._counts or ahead == 1
            fits = (
                ahead == 1
                or sequence.gaps
                or (ahead == 0 and (head.first > 0 or head.field is not None or not self._counts))
                or (opens and head.is_p and 1 < ahead <= 1 + _LEADING)
                or (number < 2 and self._forgot())
            )
        mask = (1 << sequence.order_bits) - 1
        (last_order, last_index), before = self._place, list(self._recent)
        ordered = self._is_ordered(head.order, mask, -1 if self._is_field else index, self.is_reference)
        if self.is_reference:
            self._last, self._before = number, (data, at)
        elif not fits:
            self._last = (number - 1) % (1 << sequence.frame_bits)
        order, index = self._place
        if fits and opens and ahead > 1 and index >= 0 <= last_index:
            # Nothing is missing between these two for display, so a regular encoder counts 1 or 2 per picture.
            ordered = ordered and order - last_order in (index - last_index, 2 * (index - last_index))
        if fits:
            return 0 if ordered else 2
        displaced = index >= 0 and any((order < other) != (index < shown) for other, shown in before)
        # Directly after the keyframe of an open GOP: nothing else would show that it stands in another's place.
        return 2 if opens or (clean and displaced) else 1

    def _is_ordered(self, count: int, mask: int, index: int, is_reference: bool) -> bool:
        """True if a picture stands before or after the previous one by its order count as by its frame index."""
        base, (before, shown) = self._base, self._place
        half = mask + 1 >> 1
        order = count if base is None else base + (count - base + half & mask) - half
        self._place = order, index
        if index >= 0:
            self._recent.append(self._place)
        if is_reference:
            self._base = order
        if base is None or index < 0 or shown < 0:
            return True
        if (order < before) == (index < shown):
            self._orders = self._orders or order < before
            return True
        if self._orders and self._forgot():  # the order counts restarted too
            self._base, self._place = None, (0, -1)
            self._recent.clear()
            return True
        return not self._orders

    def _remember(self, head: bytes, end: int, sequence: SequenceSet) -> None:
        """Stores how to read slices that begin with the same bits, if `frame_num` begins within the first 18."""
        bits, order_bits = sequence.frame_bits, sequence.order_bits
        free = 10 - (end - bits)
        shift, order_shift = 40 - end, 40 - end - order_bits
        if free >= 0 and order_shift >= 0 and _ESCAPE not in head and len(head) == 6:
            first = int.from_bytes(head, "big") >> 30 >> free << free
            how = shift, (1 << bits) - 1, order_shift, (1 << order_bits) - 1, bool(head[0] & 0x60)
            self._known.update((first + i, how) for i in range(1 << free))

    def _forgot(self) -> bool:
        """True if the last reference picture restarted the numbers, or if that cannot be read."""
        data, at = self._before
        if data[at : at + 1] and data[at] & 31 == REFRESH:
            return False
        try:
            return forgets_all(data, at, self._sets)
        except IndexError:
            return True

    def _units(self, data: bytes) -> Iterator[int]:
        """Yields the positions at which the units of a packet begin."""
        width = self._width
        if width:
            at = 0
            while at + width < len(data):
                yield at + width
                at += width + int.from_bytes(data[at : at + width], "big")
            return
        at = data.find(_START_CODE)
        while 0 <= at < len(data) - 3:
            yield at + 3
            at = data.find(_START_CODE, at + 3)
