from __future__ import annotations

import gc
import json
import weakref
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from data.odd_videos import write_odd
from data.plain_videos import write_video
from data.timed_videos import damage
from explain.films import GREY, decoded, grey_video, panel, planted
from PIL import Image
from system_errors import small_disk

from kinema.errors import KinemaError, KinemaWarning, RunError, UnreadableVideo
from kinema.explain.source import Place, Source
from kinema.explain.write import FORMATS, format_of, save, write_explanations


def write_all(path: Path, film: Source, level: float = 1.0, box: tuple[int, int, int, int] | None = None) -> None:
    whole = (0.0, film.duration)
    shown = panel(range(len(film)), box or (0, 0, film.width, film.height), whole, level=level)
    write_explanations(path, film, [whole], lambda span: [shown])


@pytest.mark.parametrize(
    "kind",
    ["h264", "variable_rate", "variable_rate_mkv", "rotated_90", "rotated_180", "odd_size", "single_frame",
     "late_start", "mpeg2_ts", "h264_avi", "gif", "ten_bit", "edit_list"],
)  # fmt: skip
def test_an_mp4_has_the_frames_of_its_source_at_their_times(tmp_path: Path, kind: str) -> None:
    source = write_odd(kind, tmp_path)
    with Source(source) as film:
        write_all(tmp_path / "out.mp4", film, level=0.0)
        times, found = decoded(tmp_path / "out.mp4")
        assert times == [stamp * film.clock for stamp in film.stamps.tolist()]
        assert [float(time) for time in times] == pytest.approx(film.times.tolist(), abs=1e-4)
        width, height = film.shown_size
        factor = max(1, min(-(-320 // width), 720 // height))
        for index, picture in film.pictures(range(len(film))):
            shown = found[index, : height * factor, : width * factor]
            small = shown.reshape(height, factor, width, factor, 3).mean((1, 3))
            middle = (slice(2, -2), slice(2, -2))  # within the outline of the crop
            assert np.abs(small[middle] - picture[middle]).mean() < 12
        assert all(side % 2 == 0 for side in found.shape[1:3])


@pytest.mark.parametrize(
    ("aspect", "box"), [(None, (16, 0, 64, 64)), (Fraction(4, 3), (16, 0, 64, 64)), (Fraction(3, 4), (0, 8, 48, 48))]
)
def test_the_crop_is_drawn_where_the_box_says(
    tmp_path: Path, aspect: Fraction | None, box: tuple[int, int, int, int]
) -> None:
    with Source(grey_video(tmp_path / "a.mp4", aspect=aspect)) as film:
        write_all(tmp_path / "out.mp4", film, box=box)
        shown = film.shown_size
    factor = min(-(-320 // shown[0]), 720 // shown[1])
    _, found = decoded(tmp_path / "out.mp4")
    picture = found[5, : shown[1] * factor, : shown[0] * factor].astype(int)
    changed = np.abs(picture - GREY).max(-1) > 30
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    scale = (shown[0] * factor / 96, shown[1] * factor / 64)
    left, top, width, height = box
    assert [columns[0], columns[-1] + 1] == pytest.approx([left * scale[0], (left + width) * scale[0]], abs=2)
    assert [rows[0], rows[-1] + 1] == pytest.approx([top * scale[1], (top + height) * scale[1]], abs=2)


def test_a_long_video_is_explained_window_by_window(tmp_path: Path) -> None:
    asked = []
    with Source(grey_video(tmp_path / "a.mp4", frames=50)) as film:

        def panels_of(span: tuple[float, float]) -> list:
            asked.append(span)
            frames = film.between(*span)
            return [panel(frames[::4].tolist(), (0, 0, 96, 64), span, level=len(asked) % 2)]

        write_explanations(tmp_path / "out.mp4", film, film.windows(0.4), panels_of)
        assert asked == [pytest.approx((k * 0.4, k * 0.4 + 0.4)) for k in range(5)]
        times, found = decoded(tmp_path / "out.mp4")
        assert times == [stamp * film.clock for stamp in film.stamps.tolist()]
    coloured = np.abs(found[:, 100:150, 100:150].astype(int) - GREY).max((1, 2, 3)) > 30
    assert coloured.tolist() == [k % 2 == 0 for k in range(5) for _ in range(10)]


@pytest.mark.parametrize("kind", ["mp4", "gif", "json"])
def test_a_window_is_forgotten_before_the_next_one_is_explained(tmp_path: Path, kind: str) -> None:
    maps: list[weakref.ref] = []
    with Source(grey_video(tmp_path / "a.mp4", frames=50)) as film:

        def panels_of(span: tuple[float, float]) -> list:
            gc.collect()
            assert not [ref for ref in maps if ref() is not None]
            shown = panel(film.between(*span).tolist(), (0, 0, 96, 64), span)
            maps.append(weakref.ref(shown.explanation.map))
            return [shown]

        write_explanations(tmp_path / f"out.{kind}", film, film.windows(0.4), panels_of)
    assert len(maps) == 5


def test_a_part_of_a_video_begins_at_zero(tmp_path: Path) -> None:
    with Source(grey_video(tmp_path / "a.mp4", frames=50)) as film:
        shown = panel([20, 24], (0, 0, 96, 64), (0.8, 1.2))
        for kind in ("mp4", "gif"):
            write_explanations(tmp_path / f"out.{kind}", film, [(0.8, 1.2)], lambda span: [shown])
            times, _ = decoded(tmp_path / f"out.{kind}")
            assert times == [Fraction(i, 25) for i in range(10)]
        with pytest.raises(KinemaError, match=r"a\.mp4: no frame"):
            write_explanations(tmp_path / "out.mp4", film, [(1.801, 1.802)], lambda span: [shown])


@pytest.mark.parametrize("kind", ["png", "svg", "gif", "json"])
def test_the_other_formats(tmp_path: Path, kind: str) -> None:
    with Source(write_odd("variable_rate", tmp_path)) as film:
        write_all(tmp_path / f"out.{kind}", film)
        stamps = film.stamps * float(film.clock)
    if kind == "png":
        assert Image.open(tmp_path / "out.png").size[0] > 1000
    elif kind == "svg":
        assert (tmp_path / "out.svg").read_text(encoding="utf-8").count("<image") == 8
    elif kind == "gif":
        times, _ = decoded(tmp_path / "out.gif")
        assert [float(time) for time in times] == pytest.approx(stamps.tolist(), abs=0.006)
    else:
        document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        assert (document["frames"], document["width"], document["height"]) == (40, 96, 64)
        (found,) = document["explanations"]
        assert (found["label"], found["box"], found["score"]) == ("jump", [0, 0, 96, 64], 0.87)
        assert len(found["frames"]) == len(found["times"]) == len(found["evidence"]) == 40
        assert found["evidence"] == [1.0] * 40


def test_a_sheet_has_one_window(tmp_path: Path) -> None:
    with Source(grey_video(tmp_path / "a.mp4", frames=50)) as film:
        for kind in ("png", "svg"):
            with pytest.raises(KinemaError, match=rf"out\.{kind}: .*\.mp4"):
                write_explanations(tmp_path / f"out.{kind}", film, film.windows(0.5), lambda span: [])


@pytest.mark.parametrize("name", ["out.webm", "out", "out.MP5", ".mp4", "out.mp4.", "out.jpg"])
def test_a_format_that_is_not_written_is_named(name: str) -> None:
    with pytest.raises(KinemaError, match=r"\.mp4, \.gif, \.png, \.svg or \.json") as caught:
        format_of(name)
    assert name in str(caught.value)


def test_suffixes_may_be_in_capitals() -> None:
    assert [format_of(f"a.b.{kind.upper()}") for kind in FORMATS] == list(FORMATS)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    with Source(write_video(tmp_path / "a.mp4", frames=6)) as film:
        write_all(tmp_path / f"whole.{kind}", film)
        size = (tmp_path / f"whole.{kind}").stat().st_size
        (folder / f"out.{kind}").write_text("old")
        for limit in (40, size // 2, size - 700, size - 1):  # an index in front is written last
            with small_disk(limit), pytest.raises(RunError, match=rf"out\.{kind}: cannot be written .*free space"):
                write_all(folder / f"out.{kind}", film)
            assert [path.name for path in folder.iterdir()] == [f"out.{kind}"]
            assert (folder / f"out.{kind}").read_text() == "old"


@pytest.mark.parametrize("kind", ["mp4", "gif", "json"])
def test_an_error_in_a_later_window_leaves_no_half_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "results").mkdir()
    with Source(grey_video(tmp_path / "a.mp4", frames=50)) as film:

        def panels_of(span: tuple[float, float]) -> list:
            if span[0] > 0.7:
                raise UnreadableVideo(film.name, "damaged")
            return [panel(film.between(*span).tolist(), (0, 0, 96, 64), span)]

        with pytest.raises(UnreadableVideo, match="damaged"):
            write_explanations(tmp_path / "results" / f"out.{kind}", film, film.windows(0.4), panels_of)
    assert list((tmp_path / "results").iterdir()) == []


def test_a_frame_that_cannot_be_read_costs_the_file(tmp_path: Path) -> None:
    whole = write_odd("one_gop", tmp_path)
    broken = damage(whole, tmp_path / "broken.mp4", [30])
    (tmp_path / "results").mkdir()
    with Source(broken) as film, pytest.raises(UnreadableVideo, match=r"broken\.mp4: frame \d+ cannot be read"):
        write_all(tmp_path / "results" / "out.mp4", film)
    assert list((tmp_path / "results").iterdir()) == []


def test_letters_without_a_font_are_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinema.data.lettering._other", lambda letter: None)
    with Source(grey_video(tmp_path / "a.mp4", frames=50)) as film:

        def panels_of(span: tuple[float, float]) -> list:
            return [panel(film.between(*span).tolist(), (0, 0, 96, 64), span, label="跳")]

        with pytest.warns(KinemaWarning, match="跳") as caught:
            write_explanations(tmp_path / "out.mp4", film, film.windows(0.4), panels_of)
    assert len(caught) == 1


def test_nothing_but_video_is_in_the_file(tmp_path: Path) -> None:
    with Source(write_odd("sound_first", tmp_path)) as film:
        write_all(tmp_path / "out.mp4", film)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_explanation_is_saved_over_its_video_or_its_clip(tmp_path: Path, kind: str) -> None:
    explanation = planted(torch.rand(4, 8, 8))
    place = Place((0, 3, 6, 9), (16, 0, 64, 64), (0.0, 0.48))
    save([explanation], tmp_path / f"a.{kind}", place, video=grey_video(tmp_path / "source.mp4"))
    save([explanation, explanation], tmp_path / f"b.{kind}", pixels=np.full((4, 48, 64, 3), GREY, np.uint8))
    assert min((tmp_path / f"{name}.{kind}").stat().st_size for name in "ab") > 300
    if kind == "mp4":
        assert [len(decoded(tmp_path / f"{name}.mp4")[0]) for name in "ab"] == [12, 4]
    for more in ({}, {"video": tmp_path / "source.mp4"}):
        with pytest.raises(KinemaError, match=rf"c\.{kind}: .*draw on"):
            save([explanation], tmp_path / f"c.{kind}", **more)


def test_a_method_with_a_drawing_of_its_own_is_an_svg_alone_and_a_row_beside_others(tmp_path: Path) -> None:
    drawing = SimpleNamespace(svg=lambda warning: f"<svg xmlns='http://www.w3.org/2000/svg' id='{warning}'/>")
    graph = planted(None, method="pyramid", result=drawing, verdict="not here")
    pixels = np.full((4, 48, 64, 3), GREY, np.uint8)
    save([graph], tmp_path / "a.svg", pixels=pixels)
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == drawing.svg("not here")
    save([graph, planted(torch.rand(4, 8, 8))], tmp_path / "b.svg", pixels=pixels)
    assert (tmp_path / "b.svg").read_text(encoding="utf-8").count("<image") == 8
    save([graph], tmp_path / "a.png", pixels=pixels)
    assert Image.open(tmp_path / "a.png").size[0] > 300
