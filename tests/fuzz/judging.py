"""Reads a damaged file as Kinema does, decodes it apart as simply as can be, and says what is wrong with the frames."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from data.full_decode import full_decode
from fuzz.mutants import KINDS, Source, kind_of, write_mutant, write_source

from kinema.clip_spec import ClipSpec
from kinema.data.reading.picture import Picture
from kinema.data.reading.progress import beat
from kinema.data.reading.pyav import is_cover, open_input
from kinema.data.video import VideoReader, open_video
from kinema.data.views import read_views
from kinema.errors import UnreadableVideo

# What may come of a mutant, the worst last. `FINDINGS` must not happen at all.
REFUSED = "refused"  # no frame was handed out
SOUND = "sound"  # every frame that was handed out is the original's of that number; others may have been refused
RENUMBERED = "renumbered"  # a frame of the original, at another number: nothing tells that packets are gone or moved
UNSEEN = (
    "unseen"  # a frame that differs from the original, as in the plain loop, and the decoder reports nothing for it
)
UNSTABLE = "unstable"  # the same, and what it shows depends on where decoding began
REPORTED = "reported damage handed out"
WORSE = "other than a plain decode"  # which shows the original's frame there, or none
UNEXPECTED = "an error that is no KinemaError"
LOST = "the reader was lost"
OUTCOMES = (REFUSED, SOUND, RENUMBERED, UNSEEN, UNSTABLE, REPORTED, WORSE, UNEXPECTED, LOST)
FINDINGS = OUTCOMES[5:]

_MOST = 60  # frames that are asked for, of a file whose table lies about their number
_SPEC = ClipSpec(frames=4, stride=2, short_side=32, crop=32)


@dataclass
class Verdict:
    """What came of one mutant.

    Attributes:
        seed: of the mutant.
        kind: of file.
        damage: what was done.
        outcome: of `OUTCOMES`.
        note: what is wrong, for a finding.
        frames: handed out, refused, and of the first how many in each outcome.
    """

    seed: int
    kind: str
    damage: str = ""
    outcome: str = REFUSED
    note: str = ""
    frames: Counter[str] = field(default_factory=Counter)

    def blame(self, outcome: str, note: str) -> None:
        """Takes an outcome if it is worse than what was found before."""
        if OUTCOMES.index(outcome) > OUTCOMES.index(self.outcome):
            self.outcome, self.note = outcome, note


def digest(picture: Any) -> str:
    """A short name of an RGB picture."""
    array = np.ascontiguousarray(picture)
    return hashlib.sha1(str(array.shape).encode() + array.tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Shown:
    """A frame of the plain loop.

    Attributes:
        digest: of what it looks like.
        serial: of its packet.
        reported: the decoder reports damage on which it may depend.
        packet: what the packet holds.
    """

    digest: str
    serial: int
    reported: bool
    packet: bytes = b""


def decode_plainly(path: Path) -> list[Shown]:
    """Every frame that FFmpeg shows of a file, from the first packet to the last, errors passed over."""
    frames: list[tuple[str, int]] = []
    keys, bad = [0], set()
    stamps: dict[int, int | None] = {}
    contents: dict[int, bytes] = {}
    # In transport and program streams the flag of a packet may stand on the one before.
    flagged = path.suffix not in (".ts", ".mpg")
    try:
        with open_input(path) as container:
            videos = [s for s in container.streams.video if not is_cover(container, s)]
            best = container.streams.best("video")
            stream = best if best in videos else videos[0]
            context = stream.codec_context
            context.thread_count = 1
            picture = Picture((context.width, context.height))
            packets = container.demux(stream)
            serial = -1
            while True:
                try:
                    packet = next(packets, None)
                except av.FFmpegError:
                    break
                if packet is not None and not packet.size and packet.dts is not None:
                    continue  # a chunk without content, not the end
                if packet is not None and packet.size:
                    serial += 1
                    stamps[serial], contents[serial] = packet.pts, bytes(packet)
                    packet.pts = packet.dts = serial
                    if packet.is_keyframe:
                        keys.append(serial)
                    if packet.is_corrupt and flagged:
                        bad.add(serial)
                try:
                    shown = context.decode(packet if packet is not None and packet.size else None)
                except av.FFmpegError:
                    bad.add(serial)
                    shown = []
                for frame in shown:
                    beat()
                    at = serial if frame.pts is None else frame.pts
                    if frame.is_corrupt:
                        bad.add(at)
                    try:
                        frames.append((digest(picture.rgb(frame)), at))
                    except av.FFmpegError:
                        frames.append(("", at))
                if packet is None or not packet.size or serial > 4 * _MOST:
                    break
    except (av.FFmpegError, IndexError, ValueError, AttributeError):
        pass
    found = []
    for name, at in frames:
        begun = max((key for key in keys if key <= at), default=0)
        reported = any(_counts(serial, begun, at, stamps) for serial in bad)
        found.append(Shown(name, at, reported, contents.get(at, b"")))
    return found


def _counts(serial: int, begun: int, at: int, stamps: dict[int, int | None]) -> bool:
    """Whether a frame may draw on a packet: not on one that is shown before the keyframe and stored behind it."""
    shown, key = stamps.get(serial), stamps.get(begun)
    leading = shown is not None and key is not None and shown < key
    return serial == at or (begun <= serial <= at and not leading)


class Mutants:
    """Verdicts by seed, for a `Loader`: its readers are those of training, testing and labelling.

    Args:
        folder: for the sound files and the damaged ones.
        keep: do not remove the damaged files.
    """

    def __init__(self, folder: Path, *, keep: bool = False) -> None:
        self._folder, self._keep = folder, keep
        self.sources: dict[str, Source] = {}
        self.whole: dict[str, list[Shown]] = {}
        for kind in KINDS:
            source = self.sources[kind] = write_source(kind, folder)
            pictures = full_decode(source.path)
            with open_video(source.path) as video:
                assert len(video) == len(pictures), kind
                assert np.array_equal(video.read(range(len(video))).numpy(), np.stack(pictures)), kind
            self.whole[kind] = decode_plainly(source.path)
            assert [shown.digest for shown in self.whole[kind]] == [digest(one) for one in pictures], kind

    item_bytes = 64

    def path(self, seed: int) -> str:
        kind = kind_of(seed)
        return str(self._folder / f"mutant-{seed}{self.sources[kind].path.suffix}")

    def __getitem__(self, seed: int) -> dict[str, Verdict]:
        path, kind = Path(self.path(seed)), kind_of(seed)
        verdict = Verdict(seed, kind)
        verdict.damage = write_mutant(seed, self.sources[kind], path)
        self.stage(seed, "reader")
        seen = read_all(path, verdict, np.random.default_rng(seed))
        self.stage(seed, "plain loop")
        judge(seen, decode_plainly(path), self.whole[kind], verdict)
        if not self._keep:
            path.unlink()
            self._stage_file(seed).unlink()
        return {"verdict": verdict}

    def failure(self, seed: int, reason: str) -> dict[str, Verdict]:
        """The reader died, hung or went beyond a limit; `stage` says whether Kinema was reading or the plain loop."""
        file = self._stage_file(seed)
        where = file.read_text() if file.exists() else "before"
        lost = Verdict(seed, kind_of(seed), "", LOST, f"{reason} (in the {where})")
        return {"verdict": lost}

    def stage(self, seed: int, name: str) -> None:
        self._stage_file(seed).write_text(name)

    def _stage_file(self, seed: int) -> Path:
        return self._folder / f"mutant-{seed}.stage"


@dataclass
class Seen:
    """The frames that Kinema handed out, by number.

    Attributes:
        ordered: read singly in order.
        jumped: read singly in any order by a second reader; what that was refused, read with all others by a third.
        serials: the packet of each, in files whose packets show one frame each.
    """

    ordered: dict[int, str] = field(default_factory=dict)
    jumped: dict[int, str] = field(default_factory=dict)
    serials: dict[int, int] = field(default_factory=dict)


def read_all(path: Path, verdict: Verdict, rng: np.random.Generator) -> Seen:
    """Reads every frame singly in order, again in any order, all at once, and as a prediction does."""
    seen = Seen()
    try:
        for found, mixed in ((seen.ordered, False), (seen.jumped, True)):
            with open_video(path) as video:
                count = len(video)
                asked = [*range(min(count, _MOST)), *range(max(_MOST, count - 2), count)]
                for index in rng.permutation(asked) if mixed else asked:
                    try:
                        found[int(index)] = digest(video.read([int(index)])[0])
                    except UnreadableVideo:
                        verdict.frames["refused"] += not mixed
        with open_video(path) as video:
            _ = video.info
            if isinstance(video, VideoReader) and not video._table.counted:
                seen.serials = dict(enumerate(video._table.serials.tolist()))
            for index, picture in islice(video.frames(asked), len(asked)):
                seen.jumped.setdefault(index, digest(picture))
        read_views(path, _SPEC, 2, 1)
    except UnreadableVideo:
        pass
    except MemoryError:
        raise
    except Exception as error:
        verdict.blame(UNEXPECTED, " ".join(f"{type(error).__name__}: {error}".split()))
    return seen


def judge(seen: Seen, plain: list[Shown], sound: list[Shown], verdict: Verdict) -> None:
    """Compares what was handed out with the plain loop and with the original, decoded by the plain loop as well."""
    known = {shown.digest: shown for shown in reversed(plain)}
    at = {shown.serial: shown for shown in plain}
    whole = [shown.digest for shown in sound]
    for index in sorted(seen.ordered | seen.jumped):
        names = {found[index] for found in (seen.ordered, seen.jumped) if index in found}
        there = at.get(seen.serials.get(index, -1))
        intact = there is not None and index < len(whole) and there.digest == whole[index]
        for name in names:
            if index < len(whole) and whole[index] == name:
                outcome = SOUND
            elif intact or (there is None and name not in known):
                outcome = WORSE
            elif name in whole and _holds(there, sound[whole.index(name)]):
                outcome = RENUMBERED  # what the plain loop reports stands behind the frame, and the reader cut it off
            elif (known.get(name) or there or Shown("", 0, False)).reported:
                outcome = REPORTED
            elif len(names) > 1 or name not in known:
                outcome = UNSTABLE
            else:
                outcome = RENUMBERED if name in whole else UNSEEN
            verdict.frames[outcome] += 1
            verdict.blame(outcome, f"frame {index}")


def _holds(there: Shown | None, original: Shown) -> bool:
    """Whether a packet holds all of an original's packet, and perhaps more behind it."""
    return there is not None and bool(original.packet) and there.packet.startswith(original.packet)
