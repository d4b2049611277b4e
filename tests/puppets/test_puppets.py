"""The puppets: the same bytes from the same seed, exact twins, complete manifests, hands that reach the props."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from puppets.generated import rows

from kinema.cli import main
from kinema.data.doctor.examine import examine
from kinema.errors import KinemaError, RunError
from kinema.puppets import contact_sheet, generate, reversal_pairs
from kinema.puppets.actions import ACTIONS, FLIP_MAP, LABELS, open_trunk, open_wardrobe, pick_up, sit_down, walk
from kinema.puppets.clips import RATES, SPLITS, TEMPO, draw_timing, render
from kinema.puppets.figure import ANKLE, draw_body, solve, stand
from kinema.puppets.props import Carried, Chair, Trunk, Wardrobe
from kinema.puppets.stage import Camera, Pencil, hull, paint
from kinema.puppets.wardrobe import draw_look, dress

SMALL = {"seed": 5, "train": 1, "test": 1, "speed": 2, "size": 64}


@pytest.fixture(scope="module")
def puppets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("puppets"), **SMALL, workers=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def decoded(path: Path) -> tuple[np.ndarray, list[int], float]:
    """Pictures as decoded (4:2:0 planes, nothing converted), their time stamps in ticks, frames per second."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
        rate = float(container.streams.video[0].average_rate)
    return np.stack([f.to_ndarray() for f in frames]), [f.pts for f in frames], rate


def action(label: str):
    return next(a for a in ACTIONS if a.label == label)


def test_same_bytes_with_two_workers(puppets: Path, tmp_path: Path) -> None:
    again = generate(tmp_path / "again", **SMALL, workers=2)
    assert contents(again) == contents(puppets)


def test_a_clip_does_not_depend_on_how_many_there_are(puppets: Path, tmp_path: Path) -> None:
    alone, _ = render(np.random.default_rng([5, SPLITS.index("speed"), 7, 1]), ACTIONS[7], "speed", 1, 64)
    row = next(r for r in rows(puppets) if r["path"] == f"speed/{ACTIONS[7].label}/0001.mp4")
    assert (row["fps"], row["frames"], row["tempo"]) == (str(alone.rate), str(alone.frames), f"{alone.tempo:.3f}")


def test_another_seed_gives_other_clips() -> None:
    one, other = (render(np.random.default_rng([seed, 0, 0, 0]), ACTIONS[0], "train", 0, 64)[1] for seed in (0, 1))
    assert len(one) != len(other) or not np.array_equal(one, other)


def test_manifest_is_complete(puppets: Path) -> None:
    table = rows(puppets)
    assert [*table[0]] == ["path", "label", "split", "pair", "twin", "fps", "frames", "tempo"]
    files = {p for p in contents(puppets) if p.endswith(".mp4")}
    assert {r["path"] for r in table} == files
    assert len(table) == len(files)
    expected = {(label, split): SMALL[split] for label in LABELS for split in SPLITS}
    assert Counter((r["label"], r["split"]) for r in table) == expected
    assert all(r["path"].startswith(f"{r['split']}/{r['label']}/") for r in table)
    assert 12 <= len(LABELS) <= 16
    assert json.loads((puppets / "flip_map.json").read_text()) == {"step left": "step right"} == FLIP_MAP


def test_pairs_and_twins_refer_to_each_other(puppets: Path) -> None:
    table = {r["path"]: r for r in rows(puppets)}
    pairs = reversal_pairs()
    assert {frozenset(p) for p in pairs} >= {
        frozenset(p.split("/"))
        for p in ("sit down/stand up", "pick up/put down", "raise arms/lower arms", "approach/retreat", "open/close")
    }
    paired = {label: f"{a} / {b}" for a, b in pairs for label in (a, b)}
    for row in table.values():
        assert row["pair"] == paired.get(row["label"], "")
        assert bool(row["twin"]) == (row["label"] in paired)
        if row["twin"]:
            twin = table[row["twin"]]
            assert twin["twin"] == row["path"]
            assert {twin["label"], row["label"]} in [set(p) for p in pairs]
            assert twin["split"] == row["split"]


def test_twins_decode_to_the_same_pictures_in_reversed_order(puppets: Path) -> None:
    seen = 0
    for row in rows(puppets):
        pictures, stamps, rate = decoded(puppets / row["path"])
        assert len(pictures) == int(row["frames"])
        assert rate == float(row["fps"])
        assert len(set(np.diff(stamps))) == 1
        if row["twin"] and row["label"] in {p[0] for p in reversal_pairs()}:
            twin, _, twin_rate = decoded(puppets / row["twin"])
            assert np.array_equal(twin, pictures[::-1])
            assert not np.array_equal(twin, pictures)
            assert twin_rate == rate
            seen += 1
    assert seen == 5 * (SMALL["train"] + SMALL["test"] + SMALL["speed"])


def test_files_are_small(puppets: Path) -> None:
    at_112 = [len(c) for p, c in contents(puppets).items() if p.endswith(".mp4")]
    frames = sum(int(r["frames"]) for r in rows(puppets))
    assert sum(at_112) / frames < 2000


@pytest.mark.parametrize("chosen", ACTIONS, ids=lambda a: a.label)
def test_timing(chosen) -> None:
    timings = {
        split: [draw_timing(np.random.default_rng([s, i]), chosen, split, i) for i in range(60)]
        for s, split in enumerate(SPLITS)
    }
    for split, drawn in timings.items():
        for number, t in enumerate(drawn):
            low, high = TEMPO[split][number % len(TEMPO[split])]
            assert low <= t.tempo <= high
            assert t.duration == pytest.approx(t.tempo * chosen.seconds)
            assert 0 < t.start < t.start + t.duration < t.frames / t.rate
            assert t.rate in RATES
            assert t.frames >= 12
    seen = [t.tempo for t in timings["train"] + timings["test"]]
    assert min(seen) >= 0.5 and max(seen) <= 2.0
    assert max(seen) / min(seen) > 2.5
    for number, t in enumerate(timings["speed"]):
        assert t.tempo < 0.5 if number % 2 == 0 else t.tempo > 2.0
    starts = [t.start / (t.frames / t.rate - t.duration) for t in timings["train"]]
    assert max(starts) - min(starts) > 0.5
    assert len({t.rate for t in timings["train"]}) >= 5


def test_step_left_is_step_right_in_a_mirror() -> None:
    right, left = action("step right"), action("step left")
    assert (right.mirrored, left.mirrored) == (False, True)
    assert right.perform is left.perform
    pictures = {}
    for chosen in (right, left):
        rng = np.random.default_rng(3)
        body = draw_body(rng)
        performance = chosen.perform(np.linspace(0, 1, 6), body, rng)
        skeleton = solve(body, performance.pose)
        ones = np.ones(6)
        camera = Camera(60 * ones, 48 * ones, 50 * ones, 0.7, 3.4, chosen.mirrored)
        pencil = Pencil(camera, light=(0.0, -0.8))
        pixels, _ = camera.project(skeleton.pelvis[:, None])
        travelled = pixels[-1, 0, 0] - pixels[0, 0, 0]
        assert (travelled > 25) if chosen is right else (travelled < -25)
        ahead, _ = camera.project(skeleton.head[:, None] + skeleton.facing[:, None] * 0.05)
        behind, _ = camera.project(skeleton.head[:, None])
        assert np.all((ahead - behind)[..., 0] > 0 if chosen is right else (ahead - behind)[..., 0] < 0)
        shapes = dress(pencil, body, draw_look(rng, (128, 128, 128)), skeleton)
        plain = [Image.new("RGB", (96, 96), (128, 128, 128))] * 6
        pictures[chosen.label] = np.stack([np.asarray(i, dtype=float) for i in paint(plain, shapes)])
    flipped = pictures["step right"][:, :, ::-1]
    same = np.abs(flipped - pictures["step left"]).mean()
    other = np.abs(pictures["step right"] - pictures["step left"]).mean()
    assert same < 0.1 * other  # polygons are filled up to a third of a pixel differently in a mirror


@pytest.mark.parametrize("seed", range(12))
def test_hands_reach_the_props(seed: int) -> None:
    u = np.linspace(0, 1, 41)
    rng = np.random.default_rng(seed)
    body = draw_body(rng)

    held = pick_up(u, body, rng)
    thing = held.props[0]
    assert isinstance(thing, Carried)
    s = solve(body, held.pose)
    gap = np.linalg.norm(s.wrist.mean(axis=1) - thing.centre, axis=1)[20:]
    assert gap.max() < 0.065  # between the two wrists, from the moment it leaves the floor
    assert thing.centre[:20, 1] == pytest.approx(thing.radius)
    assert thing.centre[-1, 1] > 0.5

    opened = open_trunk(u, body, rng)
    trunk = opened.props[0]
    assert isinstance(trunk, Trunk)
    gap = np.linalg.norm(solve(body, opened.pose).hand[:, 1] - trunk.edge(), axis=1)[10:]
    assert gap.max() < 0.16 and np.median(gap) < 0.1

    pulled = open_wardrobe(u, body, rng)
    wardrobe = pulled.props[0]
    assert isinstance(wardrobe, Wardrobe)
    assert wardrobe.angle[0] == 0 and wardrobe.angle[-1] > 1.5
    across = (solve(body, pulled.pose).hand[:, 1] - wardrobe.handle())[10:, [0, 2]]  # its height is drawn
    assert np.hypot(*across.T).max() < 0.12

    seated = sit_down(u, body, rng)
    chair = seated.props[0]
    assert isinstance(chair, Chair)
    s = solve(body, seated.pose)
    assert np.hypot(*(s.pelvis[-1] - chair.seat)[[0, 2]]) < 0.1
    assert 0.02 < s.pelvis[-1, 1] - chair.seat[1] < 0.09


@pytest.mark.parametrize("chosen", ACTIONS, ids=lambda a: a.label)
def test_limbs_stay_whole_and_feet_above_the_floor(chosen) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        body = draw_body(rng)
        s = solve(body, chosen.perform(np.linspace(0, 1, 31), body, rng).pose)
        for a, b, length in (
            (s.shoulder, s.elbow, body.upper_arm),
            (s.elbow, s.wrist, body.forearm),
            (s.hip, s.knee, body.thigh),
            (s.knee, s.ankle, body.shank),
        ):
            assert np.linalg.norm(a - b, axis=-1) == pytest.approx(length, abs=1e-6)
        assert s.ankle[..., 1].min() > ANKLE - 0.005
        assert np.isfinite(s.head).all()


def test_a_standing_foot_does_not_slide() -> None:
    body = draw_body(np.random.default_rng(0))
    travel = np.linspace(0, 2, 201)
    pose = stand(201, body)
    walk(pose, body, travel, 0.5, 0.0)
    world = pose.feet[:, 0, 2] + travel
    middle = slice(60, 140)  # in full stride
    steps = np.diff(world[middle])
    resting = np.abs(steps) < 1e-9
    assert 0.5 < resting.mean() < 0.7
    assert np.diff(world[middle]).min() > -1e-9  # it never goes backwards


def test_hull_is_the_convex_hull_of_its_circles() -> None:
    rng = np.random.default_rng(0)
    centres, radii = rng.normal(size=(4, 3, 2)) * 5, rng.uniform(0.5, 2, size=(4, 3))
    polygon = hull(centres, radii)
    angles = np.linspace(0, 2 * np.pi, polygon.shape[1], endpoint=False)
    for t in range(4):
        for k, angle in enumerate(angles):
            direction = np.array([np.cos(angle), np.sin(angle)])
            support = max(c @ direction + r for c, r in zip(centres[t], radii[t], strict=True))
            assert polygon[t, k] @ direction == pytest.approx(support)
            assert (polygon[t] @ direction).max() == pytest.approx(support)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_box_shows_the_faces_towards_the_camera(mirror: bool) -> None:
    ones = np.ones(1)
    pencil = Pencil(Camera(50 * ones, 50 * ones, 50 * ones, 0.7, 3.0, mirror))
    box = pencil.cuboid(np.array([[0.6, 0.2, 0.0]]), (0.1, 0.1, 0.1), np.eye(3)[None], (200, 100, 50))
    faces = box[len(box) // 2 :]  # -x +x -y +y -z +z
    assert [bool(face.show[0]) for face in faces] == [True, False, False, True, False, True]


def test_refuses_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(KinemaError, match="contains other files"):
        generate(tmp_path, **SMALL, workers=1)
    assert contents(tmp_path) == {"thesis.tex": b"precious"}
    with pytest.raises(KinemaError, match="is a file"):
        generate(tmp_path / "thesis.tex", **SMALL)


def test_leaves_its_own_complete_output_alone(puppets: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in puppets.rglob("*")}
    calls: list[int] = []
    assert generate(puppets, **SMALL, progress=lambda done, total: calls.append(done)) == puppets
    assert not calls
    assert {p: p.stat().st_mtime_ns for p in puppets.rglob("*")} == before
    with pytest.raises(KinemaError, match="other parameters"):
        generate(puppets, **{**SMALL, "seed": 6})


def test_an_interrupted_generation_is_made_anew(puppets: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert total == len(ACTIONS) * 5
        if done == 9:
            raise Stop

    out = tmp_path / "out"
    with pytest.raises(Stop):
        generate(out, **{**SMALL, "train": 2}, workers=1, progress=stop)
    assert not (out / "puppets.json").exists()
    generate(out, **SMALL, workers=1)
    assert contents(out) == contents(puppets)
    (out / rows(out)[3]["path"]).unlink()
    generate(out, **SMALL, workers=1)
    assert contents(out) == contents(puppets)


def test_splits_may_be_left_out(puppets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path / "cache"))
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    for split in SPLITS:  # as an interrupted run with all splits leaves them
        (out / split / LABELS[0]).mkdir(parents=True)
    (out / "test" / LABELS[0] / "0000.mp4").write_bytes(b"half")
    (out / "puppets.unfinished.json").write_text("{}")
    words = ["--train", "1", "--test", "0", "--speed", "0", "--size", "64", "--seed", "5", "--workers", "1"]
    assert main(["data", "puppets", str(out), *words, "--sheet", str(sheet)]) == 0
    assert sheet.is_file()
    assert sorted(p.name for p in out.iterdir()) == ["flip_map.json", "manifest.csv", "puppets.json", "train"]
    assert rows(out) == [row for row in rows(puppets) if row["split"] == "train"]
    report = examine(out / "manifest.csv")
    assert ([*report.splits], report.ok) == (["train"], True)
    with pytest.raises(KinemaError, match=r"manifest\.csv has no clip in the split 'test'"):
        contact_sheet(out, sheet)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"train": 0}, "train is 0 clips per class: give 1 to 9999"),
        ({"test": -1}, "test is -1 clips per class: give 0 to 9999"),
        ({"size": 97}, "size is 97"),
        ({"size": 32}, "size is 32"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_refuses_parameters_out_of_range(tmp_path: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(KinemaError, match=message):
        generate(tmp_path / "out", **{**SMALL, **change})
    assert not (tmp_path / "out").exists()


def test_says_what_to_do_where_processes_cannot_start(tmp_path: Path) -> None:
    script = (
        "from kinema.puppets import generate\n"
        f"generate({str(tmp_path / 'out')!r}, train=1, test=1, speed=1, size=64, workers=2)\n"
    )
    # a script on standard input cannot be imported again by the processes
    run = subprocess.run([sys.executable, "-"], input=script, text=True, capture_output=True, check=False)
    assert run.returncode == 1
    assert f"{RunError.__name__}: the processes that render the puppets ended early" in run.stderr


def test_contact_sheet_names_a_clip_that_is_broken(puppets: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes((puppets / "manifest.csv").read_bytes())
    with pytest.raises(KinemaError, match=r"0000\.mp4: cannot be decoded"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")


def test_contact_sheet(puppets: Path, tmp_path: Path) -> None:
    sheet = Image.open(contact_sheet(puppets, tmp_path / "new" / "sheet.png", split="speed", columns=5, clips=2))
    assert sheet.format == "PNG"
    assert sheet.height == 2 * len(LABELS) * 66 + 2
    left = sheet.width - 5 * 66
    assert left > 60  # room for the labels
    pixels = np.asarray(sheet.convert("L"), dtype=float)
    assert all(pixels[2 + r * 66 :, left:][:64, :64].std() > 5 for r in range(2 * len(LABELS)))
    assert all(pixels[2 + r * 66 :, :left][:64].min() < 120 for r in range(2 * len(LABELS)))  # every row has its label
    with pytest.raises(KinemaError, match="'test'"):
        contact_sheet(puppets, tmp_path / "sheet.png", split="tets")
    with pytest.raises(KinemaError, match=r"manifest\.csv is missing"):
        contact_sheet(tmp_path / "new", tmp_path / "sheet.png")
