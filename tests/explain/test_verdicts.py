"""Verdicts: judged by stated thresholds, stored beside the recognizer, read for the same network and layer only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from explain.test_sanity import edges
from tiny import tiny_data
from torch import Tensor, nn

from kinema import Recognizer
from kinema.card import CARD, add_to_card, read_card
from kinema.clip_spec import ClipSpec
from kinema.errors import KinemaError
from kinema.explain.checks import check, drawn, mask_of_clip, read_clips
from kinema.explain.faithful import Figure, Row
from kinema.explain.sanity import Sanity
from kinema.explain.verdicts import MOST_UNTRAINED, fingerprint, judge, read_verdict, store, warning
from kinema.models import create_model
from kinema.puppets import generate, limb_masks
from kinema.puppets.actions import LABELS


def figure(mean: float, low: float) -> Figure:
    return Figure(mean, low, 2 * mean - low)


def row(over_random: float, over_centre: float) -> Row:
    some = figure(0.5, 0.4)
    return Row(some, some, some, figure(0.2, over_random), figure(0.2, over_centre), None, None)


def sane(untrained: float) -> Sanity:
    return Sanity({"classifier": figure(0.9, 0.8), "layer1": figure(untrained, untrained)}, figure(0.1, 0.0))


@pytest.mark.parametrize(
    ("over_random", "over_centre", "untrained", "reasons"),
    [
        (0.1, 0.1, 0.2, ()),
        (0.1, 0.1, -0.9, ()),
        (0.0, 0.1, 0.2, ("random",)),
        (0.1, -0.1, 0.2, ("centre",)),
        (0.1, 0.1, MOST_UNTRAINED, ("weights",)),
        (-0.1, -0.1, 1.0, ("random", "centre", "weights")),
    ],
)
def test_judge(over_random: float, over_centre: float, untrained: float, reasons: tuple[str, ...]) -> None:
    found = judge("tube", "layer4", row(over_random, over_centre), sane(untrained), clips=9, data="d", network="n")
    assert found.passed == (not reasons)
    assert len(found.reasons) == len(reasons)
    assert all(word in reason for word, reason in zip(reasons, found.reasons, strict=True))
    assert all(reason in found.text for reason in found.reasons)
    assert "9 clips of d" in found.text


def small(labels: tuple[str, ...]) -> Recognizer:
    torch.manual_seed(0)
    spec = ClipSpec(frames=4, short_side=32, crop=32)
    return Recognizer(create_model("tsn_r18", num_classes=len(labels), frames=4, width=0.125).eval(), labels, spec)


def activation(model: nn.Module, clip: Tensor, target: int) -> Tensor:
    """Class activation of the last stage, enlarged."""
    with torch.no_grad():
        features = model.forward_features(clip)[0]
        maps = (model.classifier.weight[target, :, None, None, None] * features).sum(0).relu()
    return nn.functional.interpolate(maps[None, None], clip.shape[2:], mode="trilinear")[0, 0]


def test_the_whole_way_on_puppets(tmp_path: Path) -> None:
    puppets = generate(tmp_path / "puppets", seed=1, train=1, test=1, speed=0, size=64, workers=1)
    (puppets / "test/wave/0000.mp4").write_bytes(b"no video")
    recognizer = small(LABELS)
    folder = recognizer.save(tmp_path / "recognizer")
    before = read_card(folder / CARD)
    found = check(
        recognizer, puppets, {"cam": (activation, "layer4"), "edges": (edges, None)}, clips=12, steps=3, seed=3
    )
    assert len(found.failures) + found.faithfulness.clips == 12
    assert found.faithfulness.masked == found.faithfulness.clips
    assert list(found.faithfulness.rows) == ["cam", "edges", "random", "centre"]
    assert "weights" in found.verdicts["edges"].text and not found.verdicts["edges"].passed
    json.dumps(found.to_dict())

    assert store(folder, found.verdicts) == folder / CARD
    after = read_card(folder / CARD)
    assert after.more.pop("verdicts").keys() == {"cam", "edges"}
    assert after == before
    loaded = Recognizer.load(folder)
    for name, layer in (("cam", "layer4"), ("edges", None)):
        assert read_verdict(loaded.card, loaded.model, name, layer) == found.verdicts[name]
    assert warning(loaded.card, loaded.model, "edges", None) == found.verdicts["edges"].text

    # another layer, another method, a network that was trained further, and a card without verdicts
    assert read_verdict(loaded.card, loaded.model, "cam", "layer3") is None
    assert read_verdict(loaded.card, loaded.model, "tube", "layer4") is None
    assert warning({}, loaded.model, "edges", None) is None
    assert read_verdict(loaded.card, loaded.model.bfloat16(), "edges", None) is not None
    with torch.no_grad():
        loaded.model.classifier.weight.mul_(1.1)
    assert warning(loaded.card, loaded.model, "edges", None) is None
    # a second check of one method leaves the other's verdict alone; saving keeps them
    store(folder, {"cam": found.verdicts["edges"]})
    assert Recognizer.load(folder).card["verdicts"]["edges"] == json.loads(json.dumps(after_dict(found, "edges")))
    again = Recognizer.load(folder).save(tmp_path / "copy")
    assert read_card(again / CARD).more["verdicts"].keys() == {"cam", "edges"}


def after_dict(found, name: str) -> dict:
    from dataclasses import asdict

    return asdict(found.verdicts[name])


def test_one_damaged_video_costs_itself_only(tmp_path: Path) -> None:
    puppets = generate(tmp_path / "puppets", seed=1, train=1, test=0, speed=0, size=64, workers=1)
    (puppets / "train/wave/0000.mp4").write_bytes(b"no video")
    read = read_clips(small(LABELS), puppets, clips=99)
    assert [Path(f.path).parent.name for f in read.failures] == ["wave"]
    assert len(read.clips) == len(read.masks) == len(read.labels) == len(LABELS) - 1
    assert read.masks.flatten(1).any(1).all()


def test_other_data_has_no_masks_and_too_few_clips_are_refused(tmp_path: Path) -> None:
    data = tiny_data(tmp_path / "data", train=1, test=5)
    recognizer = small(("go left", "go right"))
    read = read_clips(recognizer, data, clips=7, seed=1)
    assert read.masks is None and len(read.clips) == 7 and 3 <= int(read.labels.sum()) <= 4
    assert len(read_clips(recognizer, data, clips=99).clips) == 10  # those of the split test only
    assert len(read_clips(recognizer, data, clips=99, split="train").clips) == 2
    with pytest.raises(KinemaError, match="--clips 7"):
        check(recognizer, data, {}, clips=7)
    with pytest.raises(KinemaError, match=r"manifest\.csv: 2 videos"):
        check(recognizer, data, {}, split="train")
    with pytest.raises(KinemaError, match="split"):
        check(recognizer, data, {}, split="tset")


def test_a_mask_is_cut_as_the_clip_is(tmp_path: Path) -> None:
    from kinema.data.video import open_video
    from kinema.data.views import read_views

    puppets = generate(tmp_path / "puppets", seed=2, train=1, test=0, speed=0, size=96, workers=1)
    path = puppets / "train/jumping jack/0000.mp4"
    spec = ClipSpec(frames=6, short_side=64, crop=48)
    frames, box = read_views(path, spec).keys[0]
    mask = mask_of_clip(path, frames, box, spec)
    assert mask.shape == (6, 48, 48) and mask.dtype == torch.bool
    with open_video(path) as reader:
        assert max(frames) < len(reader)
    whole = torch.from_numpy(limb_masks(path)[list(frames)].copy())
    part = whole[:, box.top : box.top + box.height, box.left : box.left + box.width].float()
    scaled = nn.functional.interpolate(part[None], (48, 48), mode="bilinear", antialias=True)[0]
    assert (mask != (scaled > 0.5)).float().mean() < 0.002
    assert abs(mask.float().mean() - part.mean()) < 0.01


def test_drawn_takes_turns_among_the_labels(tmp_path: Path) -> None:
    from kinema.data.manifest import read_manifest

    manifest = read_manifest(tiny_data(tmp_path, train=2, test=3))
    for clips in (1, 4, 5, 99):
        few = drawn(manifest, clips, seed=4)
        counts = [sum(s.label == label for s in few.samples) for label in manifest.labels]
        assert sum(counts) == min(clips, 10) and max(counts) - min(counts) <= 1
    assert drawn(manifest, 5, 0) == drawn(manifest, 5, 0) != drawn(manifest, 5, 1)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    folder = small(("a", "b")).save(tmp_path)
    with pytest.raises(KinemaError, match="hf-hub:some/one"):
        store("hf-hub:some/one", {})
    with pytest.raises(KinemaError, match="nowhere"):
        store(tmp_path / "nowhere", {})
    with pytest.raises(KinemaError, match="labels"):
        add_to_card(folder / CARD, "labels", {})
    with pytest.raises(KinemaError, match=r"card\.json"):
        add_to_card(folder / CARD, "verdicts", {"tube": {1, 2}})
    values = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(values | {"verdicts": [1]}))
    with pytest.raises(KinemaError, match="verdicts"):
        Recognizer.load(folder)
    assert (
        warning({"verdicts": {"tube": {"layer": None, "network": "x"}}}, small(("a", "b")).model, "tube", None) is None
    )
    model = small(("a", "b")).model
    broken = {"verdicts": {"tube": {"layer": None, "network": fingerprint(model)}}}
    assert warning(broken, model, "tube", None) is None
