from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data.odd_videos import FRAMES, HEIGHT, WIDTH, frame_number, picture, write_video
from PIL import Image
from torch.utils.data import DataLoader

from kinema.clip_spec import ClipSpec
from kinema.data.datasets import ClipKey, Failure, TestVideos, TrainClips, collate_test, collate_train
from kinema.data.manifest import Manifest, Sample
from kinema.data.samplers import test_indices as clip_indices
from kinema.data.transforms import Augment, cut
from kinema.data.transforms import test_boxes as view_boxes
from kinema.data.video import VideoReader, open_video
from kinema.errors import KinemaError

LABELS = ("wave", "step right", "step left")  # in an order of their own: that of a recognizer
SPEC = ClipSpec(frames=4, short_side=64, crop=48)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("data")
    write_video(folder / "left.mp4", gop=250)
    write_video(folder / "wave.mp4", frames=9)
    (folder / "broken.mp4").write_bytes(b"")
    for i in range(12):
        (folder / "pictures").mkdir(exist_ok=True)
        Image.fromarray(picture(i)).save(folder / "pictures" / f"{i}.png")
    samples = (
        Sample(str(folder / "left.mp4"), "step left"),
        Sample(str(folder / "wave.mp4"), "wave"),
        Sample(str(folder / "broken.mp4"), "wave"),
        Sample(str(folder / "pictures"), "step right"),
        Sample(str(folder / "left.mp4"), "wave", None, 0.4, 0.8),
        Sample(str(folder / "left.mp4"), "wave", None, 7, 9),
    )
    return Manifest("data.csv", samples, tuple(sorted(LABELS)), {"step left": "step right", "step right": "step left"})


def train_set(manifest: Manifest, flip: float = 0.5, seed: int = 0, **changes: Any) -> TrainClips:
    return TrainClips(manifest, LABELS, SPEC.replace(**changes), Augment(flip=flip), seed)


def at(epoch: int, i: int, frames: int = 4, crop: int = 48, draw: int = 0) -> ClipKey:
    return ClipKey(epoch, i, frames, crop, draw)


def test_clips_depend_on_seed_epoch_and_number_only(manifest: Manifest) -> None:
    first, again = train_set(manifest), train_set(manifest)
    keys = [at(epoch, i) for epoch in range(4) for i in (0, 1, 3)]
    clips = {key: first[key] for key in keys}
    for key in reversed(keys):  # another order, another object
        other = again[key]
        assert torch.equal(clips[key]["clip"], other["clip"])
        assert clips[key]["label"] == other["label"]
    assert not torch.equal(clips[at(0, 0)]["clip"], clips[at(1, 0)]["clip"])
    seeded = train_set(manifest, seed=1)
    assert any(not torch.equal(clips[key]["clip"], seeded[key]["clip"]) for key in keys)


def test_clip_memory_and_fields(manifest: Manifest) -> None:
    item = train_set(manifest)[at(0, 3)]
    assert item["clip"].shape == (4, 48, 48, 3)
    assert item["clip"].dtype == torch.uint8
    assert item["clip"].is_contiguous()
    assert item["index"] == 3
    assert item["path"].endswith("pictures")


def test_a_smaller_clip_is_a_selection_of_the_same_frames_and_the_same_part_scaled(manifest: Manifest) -> None:
    clips = train_set(manifest)
    whole, half = clips[at(0, 3)]["clip"], clips[at(0, 3, frames=2)]["clip"]
    assert torch.equal(half, whole[[1, 3]])
    assert torch.equal(clips[at(0, 3, frames=1)]["clip"], whole[[2]])
    small = clips[at(0, 3, crop=24)]["clip"]
    assert small.shape == (4, 24, 24, 3)
    averaged = torch.nn.functional.avg_pool2d(whole.float().permute(0, 3, 1, 2), 2)
    assert (small.float().permute(0, 3, 1, 2) - averaged).abs().mean() < 4


def test_another_draw_of_a_sample_is_another_clip(manifest: Manifest) -> None:
    clips = train_set(manifest)
    draws = [clips[at(0, 3, draw=d)]["clip"] for d in range(4)]
    assert any(not torch.equal(draws[0], d) for d in draws[1:])


def test_twins_are_two_crops_of_the_same_frames_mirrored_alike(manifest: Manifest) -> None:
    plain, mirrored = (
        TrainClips(manifest, LABELS, SPEC, Augment(flip=flip), 0, twins=True) for flip in (0.0, 1.0)
    )  # fmt: skip
    alone = train_set(manifest, flip=0.0)
    items = [plain[at(epoch, 0)] for epoch in range(6)]
    for epoch, item in enumerate(items):
        assert torch.equal(item["clip"], alone[at(epoch, 0)]["clip"])  # the first is what there is without twins
        other = mirrored[at(epoch, 0)]
        assert torch.equal(item["clip"].flip(2), other["clip"])
        assert torch.equal(item["twin"].flip(2), other["twin"])
    assert any(not torch.equal(item["clip"], item["twin"]) for item in items)
    batch = collate_train([items[0], items[1]])
    assert torch.equal(batch["twin"][1], items[1]["twin"])
    assert batch["twin"].is_contiguous()


def test_frames_come_from_the_part(manifest: Manifest) -> None:
    spec = {"short_side": 64, "crop": 64}  # a square of the full height: the number's row stays in it
    for epoch in range(5):
        clip = train_set(manifest, flip=0.0, **spec)[at(epoch, 4, crop=64)]["clip"]
        with open_video(manifest.samples[4].path) as reader:
            frames = reader.read(np.arange(10, 20))  # from 0.4 to 0.8 s
        rows = frames[:, HEIGHT - HEIGHT // 8, :, 0].float()  # the brightness along the number, of frames 10 to 19
        for t in range(4):
            row = clip[t, HEIGHT - HEIGHT // 8, :, 0].float()
            errors = rows.unfold(1, 64, 1).sub(row).abs().mean(-1).amin(1)
            part = int(errors.argmin())
            assert errors[part] < 1
            assert part * 4 // 10 in (t - 1, t)  # segments of ten frames: 0-1, 2-4, 5-6, 7-9


def test_a_mirrored_clip_gets_the_mirrored_label(manifest: Manifest) -> None:
    plain, mirrored = train_set(manifest, flip=0.0), train_set(manifest, flip=1.0)
    for i, (label, other) in {
        0: ("step left", "step right"),
        3: ("step right", "step left"),
        1: ("wave", "wave"),
    }.items():
        a, b = plain[at(2, i)], mirrored[at(2, i)]
        assert (LABELS[a["label"]], LABELS[b["label"]]) == (label, other)
        assert torch.equal(a["clip"].flip(2), b["clip"])
    both = train_set(manifest, flip=0.5)
    labels = {both[at(epoch, 0)]["label"] for epoch in range(20)}
    assert labels == {LABELS.index("step left"), LABELS.index("step right")}


def test_failures_are_told_and_not_replaced(manifest: Manifest) -> None:
    for item in (train_set(manifest)[at(0, 2)], TestVideos(manifest, LABELS, SPEC)[2]):
        assert isinstance(item, Failure)
        assert (item.index, item.label) == (2, 0)
        assert item.path.endswith("broken.mp4")
        assert item.reason
        assert "broken.mp4" not in item.reason
    outside = train_set(manifest)[at(0, 5)]
    assert isinstance(outside, Failure)
    assert "no frame from 7 s to 9 s" in outside.reason
    short = train_set(manifest, frames=16, pad="error")[at(0, 1, 16)]
    assert isinstance(short, Failure)
    assert "needs 16 frames but the video has 9" in short.reason
    assert pickle.loads(pickle.dumps(short)) == short


def test_batches_keep_failures_apart(manifest: Manifest) -> None:
    clips = train_set(manifest)
    batch = collate_train([clips[at(0, i)] for i in (0, 2, 3, 5)])
    assert batch["clip"].shape == (2, 4, 48, 48, 3)
    assert batch["clip"].is_contiguous()
    assert torch.equal(batch["clip"][1], clips[at(0, 3)]["clip"])
    assert batch["index"].tolist() == [0, 3]
    assert [Path(path).name for path in batch["path"]] == ["left.mp4", "pictures"]
    assert [f.index for f in batch["failures"]] == [2, 5]
    nothing = collate_train([clips[at(0, 2)]])
    assert nothing["clip"].shape == (0,)
    assert nothing["label"].shape == (0,)
    assert len(nothing["failures"]) == 1


@pytest.mark.parametrize(("clips", "crops"), [(1, 1), (3, 1), (2, 3)])
@pytest.mark.parametrize("sampler", ["segments", "dense"])
def test_views_equal_separate_decodes(manifest: Manifest, clips: int, crops: int, sampler: Any) -> None:
    spec = ClipSpec(frames=4, stride=2, sampler=sampler, short_side=64, crop=40, test_crop=60)
    item = TestVideos(manifest, LABELS, spec, clips, crops)[0]
    assert item["views"].shape == (clips * crops, 4, 40, 40, 3)
    boxes = view_boxes(HEIGHT, WIDTH, spec, crops)
    for j in range(clips):
        indices = clip_indices(FRAMES, spec, clips)[j]
        with open_video(item["path"]) as reader:
            frames = reader.read(indices)
        for k, box in enumerate(boxes):
            assert torch.equal(item["views"][j * crops + k], cut(frames, box, 40, False))
            assert item["keys"][j * crops + k] == (tuple(indices.tolist()), box)
    assert len(set(item["keys"])) == clips * crops
    assert item["label"] == LABELS.index("step left")


def test_a_video_is_decoded_once_for_all_views(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, decoded = [], []
    frames = VideoReader.frames
    monkeypatch.setattr(VideoReader, "frames", lambda self, wanted: decoded.extend(wanted) or frames(self, wanted))
    monkeypatch.setattr("kinema.data.views.open_video", lambda path: opened.append(path) or open_video(path))
    TestVideos(manifest, LABELS, SPEC.replace(frames=8), clips=10, crops=3)[0]
    assert len(opened) == 1
    assert decoded == sorted(set(decoded))
    assert len(decoded) == FRAMES  # 10 clips of 8 frames want all 40


def test_test_batches(manifest: Manifest) -> None:
    videos = TestVideos(manifest, LABELS, SPEC, clips=2, crops=3)
    batch = collate_test([videos[i] for i in (0, 2, 1)])
    assert batch["views"].shape == (2, 6, 4, 48, 48, 3)
    assert batch["views"].is_contiguous()
    assert torch.equal(batch["views"][1], videos[1]["views"])
    assert batch["label"].tolist() == [LABELS.index("step left"), LABELS.index("wave")]
    assert len(batch["keys"]) == 2
    assert [f.index for f in batch["failures"]] == [2]


def test_a_loader_with_workers_gives_the_same(manifest: Manifest) -> None:
    clips = train_set(manifest)
    keys = [at(0, i) for i in range(6)]
    loader: DataLoader[Any] = DataLoader(
        clips, batch_size=3, sampler=keys, num_workers=2, collate_fn=collate_train, multiprocessing_context="fork"
    )
    batches = list(loader)
    assert [b["index"].tolist() for b in batches] == [[0, 1], [3, 4]]
    assert batches[0]["clip"].is_contiguous()
    assert torch.equal(batches[1]["clip"][0], clips[at(0, 3)]["clip"])
    assert [f.index for b in batches for f in b["failures"]] == [2, 5]


def test_unknown_labels_offer_the_nearest(manifest: Manifest) -> None:
    for build in (
        lambda labels: TrainClips(manifest, labels, SPEC, Augment()),
        lambda labels: TestVideos(manifest, labels, SPEC),
    ):
        with pytest.raises(KinemaError, match=r"data\.csv.*unknown label 'step left': did you mean 'step lefd'"):
            build(["wave", "step lefd", "step right"])
    alone = Manifest("data.csv", manifest.samples[:1], manifest.labels, manifest.flip_map)
    with pytest.raises(KinemaError, match=r"flip map of data\.csv: unknown label 'step right'"):
        TrainClips(alone, ["step left", "wave"], SPEC, Augment())
    assert len(TrainClips(alone, ["step left", "wave"], SPEC, Augment(flip=0.0))) == 1


def test_bad_views_are_refused_at_once(manifest: Manifest) -> None:
    with pytest.raises(KinemaError, match="0 test clips"):
        TestVideos(manifest, LABELS, SPEC, clips=0)
    with pytest.raises(KinemaError, match="2 crops"):
        TestVideos(manifest, LABELS, SPEC, crops=2)


def test_frame_numbers_of_the_centre_clip(manifest: Manifest) -> None:
    with open_video(manifest.samples[0].path) as reader:
        frames = reader.read(clip_indices(len(reader), SPEC, 1)[0])
    assert [frame_number(f.numpy()) for f in frames] == [5, 15, 24, 34]
