"""`make_report`: from the places of runs to the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from kinema.data.manifest import data_root, read_manifest
from kinema.errors import KinemaError
from kinema.evaluation.comparison import Comparison, compare
from kinema.evaluation.many import ManyComparison, compare_many
from kinema.evaluation.set_comparison import SetComparison, compare_sets
from kinema.evaluation.set_many import ManySets, compare_many_sets
from kinema.evaluation.tested import Tested, require_one_kind
from kinema.files import replace_file
from kinema.recognizer import Recognizer
from kinema.report.embedding import Embedding, chosen, embed, features, require_analysis
from kinema.report.explained import Explained, class_frames, explained
from kinema.report.page import render
from kinema.report.runs import Run, open_runs
from kinema.report.trade_off import counts, latencies

Progress = Callable[[int, int], object]

FRAMES = 24  # classes of which a frame is shown


def make_report(
    places: Sequence[str | Path],
    out: str | Path,
    *,
    with_features: bool = False,
    explain: int = 0,
    data: str | None = None,
    groups: Sequence[str] = (),
    with_latency: bool = False,
    workers: int = -1,
    device: str = "cpu",
    progress: Callable[[str], AbstractContextManager[Progress | None]] | None = None,
) -> list[Run]:
    """Writes the report of one run or several.

    Args:
        places: run folders, test folders or `scores.parquet` files; the later ones are compared with the first.
        out: the HTML file.
        with_features: run the recognizers once more, for the t-SNE of their features.
        explain: so many of the most confident mistakes and hits of each run are shown with their maps, and a frame per
            class; 0 shows none.
        data: where the tested videos are, for features and pictures; None is where each test found them.
        groups: `NAME=PATTERN` of names of runs, whose means are compared (see `kinema.evaluation.groups.group_tests`).
            Without any, runs that differ in the seed alone are groups.
        with_latency: measure the time per clip of each network, with interleaved runs.
        workers: processes that read videos, for the features.
        device: where networks run, for features and maps.
        progress: gives for a title what is called with the videos done and their number.

    Returns:
        The runs that the page shows; `missing` of each says what it could not.

    Raises:
        KinemaError: a place that is not a run, tests of one label per video beside tests of several, unavailable
            features, or pictures without a test or of videos with several labels.
    """
    file = Path(out)
    if file.is_dir():
        raise KinemaError(f"{file}: is a folder; give the name of an HTML file as --out")
    runs = open_runs(places)
    tests = [run.test for run in runs if run.test is not None]
    several = require_one_kind(tests)
    if several and (with_features or explain):
        option = "--features" if with_features else "--explain"
        raise KinemaError(
            f"{option}: shows videos by their one label, and {tests[0].file} is of a test with several labels per "
            f"video; leave {option} out"
        )
    many: ManyComparison | ManySets | None = None
    if len(tests) > 2 or (groups and tests):
        many = compare_many_sets(tests, groups=groups) if several else compare_many(tests, groups=groups)
    comparisons: list[Comparison | SetComparison | str] = []
    for other in tests[1:]:
        try:
            comparisons.append(compare_sets(tests[0], other) if several else compare(tests[0], other))
        except KinemaError as error:
            comparisons.append(str(error))
    if (with_features or explain) and not tests:
        what = "features are drawn of tested videos" if with_features else "mistakes and hits are of tested videos"
        raise KinemaError(f"{places[0]}: {what}, and there is no test; {runs[0].missing[-1]}")
    if with_features:
        require_analysis()
    embeddings: list[Embedding] = []
    shown: list[Explained] = []
    for run in runs if with_features or explain else []:
        if run.test is None:
            continue
        recognizer = _recognizer(run, device)
        if with_features:
            with progress(f"features of {run.name}") if progress else nullcontext() as step:
                embeddings += _embeddings(run, recognizer, data, workers, step)
        if explain:
            with progress(f"explaining {run.name}") if progress else nullcontext() as step:
                shown.append(explained(run.name, recognizer, run.test.result, _root(run.test, data), explain, step))
    frames = class_frames([t.result for t in tests], [_root(t, data) for t in tests],
                          _telling(tests, comparisons)) if explain else {}  # fmt: skip
    costs = counts(runs)
    times = latencies(runs, costs, device) if with_latency else []
    page = render(runs, comparisons, embeddings, shown, frames, many=many, costs=costs, times=times)
    replace_file(file, lambda part: part.write_text(page, encoding="utf-8"))
    return runs


def _described(run: Run) -> Mapping[str, Any]:
    """What `kinema test` says of a test.

    Raises:
        KinemaError: it says nothing.
    """
    assert run.test is not None
    test = run.test.document.get("test")
    if not isinstance(test, Mapping):
        raise KinemaError(
            f"{run.test.file}: there is no metrics.json beside it with the tested data; test again to get features "
            "and pictures"
        )
    return test


def _recognizer(run: Run, device: str) -> Recognizer:
    return Recognizer.load(run.folder if run.folder is not None else _described(run)["recognizer"], device)


def _embeddings(
    run: Run, recognizer: Recognizer, data: str | None, workers: int, progress: Progress | None
) -> list[Embedding]:
    test = _described(run)
    videos = chosen(read_manifest(data or test["data"], check=False).part(test["split"]))
    spaces = features(recognizer, videos, workers=workers, progress=progress)
    truth = [s.label for s in videos.samples]
    return [embed(run.name, space, vectors, truth) for space, vectors in spaces.items()]


def _root(test: Tested, data: str | None) -> Path:
    """The folder in which the paths of a test start: where the videos were, or where they are now.

    Raises:
        KinemaError: no data there.
    """
    return Path(test.result.root) if data is None else data_root(read_manifest(data, check=False).source)


def _telling(tests: Sequence[Tested], comparisons: Sequence[Comparison | SetComparison | str]) -> list[str]:
    """The classes for which a frame is shown: those that changed most between runs, else the hardest and easiest."""
    for comparison in comparisons:
        if isinstance(comparison, Comparison):
            order = [k.label for k in comparison.per_class]
            break
    else:
        known = [c for c in tests[0].metrics.per_class if c.recall is not None]
        order = [c.label for c in sorted(known, key=lambda c: (c.recall or 0.0, c.label))]
    return order if len(order) <= FRAMES else [*order[: FRAMES // 2], *order[-FRAMES // 2 :]]
