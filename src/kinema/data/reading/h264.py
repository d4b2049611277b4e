"""Parses the headers of H.264 (ISO 14496-10, 7.3): parameter sets and the beginning of slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_START_CODE = b"\x00\x00\x01"
_WITH_CHROMA = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))  # profiles (7.3.2.1.1)
REFRESH = 5  # nal_unit_type of a slice of an IDR picture (table 7-1)
_P, _B, _SP = 0, 1, 3  # slice_type modulo 5 (table 7-6)
_LONGEST_HEADER = 600  # bytes of a slice that are searched for what its header ends with; weights for 32 + 32 fields


@dataclass(frozen=True)
class SequenceSet:
    """The part of a sequence parameter set that is needed to parse slices.

    Attributes:
        number: its identifier in picture parameter sets.
        frame_bits: of `frame_num`, which counts modulo 2 ** `frame_bits`.
        gaps: `gaps_in_frame_num_value_allowed_flag`: reference pictures may be left out intentionally.
        frames_only: no picture is a field or a frame of mixed macroblocks.
        planes: three colour planes are coded apart.
        has_chroma: there are chroma samples in the same slices.
        order: `pic_order_cnt_type`.
        order_bits: of `pic_order_cnt_lsb`, for type 0.
        order_fixed: `delta_pic_order_always_zero_flag`, for type 1.
    """

    number: int
    frame_bits: int
    gaps: bool
    frames_only: bool
    planes: bool
    has_chroma: bool
    order: int
    order_bits: int
    order_fixed: bool


@dataclass(frozen=True)
class PictureSet:
    """The part of a picture parameter set that is needed to parse slices.

    Attributes:
        number: its identifier in slices.
        sequence: the number of its sequence parameter set.
        order_present: `bottom_field_pic_order_in_frame_present_flag`.
        lists: reference pictures in both lists, unless a slice says otherwise.
        weighted: `weighted_pred_flag`.
        weighted_b: `weighted_bipred_idc`.
        redundant: `redundant_pic_cnt_present_flag`.
    """

    number: int
    sequence: int
    order_present: bool
    lists: tuple[int, int]
    weighted: bool
    weighted_b: int
    redundant: bool


@dataclass(frozen=True)
class Slice:
    """The beginning of a slice's header.

    Attributes:
        first: its first macroblock; 0 begins a picture.
        is_p: it is a P slice.
        number: `frame_num`.
        end: bits of the header up to the end of `frame_num`.
        field: None for a frame, else 0 for a top and 1 for a bottom field.
        order: `pic_order_cnt_lsb`, the place in the order of display; 0 if the stream has none.
    """

    first: int
    is_p: bool
    number: int
    end: int
    field: int | None
    order: int


class Bits:
    """Reads bits from the front; IndexError behind the end.

    Attributes:
        left: number of bits that were not read yet.
    """

    __slots__ = ("_value", "left")

    def __init__(self, data: bytes) -> None:
        self._value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """The next bits as a number."""
        self.left -= count
        if self.left < 0:
            raise IndexError("the data ends within a number")
        return self._value >> self.left & ((1 << count) - 1)

    def golomb(self) -> int:
        """The next number in the code ue(v) (9.1)."""
        rest = self._value & ((1 << self.left) - 1)
        return self.take(2 * (self.left - rest.bit_length()) + 1) - 1

    def skip_golomb(self, count: int) -> None:
        """Skips numbers in the codes ue(v) and se(v), which have the same length."""
        for _ in range(count):
            self.golomb()


def payload(unit: bytes) -> bytes:
    """Returns the content of a unit after its first byte, without emulation prevention bytes (7.4.1)."""
    return unit[1:].replace(b"\x00\x00\x03", b"\x00\x00")


def read_sequence_set(unit: bytes) -> SequenceSet:
    """Parses a sequence parameter set (7.3.2.1.1).

    Args:
        unit: from its NAL header on; bytes after the set are ignored.

    Raises:
        IndexError: it is cut off.
    """
    bits = Bits(payload(unit))
    profile, _, _ = (bits.take(8) for _ in range(3))
    number = bits.golomb()
    chroma, planes = 1, False
    if profile in _WITH_CHROMA:
        chroma = bits.golomb()
        planes = chroma == 3 and bool(bits.take(1))
        bits.skip_golomb(2)
        bits.take(1)
        if bits.take(1):
            for table in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling(bits, 16 if table < 6 else 64)
    frame_bits = bits.golomb() + 4
    order = bits.golomb()
    order_bits, order_fixed = 0, False
    if order == 0:
        order_bits = bits.golomb() + 4
    elif order == 1:
        order_fixed = bool(bits.take(1))
        bits.skip_golomb(2)
        bits.skip_golomb(bits.golomb())
    bits.golomb()
    gaps = bool(bits.take(1))
    bits.skip_golomb(2)
    frames_only = bool(bits.take(1))
    has_chroma = chroma != 0 and not planes
    return SequenceSet(number, frame_bits, gaps, frames_only, planes, has_chroma, order, order_bits, order_fixed)


def _skip_scaling(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            following = (last + ((code + 1) // 2 if code & 1 else -(code // 2))) % 256
        last = following or last


def read_picture_set(unit: bytes) -> PictureSet | None:
    """Parses a picture parameter set (7.3.2.2); None for one with slice groups, which are not supported.

    Args:
        unit: from its NAL header on; bytes after the set are ignored.

    Raises:
        IndexError: it is cut off.
    """
    bits = Bits(payload(unit))
    number, sequence = bits.golomb(), bits.golomb()
    bits.take(1)
    order_present = bool(bits.take(1))
    if bits.golomb():
        return None
    lists = bits.golomb() + 1, bits.golomb() + 1
    weighted, weighted_b = bool(bits.take(1)), bits.take(2)
    bits.skip_golomb(3)
    bits.take(2)
    return PictureSet(number, sequence, order_present, lists, weighted, weighted_b, bool(bits.take(1)))


def parameter_sets(header: bytes) -> Iterator[bytes]:
    """The sequence and picture parameter sets of a header, from an MP4's `avcC` or from one with start codes."""
    if header[:1] != b"\x01":
        yield from (unit for unit in header.split(_START_CODE)[1:] if unit and unit[0] & 31 in (7, 8))
        return
    at = 5
    for mask in (31, 255):
        count = header[at] & mask if at < len(header) else 0
        at += 1
        for _ in range(count):
            size = int.from_bytes(header[at : at + 2], "big")
            unit = header[at + 2 : at + 2 + size]
            if unit:
                yield unit
            at += 2 + size


class ParameterSets:
    """The parameter sets that were read from a stream so far."""

    def __init__(self) -> None:
        self._sequences: dict[int, SequenceSet] = {}
        self._pictures: dict[int, PictureSet] = {}
        self._latest: dict[int, bytes] = {}

    def add(self, unit: bytes) -> bool:
        """Adds a sequence or picture parameter set; one that cannot be parsed is ignored.

        Returns:
            True if it differs from the last one of its kind; streams repeat these before each keyframe.
        """
        kind = unit[0] & 31
        if self._latest.get(kind) == unit:
            return False
        self._latest[kind] = unit
        try:
            if kind == 7:
                sequence = read_sequence_set(unit)
                self._sequences[sequence.number] = sequence
            else:
                picture = read_picture_set(unit)
                if picture:
                    self._pictures[picture.number] = picture
                else:
                    self._pictures.clear()
        except IndexError:
            pass
        return True

    def of(self, number: int) -> tuple[SequenceSet, PictureSet] | None:
        """Returns the sets for the number of a picture parameter set; None if one of them is unknown."""
        picture = self._pictures.get(number)
        sequence = self._sequences.get(picture.sequence) if picture else None
        return (sequence, picture) if sequence and picture else None


def read_slice(data: bytes, at: int, sets: ParameterSets) -> tuple[SequenceSet, Slice] | None:
    """Parses the beginning of a slice's header (7.3.3); None if its parameter sets are unknown.

    Args:
        data: the packet.
        at: position in it of the unit's NAL header.
        sets: of the stream.

    Raises:
        IndexError: the unit is cut off.
    """
    bits = Bits(payload(data[at : at + 20]))
    whole = bits.left
    first, kind = bits.golomb(), bits.golomb()
    found = sets.of(bits.golomb())
    if found is None:
        return None
    sequence, _ = found
    if sequence.planes:
        bits.take(2)
    number = bits.take(sequence.frame_bits)
    end = whole - bits.left
    field = bits.take(1) if not sequence.frames_only and bits.take(1) else None
    if data[at] & 31 == REFRESH:
        bits.golomb()
    order = bits.take(sequence.order_bits)
    return sequence, Slice(first, kind % 5 == _P, number, end, field, order)


def forgets_all(data: bytes, at: int, sets: ParameterSets) -> bool:
    """True if a reference picture removes all earlier ones from memory, after which `frame_num` restarts from 0.

    This is `memory_management_control_operation` 5, in the last part of the header of its slices.

    Args:
        data: the packet.
        at: position in it of a slice that does not belong to an IDR picture.
        sets: of the stream.

    Raises:
        IndexError: the unit is cut off.
    """
    bits = Bits(payload(data[at : at + _LONGEST_HEADER]))
    bits.golomb()
    kind = bits.golomb() % 5
    found = sets.of(bits.golomb())
    if found is None:
        return False
    sequence, picture = found
    bits.take(sequence.frame_bits + 2 * sequence.planes)
    field = not sequence.frames_only and bool(bits.take(1))
    bits.take(field)
    if sequence.order == 0:
        bits.take(sequence.order_bits)
        bits.skip_golomb(picture.order_present and not field)
    elif sequence.order == 1 and not sequence.order_fixed:
        bits.skip_golomb(1 + (picture.order_present and not field))
    bits.skip_golomb(picture.redundant)
    bits.take(kind == _B)
    if kind in (_P, _SP, _B):
        _skip_references(bits, kind, sequence, picture)
    if not bits.take(1):
        return False
    operation = bits.golomb()
    while operation not in (0, 5):
        bits.skip_golomb(2 if operation == 3 else 1)
        operation = bits.golomb()
    return operation == 5


def _skip_references(bits: Bits, kind: int, sequence: SequenceSet, picture: PictureSet) -> None:
    """Skips the reference lists of a slice and their weights (7.3.3.1, 7.3.3.2)."""
    lists = list(picture.lists[: 1 + (kind == _B)])
    if bits.take(1):
        lists = [bits.golomb() + 1 for _ in lists]
    for _ in lists:
        if bits.take(1):
            while bits.golomb() != 3:
                bits.golomb()
    if picture.weighted_b == 1 if kind == _B else picture.weighted:
        bits.skip_golomb(1 + sequence.has_chroma)
        for size in lists:
            for _ in range(size):
                bits.skip_golomb(2 * bits.take(1))
                if sequence.has_chroma:
                    bits.skip_golomb(4 * bits.take(1))
