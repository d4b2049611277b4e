"""Films with their segments."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from data.timed_videos import damage, write_timed

from kinema.data.video import open_video
from kinema.errors import KinemaError, KinemaWarning, RunError
from kinema.streaming import Segment, Timeline, annotated
from kinema.streaming.annotated import write_annotated
from kinema.streaming.tracks import LostPart

LABELS = ("wave", "a label that is far too long to stand under such a small picture as this one is here " * 2)
EDGES = (np.arange(41) / 10).tolist()
SEGMENTS = (Segment(LABELS[0], 0.5, 1.5, 0.9, 0.7), Segment(LABELS[1], 2.0, 3.0, 0.8, 2.2))


def frames_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(str(path)) as container:
        found = [(float(f.time), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    return np.array([time for time, _ in found]), np.stack([picture for _, picture in found])


def test_every_frame_keeps_its_time_and_stands_above_its_label(tmp_path: Path) -> None:
    edges = [*EDGES[:20], *(np.arange(20, 31) / 5 - 2).tolist()]  # two rates
    film = write_timed(tmp_path / "film.mp4", edges)
    write_annotated(tmp_path / "out.mp4", Timeline(str(film), SEGMENTS, 4.0), LABELS)
    times, pictures = frames_of(tmp_path / "out.mp4")
    assert times.tolist() == pytest.approx(edges[:-1], abs=1e-3)
    with open_video(film) as reader:
        original = reader.read(range(len(reader))).numpy()
    height, width = original.shape[1:3]
    factor = pictures.shape[2] // width
    shown = pictures[:, : height * factor : factor, : width * factor : factor].astype(float)
    assert np.abs(shown - original).mean() < 20
    strip = pictures[:, height * factor :].astype(int)
    coloured = (strip[:, : strip.shape[1] // 2].max(3) - strip[:, : strip.shape[1] // 2].min(3) > 60).sum((1, 2))
    inside = ((times >= 0.5) & (times < 1.5)) | ((times >= 2) & (times < 3))
    assert coloured[inside].min() > 40
    assert coloured[~inside].max() < 10


def test_a_frame_that_cannot_be_read_shows_the_one_before(tmp_path: Path) -> None:
    whole = write_timed(tmp_path / "whole.mp4", EDGES)
    broken = damage(whole, tmp_path / "broken.mp4", [15], lost=200)
    found = Timeline(str(broken), SEGMENTS, 4.0, (LostPart(1.5, 2.4, "damaged"),))
    write_annotated(tmp_path / "out.mp4", found, LABELS)
    times, pictures = frames_of(tmp_path / "out.mp4")
    assert len(times) == 40
    change = np.abs(np.diff(pictures[:, :190].astype(float), axis=0)).mean((1, 2, 3))
    assert change[14:23].max() < 3 < change[:14].min()


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    film = write_timed(tmp_path / "film.mp4", EDGES)
    with pytest.raises(KinemaError, match=r"film\.mp4"):
        write_annotated(tmp_path / "out.mp4", Timeline(str(film), (), None, error="empty"), LABELS)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match=r"out\.mp4"):
        write_annotated(tmp_path / "file" / "out.mp4", Timeline(str(film), SEGMENTS, 4.0), LABELS)
    assert not list(tmp_path.glob("*.part"))


def test_letters_without_a_font_are_said_and_the_class_is_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinema.data.lettering._other", lambda letter: None)
    film = write_timed(tmp_path / "film.mp4", EDGES[:11])
    names = ("wave", "步行", "跳")
    found = Timeline(str(film), (Segment("步行", 0.0, 1.0, 0.9, 0.2),), 1.0)
    drawn: list[str] = []
    write = annotated.write
    monkeypatch.setattr(
        annotated, "write", lambda image, at, text, *more: (drawn.append(text), write(image, at, text, *more))
    )
    with pytest.warns(KinemaWarning, match="[步行]") as caught:
        write_annotated(tmp_path / "out.mp4", found, names)
    assert len(caught) == 1
    assert "跳" not in str(caught[0].message)  # it is not shown
    assert any("(class 1)" in text for text in drawn)
