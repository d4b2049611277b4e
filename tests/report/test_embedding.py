from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.mixed_data import BAD, GOOD, SPEC, VIDEOS, mixed_data, recognizer

from kinema.data.manifest import Manifest, read_manifest
from kinema.data.sources import Sample
from kinema.data.views import read_clip
from kinema.errors import KinemaError
from kinema.models import create_model
from kinema.recognizer import Recognizer
from kinema.report.embedding import (
    EMBEDDING,
    HEAD,
    LOGITS,
    chance_purity,
    chosen,
    embed,
    embedding,
    features,
    neighbour_purity,
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(mixed_data(tmp_path_factory.mktemp("mixed data")), check=False).split("test")


def blobs(classes: int = 3, each: int = 20) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(1)
    middles = rng.normal(0, 20, (classes, 12))
    truth = [str(i) for i in range(classes) for _ in range(each)]
    return (middles.repeat(each, 0) + rng.normal(0, 1, (classes * each, 12))).astype(np.float32), truth


def test_features_are_the_pooled_embedding_and_the_logits(manifest: Manifest) -> None:
    net = recognizer()
    seen: list[tuple[int, int]] = []
    spaces = features(net, manifest, workers=0, batch=4, progress=lambda *at: seen.append(at))
    assert seen[-1] == (11, 11)
    assert list(spaces) == [EMBEDDING, LOGITS]  # the head of this network reads what its classifier reads
    found = spaces[EMBEDDING]
    weight, bias = (p.detach().numpy() for p in net.model.classifier.parameters())
    np.testing.assert_allclose(spaces[LOGITS], found @ weight.T + bias, atol=1e-4)
    for sample, row in zip(manifest.samples, found, strict=True):
        name = Path(sample.path).name
        if name in BAD:
            assert np.isnan(row).all()
        else:
            with torch.no_grad():
                pooled = net.model.forward_features(read_clip(sample.path, SPEC)).mean((0, 2, 3, 4))
            np.testing.assert_allclose(row, pooled.numpy(), atol=1e-4)
    assert np.isfinite(found).all(1).sum() == len(GOOD)
    assert len(found) == len(VIDEOS)


def test_a_head_with_layers_of_its_own_has_a_space_of_its_own(manifest: Manifest) -> None:
    model = create_model("x3d_s", num_classes=3, frames=SPEC.frames, width=0.25).eval()
    spaces = features(Recognizer(model, recognizer().labels, SPEC), manifest, workers=0)
    assert list(spaces) == [HEAD, EMBEDDING, LOGITS]
    good = next(i for i, s in enumerate(manifest.samples) if Path(s.path).name in GOOD)
    with torch.no_grad():
        maps = model.forward_features(read_clip(manifest.samples[good].path, SPEC))
    np.testing.assert_allclose(spaces[HEAD][good], maps.mean((0, 2, 3, 4)).numpy(), atol=1e-4)
    assert spaces[EMBEDDING].shape[1] == model.num_features != spaces[HEAD].shape[1]


def test_clusters_stay_together_and_the_seed_decides() -> None:
    vectors, truth = blobs()
    points = embedding(vectors, seed=3)
    assert points.shape == (60, 2)
    assert neighbour_purity(points, truth) == 1.0
    np.testing.assert_array_equal(embedding(vectors, seed=3), points)


def test_purity_by_hand() -> None:
    line = np.array([[0.0], [1.0], [3.0], [10.0], [11.0]])
    truth = ["a", "a", "b", "b", "a"]
    # nearest of each: 1, 0, 1, 4, 3
    assert neighbour_purity(line, truth, k=1) == pytest.approx((1 + 1 + 0 + 0 + 0) / 5)
    assert neighbour_purity(line, truth, k=9) == pytest.approx((2 / 4 * 3 + 1 / 4 * 2) / 5)


def test_unreadable_videos_are_counted_and_left_out() -> None:
    vectors, truth = blobs(2, 7)
    vectors[[0, 7]] = np.nan
    found = embed("run", LOGITS, vectors, truth)
    assert (found.unread, found.labels, len(found.truth), found.points.shape) == (2, ("0", "1"), 12, (12, 2))
    assert found.purity == 1.0


def test_too_few_videos_or_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KinemaError, match="t-SNE of 4 videos is not meaningful"):
        embedding(np.zeros((4, 3)))
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(KinemaError, match=r'pip install "kinema\[analysis\]"'):
        embedding(np.zeros((9, 3)))


def test_what_a_figure_can_show_is_chosen(manifest: Manifest) -> None:
    samples = tuple(Sample(f"{label}{i}", label) for label, n in (("a", 3), ("b", 5), ("c", 5)) for i in range(n))
    whole = replace(manifest, samples=samples)
    assert chosen(whole).samples == samples
    assert {s.label for s in chosen(whole, classes=2).samples} == {"b", "c"}
    few = chosen(whole, videos=4).samples
    assert len(few) == 4
    assert sorted(few, key=samples.index) == list(few)
    assert chosen(whole, videos=4).samples == few
    assert chosen(whole, videos=4, seed=1).samples != few


def test_the_share_of_neighbours_that_chance_gives() -> None:
    assert chance_purity(["a"] * 10 + ["b"] * 8) == pytest.approx((10 * 9 + 8 * 7) / (18 * 17))
    assert chance_purity(["a", "b"]) == 0
