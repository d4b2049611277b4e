"""`make_report`: from the places of runs to the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from kinema.data.manifest import read_manifest
from kinema.errors import KinemaError
from kinema.evaluation.comparison import Comparison, compare
from kinema.files import replace_file
from kinema.recognizer import Recognizer
from kinema.report.embedding import Embedding, chosen, embed, features, require_analysis
from kinema.report.page import render
from kinema.report.runs import Run, open_runs

Progress = Callable[[int, int], object]


def make_report(
    places: Sequence[str | Path],
    out: str | Path,
    *,
    with_features: bool = False,
    data: str | None = None,
    workers: int = -1,
    device: str = "cpu",
    progress: Callable[[str], AbstractContextManager[Progress | None]] | None = None,
) -> list[Run]:
    """Writes the report of one run or several.

    Args:
        places: run folders, test folders or `scores.parquet` files; the later ones are compared with the first.
        out: the HTML file.
        with_features: run the recognizers once more, for the t-SNE of their features.
        data: where the tested videos are; None is where each test found them.
        workers: processes that read videos, for the features.
        device: where networks run, for the features.
        progress: gives for a title what is called with the videos done and their number.

    Returns:
        The runs that the page shows; `missing` of each says what it could not.

    Raises:
        KinemaError: a place that is no run, or features that cannot be had.
    """
    file = Path(out)
    if file.is_dir():
        raise KinemaError(f"{file}: is a folder; give the name of an HTML file as --out")
    runs = open_runs(places)
    tests = [run.test for run in runs if run.test is not None]
    comparisons: list[Comparison | str] = []
    for other in tests[1:]:
        try:
            comparisons.append(compare(tests[0], other))
        except KinemaError as error:
            comparisons.append(str(error))
    embeddings = []
    if with_features:
        require_analysis()
        if not tests:
            raise KinemaError(
                f"{places[0]}: features are drawn of tested videos, and there is no test; {runs[0].missing[-1]}"
            )
        for run in runs:
            if run.test is not None:
                with progress(f"features of {run.name}") if progress else nullcontext() as step:
                    embeddings.append(_embedding(run, data, workers, device, step))
    page = render(runs, comparisons, embeddings)
    replace_file(file, lambda part: part.write_text(page, encoding="utf-8"))
    return runs


def _embedding(run: Run, data: str | None, workers: int, device: str, progress: Progress | None) -> Embedding:
    assert run.test is not None
    test = run.test.document.get("test")
    if not isinstance(test, dict):
        raise KinemaError(f"{run.test.file}: no metrics.json beside it says what was tested; test again for features")
    recognizer = Recognizer.load(run.folder if run.folder is not None else test["recognizer"], device)
    videos = chosen(read_manifest(data or test["data"], check=False).part(test["split"]))
    vectors = features(recognizer, videos, workers=workers, progress=progress)
    return embed(run.name, vectors, [s.label for s in videos.samples])
