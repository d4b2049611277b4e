"""Which pictures of a folder are its frames: the layouts of well-known tools, and folders that could be two films."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinema.data.reading.frame_sequence import choose
from kinema.data.video import is_video, open_video
from kinema.errors import UnreadableVideo

N = [f"{i:05d}" for i in range(1, 31)]


def chosen(names: list[str]) -> list[str]:
    sequence = choose("F", reversed(names))
    assert sorted([*sequence.names, *sequence.left_out]) == sorted(names)
    return list(sequence.names)


@pytest.mark.parametrize(
    "others",
    [
        [f"{kind}{n}.jpg" for n in N for kind in ("flow_x_", "flow_y_")],
        [f"{kind}{n}.jpg" for n in N for kind in ("x_", "y_")],
        [f"{kind}_{n}.jpg" for n in N for kind in ("u", "v")],
        [f"{n}_mask.png" for n in N],
        [f"depth_{n}.png" for n in N],
        ["thumbnail.jpg"],
        ["cover.png", "folder.jpg", "contact sheet.JPEG"],
        ["poster_1.jpg"],
        ["img_00001.png"],
        ["img_00007 (1).jpg"],
    ],
)
def test_one_sequence_beside_other_pictures(others: list[str]) -> None:
    frames = [f"img_{n}.jpg" for n in N]
    assert chosen([*frames, *others]) == frames


@pytest.mark.parametrize(
    "frames",
    [
        ["1.jpg", "2.jpg", "9.jpg", "10.jpg", "100.jpg"],
        ["f1.JPG", "f02.jpg", "F3.jpeg", "f010.Jpg"],
        ["0.png", "1.jpg", "2.png"],
        [f"frame ({i}).jpg" for i in range(1, 13)],
        [f"v1_{n}.jpg" for n in N],
        [f"{n}_640x480.png" for n in N],
        [f"frame{i:03d}_{i / 25:.3f}.png" for i in range(60)],
        [f"2024-01-31_12-{m:02d}-{s:02d}.jpg" for m in range(3) for s in range(0, 60, 7)],
        [f"cam2 20240131 12{m:02d}{s:02d}.jpg" for m in range(3) for s in range(0, 60, 7)],
        [f"{1305031102 + i / 30:.6f}.png" for i in range(90)],
        [f"t{i / 10:.1f}.jpg" for i in range(35)],
        [f"{i / 4}.jpg" for i in range(9)],
        ["photo.jpg"],
        ["img_7.png"],
        ["帧１.jpg", "帧２.jpg", "帧３.jpg"],
        [f"x_{n}.jpg" for n in N],  # the only pictures there are
    ],
)
def test_all_pictures_are_one_sequence_in_the_order_of_their_numbers(frames: list[str]) -> None:
    assert chosen(frames) == frames


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["000.jpg", "000.png"], ("000.jpg", "000.png")),
        ([f"{n}.{s}" for n in N for s in ("jpg", "png")], ("00001.jpg", "00001.png")),
        (["1.jpg", "01.jpg", "2.jpg"], ("01.jpg", "1.jpg")),
        (["1.jpg", "1.JPG", "2.jpg"], ("1.JPG", "1.jpg")),
        ([f"v{k}_{n}.jpg" for n in N for k in (1, 2)], ("v1_00001.jpg", "v2_00001.jpg")),
        ([f"{n}_cam{k}.jpg" for n in N for k in (1, 2)], ("00001_cam1.jpg", "00001_cam2.jpg")),
        ([f"shot{k}.{n}.png" for n in N for k in (1, 2)], ("shot1.00001.png", "shot2.00001.png")),
        ([f"{n}_{side}.png" for n in N for side in ("left", "right")], ("00001_left.png", "00001_right.png")),
        ([f"flow_{axis}_{n}.jpg" for n in N for axis in "xy"], ("flow_x_00001.jpg", "flow_y_00001.jpg")),
        (["a.jpg", "b.jpg", "c.jpg"], ("a.jpg", "number")),
        (["cat1.jpg", "dog2.jpg"], ("cat1.jpg", "dog2.jpg")),
    ],
)
def test_two_possible_sequences_are_refused_with_both_names(names: list[str], told: tuple[str, ...]) -> None:
    with pytest.raises(UnreadableVideo) as caught:
        choose("F", names)
    for part in ("F: ", *told):
        assert part in str(caught.value)


def test_colour_is_preferred_to_other_cameras() -> None:
    names = [f"{kind}_{n}.png" for n in N for kind in ("left", "rgb", "infrared")]
    assert chosen(names) == [f"rgb_{n}.png" for n in N]


def test_gaps() -> None:
    def gaps(numbers: list[int]) -> tuple[tuple[int, int], ...]:
        return choose("F", [f"img{i}.jpg" for i in numbers]).gaps

    assert gaps([*range(1, 17), *range(18, 30)]) == ((17, 17),)
    assert gaps([*range(0, 30, 5), *range(50, 70, 5)]) == ((30, 45),)
    assert gaps([*range(10)]) == gaps([3, 7, 20, 21]) == gaps([1, 5]) == ()
    assert choose("F", [f"12-00-{s:02d}.jpg" for s in (0, 1, 2, 9)]).gaps == ()


def test_only_the_frames_are_read(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * i, np.uint8)).save(tmp_path / f"img_{i}.png")
        Image.fromarray(np.full((4, 4), 128, np.uint8)).save(tmp_path / f"flow_x_{i}.png")
    with open_video(tmp_path) as video:
        assert len(video) == 4
        assert video.read([0, 1, 2, 3])[:, 0, 0, 0].tolist() == [0, 60, 120, 180]


def test_a_picture_beside_videos_makes_no_folder_of_frames(tmp_path: Path) -> None:
    for name in ("walk/cover1.jpg", "walk/a.mp4", "run/folder.jpg", "run/seq/1.jpg", "run/seq/2.jpg", "one/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [is_video(tmp_path / name) for name in ("walk", "run", "run/seq", "one")] == [False, False, True, True]
