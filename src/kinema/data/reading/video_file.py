"""`VideoReader`: exact frames of a video file by number, with as little decoding as possible."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import torch
from av.video.frame import VideoFrame

from kinema.data.reading.decoder import Decoder, Work
from kinema.data.reading.frame_table import FrameTable, from_decoding, from_stamps
from kinema.data.reading.info import VideoInfo, is_variable, normal_gap
from kinema.data.reading.packets import Packets, WrongTableError
from kinema.data.reading.picture import Picture
from kinema.errors import UnreadableVideo
from kinema.files import on_behalf_of

# Largest number of pixels to decode for an error message that counts the readable frames: up to a second of H.264 on
# one core. A time limit would make the message depend on the load of the machine.
_COUNTING = 2**28
_LOOKS = 16  # keyframes to try for the rotation if the first frame is damaged


class VideoReader:
    """Reads frames of a video file by number, in display order.

    Every frame has the same bits as when the whole file is decoded. Frames that are not requested are not converted,
    and not decoded if no requested frame depends on them. The reader jumps to another keyframe only if the next
    requested frame is beyond one.

    Frames are counted from the container's packets. If these are not reliable (timestamps that are missing, equal or
    not in display order; packets with two frames or none), opening decodes the file once, keeps the frames if they are
    small enough, and is also exact.

    A file that lists more frames than it contains (it is truncated), or with damaged frames, keeps its frame count.
    Frames that do not depend on the damage can be read. Other frames raise `UnreadableVideo`, which says how many
    frames are readable if that is known or found quickly. Each reader decodes a few groups of pictures more because of
    the damage, once; it never restarts from the beginning for each read. `kinema.data.reading` lists the damage that is
    not detected.

    Args:
        path: the file.
        threads: number of decoding threads; leave it at 1 if several readers run at the same time, as loader workers.
        memory: bytes that the reader may keep of packets, and the same amount again of frames.

    Attributes:
        path: the file, as named in errors.
        file: path that can be opened; it differs only for a sample of a shard.
        times: float64 [frames], time at which each frame is shown, in seconds since the first one, ascending.
        duration: seconds from the beginning of the first frame to the end of the last one.
        stored: frames that the file contains; the table of a file that is cut off lists more, up to `len(reader)`.
        converted: number of frames converted to RGB so far.

    Raises:
        UnreadableVideo: no frame can be read.
    """

    def __init__(self, path: str | Path, *, threads: int = 1, memory: int = 64 * 2**20) -> None:
        self.path = self.file = Path(path)
        with on_behalf_of(self.path):
            self._open(threads, memory)

    def _open(self, threads: int, memory: int) -> None:
        self._packets = Packets(self.path, memory)
        self._decoder = Decoder(self._packets, threads)
        self._picture = Picture(self._packets.size)
        self._kept: dict[int, VideoFrame] = {}
        self._info: VideoInfo | None = None
        self._exhaustive = False
        self._counted = False
        self._readable: int | None = None  # number of frames that are neither missing nor damaged
        self.converted = 0
        self._memory = memory
        try:
            self._index()
        except Exception:
            self.close()
            raise

    def _index(self) -> None:
        """Lists the frames; those that are missing continue the times of the others."""
        table = from_stamps(self._packets)
        if table is None and self._packets.listed:
            self._packets.scan()
            table = from_stamps(self._packets)
        if table is None:
            table = self._count_out()
        self._table = table
        self.times = table.times
        self.stored = len(table)
        step = normal_gap(np.diff(table.times)) or self._packets.period
        length = 0.0 if table.counted else self._packets.length(int(table.serials[-1]))
        if self._packets.missing:
            further = table.times[-1] + step * np.arange(1, self._packets.missing + 1)
            self.times, length = np.concatenate([table.times, further]), step
        self.duration = float(self.times[-1]) + (length or step)

    def _count_out(self) -> FrameTable:
        """Decodes everything once, to list the frames."""
        serials = self._decode_all()
        if not serials:
            raise self._nothing()
        return from_decoding(self._packets, serials)

    def _decode_all(self) -> list[int | None]:
        """Returns the packet of every frame in display order; keeps the frames as far as memory allows."""
        serials: list[int | None] = []
        kept = 0
        self._kept.clear()
        for frame in self._decoder.all_frames():
            kept += sum(plane.buffer_size for plane in frame.planes)
            if kept <= self._memory:
                self._kept[len(serials)] = frame
            serials.append(frame.pts)
        return serials

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.times)

    @property
    def work(self) -> Work:
        """Counters of the decoding work so far."""
        return self._decoder.work

    @property
    def info(self) -> VideoInfo:
        """Information about the video. The first frame states the rotation, so it may be decoded here."""
        if self._info is None:
            if not self._picture.is_known:
                self._look()
            width, height = self._picture.shown_size
            frames = len(self.times)
            period = float(self.times[-1]) / (frames - 1) if frames > 1 else self._packets.period
            self._info = VideoInfo(
                path=str(self.path),
                frames=frames,
                fps=1 / period,
                duration=self.duration,
                width=width,
                height=height,
                codec=self._packets.codec,
                variable_rate=is_variable(self.times, self._packets.unit),
                has_audio=self._packets.has_audio,
            )
        return self._info

    def _look(self) -> None:
        """Reads the rotation of the pictures from any intact frame."""
        firsts = [int(index) for index in self._table.index_of[self._table.keys] if index > 0]
        refused: UnreadableVideo | None = None
        for index in [0, *firsts[:_LOOKS]]:
            try:
                for _, frame in self._collect([index]):
                    self._picture.look(frame)
                return
            except UnreadableVideo as error:
                refused = refused or error
        if refused:
            raise refused

    def read(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Reads frames by number, in any order, repeats allowed.

        Args:
            indices: whole numbers in [0, frames).

        Returns:
            uint8 [len(indices), height, width, 3], RGB.

        Raises:
            UnreadableVideo: a requested frame is missing or damaged.
            IndexError: a number is outside [0, frames).
        """
        order = self._inside(indices)
        for index in order.tolist():
            if index >= len(self._table) or self._decoder.is_lost(self._table, index):
                raise self._refusal(index)  # before decoding for the others
        clip: torch.Tensor | None = None
        for index, picture in self.frames(order):
            if clip is None:
                clip = torch.empty((len(order), *picture.shape), dtype=torch.uint8)
            clip.numpy()[order == index] = picture
        if clip is None:
            return torch.empty((0, self.info.height, self.info.width, 3), dtype=torch.uint8)
        return clip

    def frames(self, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields frames one at a time, so that a caller can scale each and drop it before the next is decoded.

        Finish or close the iterator before you use the reader for anything else.

        Args:
            indices: whole numbers in [0, frames), in any order; repeats count once.

        Returns:
            An iterator over (frame index, uint8 [height, width, 3] RGB), ascending. If a jump lost a frame, the missed
            frames follow at the end. If the file's own tables turn out to be wrong, frames are repeated, and the last
            one counts. The array may be a view of the decoder's memory: copy what you keep.

        Raises:
            UnreadableVideo: while iterating, after the last readable frame: a frame is missing or damaged.
            IndexError: a number is outside [0, frames).
        """
        return self._pictures(np.unique(self._inside(indices)).tolist())

    def _inside(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        order = np.asarray(indices, np.int64).reshape(-1)
        if len(order) and not (order.min() >= 0 and order.max() < len(self)):
            raise IndexError(
                f"{self.path}: frames {order.min()} to {order.max()} were requested, but there are {len(self)}"
            )
        return order

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index, frame in self._collect(wanted):
            try:
                picture = self._picture.rgb(frame)
            except av.FFmpegError as error:
                reason = f"frame {index} cannot be converted to RGB ({error.strerror})"
                raise UnreadableVideo(self.path, reason) from error
            self.converted += 1
            yield index, picture

    def _collect(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        with on_behalf_of(self.path):
            try:
                yield from self._gather(wanted)
            except WrongTableError:
                self._packets.scan()
                self._decoder.forget()
                self._index()
                yield from self._gather(wanted)

    def _gather(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        held = [i for i in wanted if i < len(self._table)]
        unmet = yield from self._attempt(held)
        doubtful = [i for i in unmet if not self._decoder.is_lost(self._table, i)]
        if doubtful and not self._exhaustive:
            # Either they are damaged, or decoding started at a false keyframe: start one keyframe further back.
            self.work.fallbacks += 1
            again = yield from self._attempt(doubtful, farther=True)
            doubtful = [i for i in again if not self._decoder.is_lost(self._table, i)]
        if doubtful and not self._exhaustive:
            self._exhaustive = True  # like a player, from the start
            self._kept.clear()
            again = yield from self._attempt(doubtful)
            if again == doubtful:  # the jumps were not the cause
                self._exhaustive = False
            doubtful = again
        for index in doubtful:
            self._decoder.give_up(self._table, index)
        if unmet:
            lost = [i for i in unmet if self._decoder.is_spoiled(self._table, i)]
            if lost:
                raise self._refusal(lost[0])
        if len(held) < len(wanted):
            raise self._refusal(wanted[len(held)])

    def _attempt(
        self, wanted: list[int], *, farther: bool = False
    ) -> Generator[tuple[int, VideoFrame], None, list[int]]:
        """Yields the requested frames that can be read in this way; returns the others."""
        unmet = set(wanted)
        for index in wanted:
            if index in self._kept and not self._decoder.is_spoiled(self._table, index):
                unmet.remove(index)
                yield index, self._kept[index]
        rest = [i for i in wanted if i not in self._kept]
        for index, frame in self._decoder.collect(self._table, rest, farther=farther, exhaustive=self._exhaustive):
            unmet.remove(index)
            yield index, frame
        return sorted(unmet)

    def _refusal(self, index: int) -> UnreadableVideo:
        """Builds the error for a missing or damaged frame, with the number of readable frames if known."""
        if not self._picture.is_known and not all(self._packets.size):
            return self._nothing()
        declared, held = len(self), len(self._table)
        at_end = index >= held or self._table.serials[index] == len(self._packets) - 1
        state = "truncated" if at_end and held < declared else "damaged"
        if not self._counted:
            self._counted, self._readable = True, self._decoder.count_sound(self._table, _COUNTING)
        if self._readable is not None:
            extent = f"; {self._readable} of {declared} frames are readable"
        elif held < declared:
            extent = f" and contains {held} of {declared} frames"
        else:
            extent = f" (it has {declared} frames)"
        reason = f"frame {index} cannot be read because the file is {state}{extent}"
        return UnreadableVideo(self.path, f"{reason}: copy or download it again")

    def _nothing(self) -> UnreadableVideo:
        """Builds the error for a file of which the decoder outputs no frame."""
        reason = f"none of its {len(self._packets) + self._packets.missing} frames can be decoded"
        if not all(self._packets.size):  # FFmpeg drops a size that it rejects
            reason += "; the size of its frames is damaged or larger than the limit of 16384 x 16384 pixels"
        return UnreadableVideo(self.path, f"{reason}: copy or download it again")

    def close(self) -> None:
        """Closes the file and frees the memory."""
        self._packets.close()
        self._kept.clear()
