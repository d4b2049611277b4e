"""Long puppets films: their lists of actions agree with what the films show."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from puppets.generated import rows

from kinema.cli import main
from kinema.data.manifest import read_manifest
from kinema.data.video import open_video
from kinema.errors import KinemaError
from kinema.puppets import generate_films
from kinema.puppets.actions import LABELS
from kinema.puppets.films import FilmJob, perform_film

SMALL = {"films": (1, 0, 1), "seconds": 12.0, "size": 64, "workers": 1}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_films(tmp_path_factory.mktemp("films") / "f", **SMALL, idle="nothing")


def test_the_list_covers_every_film_from_its_first_frame_to_its_last(films: Path) -> None:
    for split in ("train", "test"):
        listed = [row for row in rows(films) if row["split"] == split]
        with open_video(films / listed[0]["path"]) as reader:
            duration = reader.duration
        assert duration >= 12
        assert float(listed[0]["start"]) == 0
        assert float(listed[-1]["end"]) == pytest.approx(duration, abs=2e-3)
        assert all(a["end"] == b["start"] for a, b in pairwise(listed))
        assert {row["label"] for row in listed} <= {*LABELS, "nothing"}
        assert {row["label"] for row in listed} - {"nothing"}


def test_the_actor_moves_where_an_action_is_listed_and_stands_where_none_is(films: Path) -> None:
    """The median over a span leaves out the cuts; the pixels that change most are those of the actor."""
    moved: dict[bool, list[float]] = {True: [], False: []}
    for path in {row["path"] for row in rows(films)}:
        with open_video(films / path) as reader:
            frames = reader.read(range(len(reader))).numpy().astype(np.float32)
            times = reader.times
        change = np.quantile(np.abs(np.diff(frames, axis=0)).max(axis=3), 0.98, axis=(1, 2))
        for row in rows(films):
            if row["path"] == path:
                inside = (times[1:] > float(row["start"])) & (times[1:] < float(row["end"]))
                moved[row["label"] != "nothing"].append(float(np.median(change[inside])))
    assert np.median(moved[True]) > 1.5 * np.median(moved[False])


def test_the_reverse_is_the_same_film_backwards(tmp_path: Path) -> None:
    job = FilmJob(str(tmp_path), 0, "test", 0, 60.0, 64, "")
    (tmp_path / "test").mkdir()
    listed = perform_film(job)
    labels = [row["label"] for row in listed]
    first = next(i for i, label in enumerate(labels) if label in ("sit down", "stand up", "raise arms", "lower arms"))
    a, b = listed[first : first + 2]
    with open_video(tmp_path / a["path"]) as reader:
        rate = int(a["fps"])
        spans = [[round(float(row[key]) * rate) for key in ("start", "end")] for row in (a, b)]
        there, back = (reader.read(range(*span)) for span in spans)
    assert there.equal(back.flip(0))
    assert {a["label"], b["label"]} in ({"sit down", "stand up"}, {"raise arms", "lower arms"})


def test_it_can_be_trained_on_and_is_left_as_it_is(films: Path) -> None:
    manifest = read_manifest(films)
    assert manifest.splits == ("train", "test")
    assert all(s.start is not None and s.end is not None for s in manifest.samples)
    before = {p: p.stat().st_mtime_ns for p in films.rglob("*.mp4")}
    generate_films(films, **SMALL, idle="nothing")
    assert before == {p: p.stat().st_mtime_ns for p in films.rglob("*.mp4")}
    with pytest.raises(KinemaError, match="other parameters"):
        generate_films(films, **SMALL)


def test_the_same_seed_gives_the_same_bytes(films: Path, tmp_path: Path) -> None:
    again = generate_films(tmp_path / "g", **SMALL, idle="nothing")
    for path in films.rglob("*.mp4"):
        assert path.read_bytes() == (again / path.relative_to(films)).read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--films", "1,1,1"], "--films"),
        (["--long", "--films", "1,1"], "films"),
        (["--long", "--films", "0,0,0"], "films"),
        (["--long", "--seconds", "1"], "seconds"),
        (["--long", "--seconds", "nan"], "seconds"),
        (["--long", "--size", "63"], "size"),
        (["--long", "--seed", "-1"], "seed"),
        (["--long", "--idle", "wave"], "idle"),
        (["--long", "--idle", " "], "idle"),
        (["--long", "--train", "3"], "--train"),
        (["--long", "--sheet", "a.png"], "--sheet"),
        (["--idle", "nothing"], "--idle"),
    ],
)
def test_bad_options_are_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "puppets", str(tmp_path / "new"), *words]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--long", "--films", "0,1,0", "--seconds", "5", "--size", "64", "--workers", "1"]
    assert main(["data", "puppets", str(tmp_path / "f"), *words]) == 0
    assert "start" in capsys.readouterr().out
    assert {row["split"] for row in rows(tmp_path / "f")} == {"val"}
