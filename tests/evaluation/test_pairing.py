"""A test of packed videos beside a test of the videos that they were packed from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from evaluation.made_tests import made_test
from evaluation.mixed_data import mixed_data, recognizer

from kinema.data.manifest import read_manifest
from kinema.data.packing.origins import read_origins
from kinema.data.packing.pack import pack
from kinema.errors import KinemaError
from kinema.evaluation import evaluate, write_results
from kinema.evaluation.comparison import compare
from kinema.evaluation.grid import mcnemar_grid
from kinema.evaluation.pairing import shared_rows
from kinema.evaluation.results import Test
from kinema.evaluation.tested import Tested, open_test


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data and a packed copy."""
    data = mixed_data(tmp_path_factory.mktemp("mixed data"))
    out = tmp_path_factory.mktemp("packed")
    pack(data, out, short_side=36, workers=1)
    return data, out


@pytest.fixture(scope="module")
def tests(places: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Tested]:
    found = []
    for seed, data in enumerate(places):
        net = recognizer(seed=seed)
        result = evaluate(net, read_manifest(data, check=False).split("test"), workers=0)
        folder = tmp_path_factory.mktemp("tested")
        write_results(folder, result, net, Test("r", str(data), "test", "1x1"))
        found.append(open_test(folder, ("plain", "packed")[seed]))
    return found


def test_packed_videos_are_paired_with_their_sources(tests: list[Tested]) -> None:
    plain, packed = tests
    assert packed.result.packed_from == plain.result.paths
    assert packed.result.packed_root == plain.result.root
    assert plain.result.packed_from == ()
    assert shared_rows(plain, packed) == shared_rows(packed, plain) == [(i, i) for i in range(11)]
    for first, second in ((plain, packed), (packed, plain)):
        found = compare(first, second)
        assert found.videos == 11
        assert any("packed videos" in remark for remark in found.remarks)
        assert not any("another size" in remark or "paired by their paths" in remark for remark in found.remarks)
    assert mcnemar_grid(tests).cells[0].refused is None


def test_sources_that_lay_elsewhere_are_paired_with_a_caution(tests: list[Tested]) -> None:
    plain, packed = tests
    moved = replace(plain, result=replace(plain.result, root="/moved"))
    assert any("paired by their paths" in remark for remark in compare(moved, packed).remarks)


def test_two_packed_copies_of_other_sizes_are_paired(tests: list[Tested]) -> None:
    _, packed = tests
    order = range(10, -1, -1)
    other = made_test(
        "small",
        [packed.result.truth[i] for i in order],
        [packed.result.predictions[i] for i in order],
        labels=packed.result.labels,
        paths=[f"other {i}.mp4" for i in order],
        sizes=[7] * 11,
    )
    sources = tuple(packed.result.packed_from[i] for i in order)
    other = replace(other, result=replace(other.result, packed_from=sources, packed_root=packed.result.packed_root))
    assert shared_rows(packed, other) == [(i, 10 - i) for i in range(11)]
    assert compare(packed, other).mcnemar.p_exact == 1.0


def test_a_folder_that_is_not_packed_has_no_origins_and_a_damaged_one_is_named(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    data, out = places
    assert read_origins(data.parent) is None
    found = read_origins(out)
    assert found is not None and found.root == str(data.parent.resolve())
    (tmp_path / "manifest.csv").write_text("path,label\na.mp4,x\n")
    for text in ("{", "{}", "[]", '{"data": 3}', '{"data": "/d"}'):
        (tmp_path / "pack.json").write_text(text)
        with pytest.raises(KinemaError, match=r"pack\.json|packed_from"):
            read_origins(tmp_path)
