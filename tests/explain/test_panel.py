from __future__ import annotations

import numpy as np
import pytest
from explain.films import panel

from kinema.errors import KinemaError
from kinema.explain.panel import LARGEST, Board, arrange, resized
from kinema.explain.source import ClipFilm


@pytest.mark.parametrize(
    ("shown", "count"),
    [((96, 64), 1), ((96, 64), 3), ((320, 240), 6), ((1920, 1080), 1), ((1920, 1080), 4), ((7680, 4320), 2),
     ((101, 333), 5), ((3840, 100), 2), ((37, 4000), 1), ((640, 480), 24)],
)  # fmt: skip
def test_every_layout_fits_and_is_even(shown: tuple[int, int], count: int) -> None:
    layout = arrange(shown, count, 5)
    assert layout.columns * layout.rows >= count
    assert all(side % 2 == 0 and side <= most for side, most in zip(layout.size, LARGEST, strict=True))
    assert layout.picture[0] / layout.picture[1] == pytest.approx(shown[0] / shown[1], rel=0.05)
    corners = [layout.corner(i) for i in range(count)]
    assert len(set(corners)) == count
    for left, top in corners:
        assert left + layout.picture[0] <= layout.size[0]
        assert top + layout.picture[1] + layout.legend <= layout.size[1]


def test_small_videos_are_enlarged_by_whole_numbers_and_others_keep_their_size() -> None:
    assert arrange((96, 64), 1, 3).picture == (384, 256)
    assert arrange((640, 360), 2, 3).picture == (640, 360)
    assert arrange((640, 360), 2, 3).columns == 2


def test_too_many_panels_are_refused() -> None:
    with pytest.raises(KinemaError, match="2000 pictures"):
        arrange((640, 480), 2000, 3)


def test_the_legend_says_class_score_method_layer_recognizer_and_verdict() -> None:
    shown = panel([0], (0, 0, 4, 4), (0.0, 1.0), name="run b", verdict="not faithful on this network")
    lines = shown.lines(14, 300)
    assert [line[1] for line in lines] == ["jump  0.87", "tube · layer4", "run b", "not faithful on this network"]
    assert len({line[2] for line in lines}) == 3  # the verdict stands out
    assert shown.rows >= len(lines)
    bare = panel([0], (0, 0, 4, 4), (0.0, 1.0), score=None, layer=None)
    assert [line[1] for line in bare.lines(14, 300)] == ["jump", "tube"]


def test_a_label_without_a_font_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinema.explain.panel.missing", lambda labels: "跳")
    assert panel([0], (0, 0, 4, 4), (0.0, 1.0), label="跳").lines(14, 300)[0][1].startswith("跳 (class 3)")


def test_panels_stand_side_by_side_each_with_its_own_map() -> None:
    film = ClipFilm(np.full((4, 240, 320, 3), 90, np.uint8))
    whole = (0, 0, 320, 240)
    panels = [panel([0, 1, 2, 3], whole, (0.0, 0.5), level=level) for level in (0.0, 1.0)]
    layout = arrange(film.shown_size, 2, 2)
    board = Board(film, panels, layout, (0.0, 0.5))
    for index, picture in film.pictures(range(4)):
        drawn = board.draw(index, picture)
        assert drawn.shape == (layout.size[1], layout.size[0], 3)
        middles = [drawn[120, layout.corner(i)[0] + 160].tolist() for i in range(2)]
        assert middles[0] == [90, 90, 90]
        # the clip stands for the first half second only
        assert (middles[1] == [90, 90, 90]) == (index > 3 or film.times[index] >= 0.5)


def test_what_the_clip_does_not_reach_is_said_on_the_picture() -> None:
    film = ClipFilm(np.full((4, 240, 320, 3), 90, np.uint8))
    board = Board(film, [panel([1], (100, 60, 100, 100), (0.125, 0.25))], arrange(film.shown_size, 1, 2), (0.0, 0.5))
    said = [bool(np.any(board.draw(index, picture)[:20, :90] != 90)) for index, picture in film.pictures(range(4))]
    assert said == [True, False, True, True]


def test_a_mark_moves_along_the_evidence_over_time() -> None:
    film = ClipFilm(np.full((8, 240, 320, 3), 90, np.uint8))
    shown = panel(range(8), (0, 0, 320, 240), (0.0, 1.0))
    layout = arrange(film.shown_size, 1, 2)
    board = Board(film, [shown], layout, (0.0, 1.0))
    empty = board._paper
    places = []
    for index, picture in film.pictures(range(8)):
        changed = np.any(board.draw(index, picture)[240:] != empty[240:], axis=-1)
        places.append(int(np.flatnonzero(changed.any(0)).mean()))
    assert places == sorted(set(places))
    assert places[-1] > 200


def test_an_explanation_without_a_map_has_a_legend_only() -> None:
    film = ClipFilm(np.full((2, 240, 320, 3), 90, np.uint8))
    shown = panel([0, 1], (40, 40, 100, 100), (0.0, 1.0))
    shown.explanation.map = None
    drawn = Board(film, [shown], arrange(film.shown_size, 1, 2), (0.0, 1.0)).draw(0, next(film.pictures([0]))[1])
    assert np.all(drawn[60:120, 60:120] == 90)
    assert drawn[240:].max() > 200


def test_pictures_keep_their_pixels_where_they_are_enlarged_by_whole_numbers() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(resized(picture, (7, 5)), picture)
    assert np.array_equal(resized(picture, (21, 15)), picture.repeat(3, 0).repeat(3, 1))
    assert resized(picture, (10, 4)).shape == (4, 10, 3)
