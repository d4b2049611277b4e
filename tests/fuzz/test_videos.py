"""Damaged video files: read by a process with limits, and compared with a plain decode of the same file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzz.judging import FINDINGS, OUTCOMES, UNSTABLE, Mutants, Verdict
from fuzz.mutants import KINDS

from kinema.data.loading.limits import ReadLimits
from kinema.data.loading.loader import Loader, alone

# Seeds of mutants that were findings once, by what was mended since.
FOUND = {
    "a damaged MJPEG picture showed another frame": (39, 54, 204, 219, 384, 459, 579),
    "a keyframe that gives no frame was passed over": (172,),
    "a damaged first packet raised an error that names nothing": (758, 4523),
    "a reference was lost or stood in another's place, and H.264 does not say so": (1353, 1727, 1755, 2582, 5522, 5567),
    "B frames of H.264 that no other needs stood in each other's places": (23522, 23551),
    "the keyframe of an open group stood in another frame's place": (40516, 43261, 53026),
    "a decoder that may leave out a reference picture reports nothing about it": (45198,),
    "after damage, frames came out in another order": (45523, 45524),
    "doubtful damage was forgotten, and a frame that was decoded with it was handed out": (50369,),
    "a transport stream could not be opened without parsers": (60063, 65823),
    "an MJPEG picture without its tables was decoded with another's": (41394,),
    "B frames of MPEG-4 had stamps as if they were shown in the order of storage": (818, 2018),
    "the table called a packet of AV1 a keyframe that is none": (3311,),
    "a unit astray within a packet of a transport stream was taken for the packet's own": (21291,),
    "the judge took foreign bytes for damage that the reader had cut off": (1063, 2023, 3313, 3433),
    "the judge took an empty chunk for the end of the file": (1088,),
}
LIMITS = ReadLimits(seconds=60, stalled=20, memory=2)


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> Mutants:
    return Mutants(tmp_path_factory.mktemp("mutants"))


def verdicts(mutants: Mutants, seeds: range) -> list[Verdict]:
    with Loader(mutants, [[seed] for seed in seeds], alone, readers=1, largest=1, limits=LIMITS) as loader:
        return [found["verdict"] for found in loader]


def test_no_mutant_is_a_finding(mutants: Mutants) -> None:
    found = verdicts(mutants, range(4 * len(KINDS)))
    assert [verdict for verdict in found if verdict.outcome in FINDINGS] == []
    counts = Counter(verdict.outcome for verdict in found)
    assert set(counts) <= set(OUTCOMES)
    assert counts.total() == 4 * len(KINDS)
    assert sum(verdict.frames["sound"] for verdict in found) > 100  # most of what is sound is handed out


def test_the_same_seed_gives_the_same_file(mutants: Mutants, tmp_path: Path) -> None:
    again = Mutants(tmp_path, keep=True)
    for seed in range(3):
        again[seed]
        first = Path(again.path(seed)).read_bytes()
        again[seed]
        assert Path(again.path(seed)).read_bytes() == first


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_once_is_mended(mutants: Mutants, what: str) -> None:
    found = [mutants[seed]["verdict"] for seed in FOUND[what]]
    assert [verdict for verdict in found if verdict.outcome in (*FINDINGS, UNSTABLE)] == []
