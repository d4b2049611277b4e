"""`VideoReader`: exact frames of a video file by their number, at the least decoding."""

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


class VideoReader:
    """Reads frames of a video file by their number in the order of showing.

    Every frame has the same bits as the one that decoding the whole file gives at that place. Frames that nobody asks
    for are not converted, and not decoded where none of the wanted ones depends on them; the reader goes to another
    keyframe only when the next wanted frame lies beyond one.

    Frames are counted from the container's packets. Where these do not tell (stamps that are missing, equal or not
    those of the shown order; packets that hold two frames or none), opening decodes the file once, keeps the frames if
    they are small enough, and is exact as well.

    A file that lists more frames than it holds (cut off), or in which frames are damaged, keeps its count. Frames that
    do not depend on the damage can be read; asking for another raises `UnreadableVideo`, which says how many can.
    Damage that the decoder passes over in silence is not seen.

    Args:
        path: the file.
        threads: that decode; leave it at 1 where several readers run beside one another, as in a loader's workers.
        memory: bytes that the reader may keep of packets, and again of frames.

    Attributes:
        path: the file.
        times: float64 [frames], when each frame is shown, seconds since the first one, ascending.
        duration: seconds from the beginning of the first frame to the end of the last one.
        stored: frames that the file holds; the table of a file that is cut off lists more, up to `len(reader)`.
        converted: frames that were turned into RGB so far.

    Raises:
        UnreadableVideo: no frame can be had.
    """

    def __init__(self, path: str | Path, *, threads: int = 1, memory: int = 64 * 2**20) -> None:
        self.path = Path(path)
        self._packets = Packets(self.path, memory)
        self._decoder = Decoder(self._packets, threads)
        self._picture = Picture(self._packets.size)
        self._kept: dict[int, VideoFrame] = {}
        self._info: VideoInfo | None = None
        self._exhaustive = False
        self.converted = 0
        self._memory = memory
        try:
            self._index()
        except Exception:
            self.close()
            raise

    def _index(self) -> None:
        """Finds out which frames there are; those that are missing continue the times of the others."""
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
        """Decodes everything once, to see which frames there are."""
        serials: list[int | None] = []
        kept = 0
        for frame in self._decoder.all_frames():
            kept += sum(plane.buffer_size for plane in frame.planes)
            if kept <= self._memory:
                self._kept[len(serials)] = frame
            serials.append(frame.pts)
        if not serials:
            raise UnreadableVideo(self.path, f"none of its {len(self._packets)} frames can be decoded")
        return from_decoding(self._packets, serials)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.times)

    @property
    def work(self) -> Work:
        """What decoding cost so far."""
        return self._decoder.work

    @property
    def info(self) -> VideoInfo:
        """Facts about the video; how the picture is turned is known from the first frame, which may be decoded here."""
        if self._info is None:
            if not self._picture.is_known:
                for _, frame in self._collect([0]):
                    self._picture.look(frame)
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

    def read(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Frames by their number, in any order, repeats allowed.

        Args:
            indices: whole numbers in [0, frames).

        Returns:
            uint8 [len(indices), height, width, 3], RGB.

        Raises:
            UnreadableVideo: a wanted frame is missing or damaged.
            IndexError: a number lies outside [0, frames).
        """
        order = self._inside(indices)
        clip: torch.Tensor | None = None
        for index, picture in self.frames(order):
            if clip is None:
                clip = torch.empty((len(order), *picture.shape), dtype=torch.uint8)
            clip.numpy()[order == index] = picture
        if clip is None:
            return torch.empty((0, self.info.height, self.info.width, 3), dtype=torch.uint8)
        return clip

    def frames(self, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Frames one at a time, so that a caller can scale each and drop it before the next is decoded.

        Finish or close the iterator before you ask the reader for anything else.

        Args:
            indices: whole numbers in [0, frames), in any order; repeats count once.

        Returns:
            An iterator over (frame index, uint8 [height, width, 3] RGB), ascending. After a jump that lost a frame,
            the frames that were missed follow at the end. If the file's own tables prove wrong on the way, frames come
            again, and the last one counts. The array may be a view of the decoder's memory: copy what you keep.

        Raises:
            UnreadableVideo: by the iterator, after the last frame that can be had: one is missing or damaged.
            IndexError: a number lies outside [0, frames).
        """
        return self._pictures(np.unique(self._inside(indices)).tolist())

    def _inside(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        order = np.asarray(indices, np.int64).reshape(-1)
        if len(order) and not (order.min() >= 0 and order.max() < len(self)):
            raise IndexError(f"{self.path}: frames {order.min()} to {order.max()} were asked of {len(self)}")
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
        if unmet and not self._exhaustive:
            self._exhaustive = True  # jumps lost a frame: from now on as a player would, from the start
            self.work.fallbacks += 1
            self._decoder.forget()
            self._kept.clear()
            unmet = yield from self._attempt(unmet)
        if unmet:
            raise self._refusal(unmet[0], "damaged")
        if len(held) < len(wanted):
            raise self._refusal(wanted[len(held)], "cut off")

    def _attempt(self, wanted: list[int]) -> Generator[tuple[int, VideoFrame], None, list[int]]:
        """Yields the wanted frames that can be had this way; returns the others."""
        unmet = set(wanted)
        kept = [i for i in wanted if i in self._kept and not self._decoder.is_spoiled(self._table, i)]
        for index in kept:
            unmet.remove(index)
            yield index, self._kept[index]
        rest = [i for i in wanted if i not in self._kept]
        for index, frame in self._decoder.collect(self._table, rest, exhaustive=self._exhaustive):
            unmet.remove(index)
            yield index, frame
        return sorted(unmet)

    def _refusal(self, index: int, state: str) -> UnreadableVideo:
        sound, listed = self._decoder.sound_frames(self._table), len(self)
        reason = f"frame {index} cannot be read, for the file is {state} ({sound} of {listed} frames can)"
        return UnreadableVideo(self.path, f"{reason}: copy or download it again")

    def close(self) -> None:
        """Gives back the file and the memory."""
        self._packets.close()
        self._kept.clear()
