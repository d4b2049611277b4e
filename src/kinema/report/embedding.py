"""t-SNE of a network's features of test videos, and the purity of their neighbourhoods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinema.data.datasets import TestVideos, collate_test
from kinema.data.loading.loader import Loader
from kinema.data.manifest import Manifest
from kinema.data.transforms import to_input
from kinema.errors import KinemaError
from kinema.processes import loader_workers, room_for_readers
from kinema.recognizer import Recognizer

CLASSES, VIDEOS, NEIGHBOURS = 16, 2000, 5
# Positions in the network from which vectors are taken, in its order.
HEAD, EMBEDDING, LOGITS = "input of the head", "input of the classifier", "logits"
Spaces = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Embedding:
    """The t-SNE of test videos.

    Attributes:
        name: name of the run.
        space: position in the network from which the vectors were taken: `HEAD`, `EMBEDDING` or `LOGITS`.
        points: float64 N 2.
        truth: N labels.
        labels: the classes.
        purity: mean share of a video's 5 nearest neighbours (among the vectors, not in the plane) of the same class.
        unread: number of videos without vectors.
    """

    name: str
    space: str
    points: NDArray[np.float64]
    truth: tuple[str, ...]
    labels: tuple[str, ...]
    purity: float
    unread: int


def chosen(manifest: Manifest, *, classes: int = CLASSES, videos: int = VIDEOS, seed: int = 0) -> Manifest:
    """Returns a part of a test for a figure: the classes with the most videos, and a random sample of their videos.

    Args:
        manifest: the test.
        classes: largest number of classes, the most frequent ones (of equally frequent ones, the first by name).
        videos: largest number of videos.
        seed: seed of the sample.
    """
    counts = Counter(s.label for s in manifest.samples)
    kept = set(sorted(counts, key=lambda label: (-counts[label], label))[:classes])
    samples = [s for s in manifest.samples if s.label in kept]
    if len(samples) > videos:
        places = np.random.default_rng(seed).choice(len(samples), videos, replace=False)
        samples = [samples[i] for i in np.sort(places)]
    return replace(manifest, samples=tuple(samples))


@torch.inference_mode()
def features(
    recognizer: Recognizer,
    manifest: Manifest,
    *,
    workers: int = -1,
    batch: int = 8,
    progress: Callable[[int, int], object] | None = None,
) -> Spaces:
    """Computes the features of the central clip of every video, at three positions in a network.

    Args:
        recognizer: the recognizer.
        manifest: the videos; their labels must be the recognizer's.
        workers: processes that read videos, as for a test.
        batch: clips per forward pass.
        progress: called with the number of finished videos and their total.

    Returns:
        `HEAD`: float32 N C, the last stage averaged over time and space (pathways concatenated); left out if it is the
        input of the classifier. `EMBEDDING`: N F, the input of the classifier. `LOGITS`: N K. NaN for a video that
        could not be read.
    """
    data = TestVideos(manifest, recognizer.labels, recognizer.spec, 1, 1)
    readers = min(loader_workers(workers), len(data))
    parts = [range(begin, min(begin + batch, len(data))) for begin in range(0, len(data), batch)]
    recognizer.model.eval()
    rows: dict[int, list[NDArray[np.float32]]] = {}
    done = 0
    with Loader(data, parts, collate_test, readers=readers, largest=batch) as loader, room_for_readers(readers):
        for read in loader:
            done += len(read["path"]) + len(read["failures"])
            if read["path"]:
                clips = to_input(read["views"][:, 0].to(recognizer.device), recognizer.spec)
                found = recognizer.model.forward_features(clips)
                maps = found if isinstance(found, tuple) else (found,)
                pooled = torch.cat([x.flatten(2).mean(2) for x in maps], 1)
                seen = recognizer.model.forward_head(found, pre_logits=True)
                logits = recognizer.model.forward_head(found)
                vectors = [x.float().cpu().numpy() for x in (pooled, seen, logits)]
                rows |= {i: [x[place] for x in vectors] for place, i in enumerate(read["index"].tolist())}
            if progress is not None:
                progress(done, len(data))
    empty = [np.full(len(x), np.nan, dtype=np.float32) for x in next(iter(rows.values()), [np.zeros(1)] * 3)]
    spaces = [np.stack([rows.get(i, empty)[k] for i in range(len(data))]) for k in range(3)]
    first, second = spaces[:2]
    same = first.shape == second.shape and np.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True)
    return dict(list(zip((HEAD, EMBEDDING, LOGITS), spaces, strict=True))[same:])


def embed(name: str, space: str, vectors: NDArray[np.float32], truth: Sequence[str], *, seed: int = 0) -> Embedding:
    """Computes the t-SNE of the vectors from one position in a network.

    Args:
        name: name of the run.
        space: the position.
        vectors: N C; rows of NaN are left out and counted.
        truth: N labels.
        seed: seed of t-SNE.

    Raises:
        KinemaError: fewer than 5 videos could be read.
    """
    read = np.logical_not(np.isnan(vectors).any(axis=1))
    known = tuple(label for label, ok in zip(truth, read, strict=True) if ok)
    labels = tuple(sorted(set(known)))
    points = embedding(vectors[read], seed=seed)
    return Embedding(name, space, points, known, labels, neighbour_purity(vectors[read], known), int((~read).sum()))


def embedding(vectors: NDArray[np.floating[Any]], *, seed: int = 0) -> NDArray[np.float64]:
    """Computes t-SNE, starting from the first two principal components; the same seed gives the same picture.

    Args:
        vectors: N C, finite.
        seed: seed of scikit-learn's random numbers.

    Returns:
        float64 N 2.

    Raises:
        KinemaError: there are fewer than 5 rows, or scikit-learn is not installed.
    """
    tsne = require_analysis()
    if len(vectors) < 5:
        raise KinemaError(
            f"t-SNE of {len(vectors)} videos is not meaningful: give a test with at least 5 readable videos"
        )
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    points = tsne(n_components=2, init="pca", random_state=seed, perplexity=perplexity).fit_transform(vectors)
    return np.asarray(points, dtype=np.float64)


def require_analysis() -> Any:
    """Imports scikit-learn's t-SNE.

    Raises:
        KinemaError: it is not installed.
    """
    try:
        from sklearn.manifold import TSNE  # the extra `analysis`
    except ImportError as error:
        raise KinemaError('t-SNE needs scikit-learn: pip install "kinema[analysis]"') from error
    return TSNE


def neighbour_purity(vectors: NDArray[np.floating[Any]], truth: Sequence[str], k: int = NEIGHBOURS) -> float:
    """Returns the mean share of the k nearest other videos (Euclidean) of the same class, 0 to 1.

    Args:
        vectors: N C.
        truth: N labels.
        k: number of neighbours; all other videos if there are fewer.
    """
    x = vectors.astype(np.float64)
    squares = (x**2).sum(1)
    distances = squares[:, None] + squares[None] - 2 * x @ x.T
    np.fill_diagonal(distances, np.inf)
    k = min(k, len(x) - 1)
    nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
    _, classes = np.unique(np.array(truth, dtype=object), return_inverse=True)
    return float((classes[nearest] == classes[:, None]).mean())


def chance_purity(truth: Sequence[str]) -> float:
    """Returns the purity of uninformative features: the probability that two random videos have the same class, 0 to 1.

    Args:
        truth: N labels.
    """
    n = len(truth)
    return sum(k * (k - 1) for k in Counter(truth).values()) / max(1, n * (n - 1))
