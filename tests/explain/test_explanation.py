"""`explain`: targets, labels, scores, options, sources, files, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data.plain_videos import write_video
from explain.networks import Own, Planted, clip, left_as_it_was, zoo
from torch import nn

import kinema.explain
from kinema import KinemaError, Recognizer
from kinema.explain import explain, frame_values, grad_cam, saliency_tubes
from kinema.explain.explanation import METHODS
from kinema.explain.verdicts import VERDICTS, Verdict, fingerprint

LABELS = ("wave", "jump", "sit down", "stand up")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    model = zoo("tsm_r18", frames=4)
    return Recognizer(model, LABELS, model.clip_spec.replace(short_side=48, crop=33))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "a clip.mp4")


def test_maps_are_those_of_the_functions(recognizer: Recognizer) -> None:
    model, x = recognizer.model, clip(4)
    for method, expected in (
        ("tube", saliency_tubes(model, x, 2)),
        ("cam", saliency_tubes(model, x, 2, style="cam")),
        ("gradcam", grad_cam(model, x, 2)),
    ):
        (found,) = explain(recognizer, x, method, 2)
        assert torch.equal(found.map, expected)
        assert (found.method, found.target, found.label, found.layer) == (method, 2, "sit down", "layer4")
    (found,) = explain(recognizer, x, "frames", 2, layer="layer2")
    values, errors = frame_values(model, x, 2)
    assert found.layer is None
    assert found.details == {"values": values.tolist(), "errors": errors.tolist()}
    assert torch.equal(found.map[:, 5, 7], (values.clamp_min(0) / values.max()).float())


@pytest.mark.parametrize("method", ["tube", "cam", "gradcam", "frames"])
def test_targets(recognizer: Recognizer, method: str) -> None:
    x = clip(4)
    with torch.no_grad():
        scores = recognizer.model(x).double().softmax(1)[0]
    order = scores.argsort(descending=True).tolist()
    with left_as_it_was(recognizer.model):
        three = explain(recognizer, x, method, "top3")
    assert [found.target for found in three] == order[:3]
    assert [found.score for found in three] == pytest.approx(scores[order[:3]].tolist())
    assert [found.label for found in three] == [LABELS[i] for i in order[:3]]
    (top,) = explain(recognizer, x, method)
    assert top.target == order[0]
    assert torch.equal(top.map, three[0].map)
    for target in ("stand up", 3, np.int64(3)):
        (named,) = explain(recognizer, x, method, target)
        assert (named.target, named.label) == (3, "stand up")


def test_one_pass_of_the_network_for_all_classes(recognizer: Recognizer) -> None:
    runs: list[int] = []
    handle = recognizer.model.register_forward_pre_hook(lambda m, args: runs.append(1))
    for method in ("tube", "cam", "gradcam"):
        runs.clear()
        assert len(explain(recognizer, clip(4), method, "top3")) == 3
        assert len(runs) == 1, method
    handle.remove()


def test_views_do_not_depend_on_the_class(recognizer: Recognizer) -> None:
    x = clip(4)
    (found,) = explain(recognizer, x, "attention", "top3", layer="layer3")
    (other,) = explain(recognizer, x, "attention", 3, layer="layer3")
    assert (found.layer, other.label) == ("layer3", "stand up")
    assert torch.equal(found.map, other.map)
    channels = explain(recognizer, x, "features", 3, count=2)
    assert [one.layer for one in channels] == [f"layer4, channel {one.details['channel']}" for one in channels]
    for one in (found, *channels):
        assert one.map.shape == (4, 33, 33)
        assert one.map.min() == 0
        assert one.overlay().shape == (4, 33, 33, 3)
    assert len(explain(Own(), x, "features")) == 3
    assert explain(Own(), x, "attention", layer="first")[0].map.max() > 0.9


def test_options_reach_the_method(recognizer: Recognizer) -> None:
    x = clip(4)
    (found,) = explain(recognizer, x, "cam", 1, threshold=0.7)
    assert torch.equal(found.map, saliency_tubes(recognizer.model, x, 1, style="cam", threshold=0.7))
    (found,) = explain(recognizer, x, "frames", 1, baseline="freeze")
    assert found.details["values"] == frame_values(recognizer.model, x, 1, baseline="freeze")[0].tolist()
    (found,) = explain(recognizer, x, "gradcam", 1, layer="layer3")
    assert found.layer == "layer3"
    assert torch.equal(found.map, grad_cam(recognizer.model, x, 1, layer="layer3"))


def test_a_video_is_cut_as_for_a_prediction(recognizer: Recognizer, video: Path, tmp_path: Path) -> None:
    (found,) = explain(recognizer, str(video))
    prediction = recognizer.predict(video)
    assert (found.label, found.score) == (prediction.label, pytest.approx(prediction.score, abs=1e-5))
    assert found.map.shape == (4, 33, 33)
    assert len(found.frames) == 4
    assert list(found.frames) == sorted(found.frames)
    assert len(found.box) == 4
    assert found.video == str(video)
    assert found.overlay().shape == (4, 33, 33, 3)
    assert found.overlay().dtype == np.uint8
    facts = json.loads(json.dumps(found.to_dict()))
    assert facts["label"] == found.label
    for kind in ("mp4", "png", "json"):
        found.save(tmp_path / f"x.{kind}")
        assert (tmp_path / f"x.{kind}").stat().st_size > 300
    (part,) = explain(recognizer, video, start=1.0)
    assert part.frames[0] > found.frames[0]


def test_a_clip_has_its_own_pictures(recognizer: Recognizer, tmp_path: Path) -> None:
    (found,) = explain(recognizer, clip(4))
    assert found.frames is None and found.box is None and found.video is None
    assert found.overlay().shape == (4, 33, 33, 3)
    found.save(tmp_path / "x.gif")
    assert (tmp_path / "x.gif").stat().st_size > 300


def test_any_network_with_a_few_names(tmp_path: Path) -> None:
    """No recognizer, no clip_spec, no labels: `feature_maps`, `classifier` and `forward` are enough."""
    for method in ("tube", "cam", "gradcam", "frames"):
        first, second, third = explain(Own(), clip(4), method, "top3")
        assert first.score > second.score > third.score
        assert first.label == str(first.target)
        assert first.map.shape == (4, 33, 33)
        assert first.verdict is None
        assert first.overlay().shape == (4, 33, 33, 3)
        first.save(tmp_path / f"{method}.png")
    two = Planted(torch.rand(2, 2, 3, 3), torch.randn(2, 2))
    assert len(explain(two, clip(4), target="top3")) == 2  # as many as there are


def test_a_network_of_the_zoo_takes_videos(recognizer: Recognizer, video: Path) -> None:
    model = zoo("tsm_r18", frames=4)
    (found,) = explain(model, video)
    assert found.map.shape == (4, model.clip_spec.tested, model.clip_spec.tested)


def test_the_verdict_of_the_card(recognizer: Recognizer) -> None:
    verdict = Verdict(
        "tube", "layer4", ("is no better than a random map",), 0.0, -0.1, -0.1, 0.2, 0.3, 24, "puppets",
        fingerprint(recognizer.model),
    )  # fmt: skip
    card = {VERDICTS: {"tube": {**vars(verdict), "reasons": list(verdict.reasons)}}}
    told = Recognizer(recognizer.model, LABELS, recognizer.spec, card)
    (found,) = explain(told, clip(4), "tube")
    assert "random map" in found.verdict
    (other,) = explain(told, clip(4), "cam")
    assert other.verdict is None


def test_a_pyramid_is_drawn_with_the_name_of_its_class_and_the_verdict(recognizer: Recognizer, tmp_path: Path) -> None:
    verdict = Verdict("pyramid", None, ("ignores the clip",), 0.0, -0.1, -0.1, 0.2, 0.3, 24, "puppets",
                      fingerprint(recognizer.model))  # fmt: skip
    told = Recognizer(recognizer.model, LABELS, recognizer.spec, {VERDICTS: {"pyramid": vars(verdict)}})
    (found,) = explain(told, clip(4), "pyramid", "sit down")
    assert found.result.label == "sit down"
    found.save(tmp_path / "x.svg")
    drawn = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert ">sit down<" in drawn and "ignores the clip" in drawn


def test_public_names() -> None:
    for name in kinema.explain.__all__:
        assert getattr(kinema.explain, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        kinema.explain.nothing  # noqa: B018
    assert {"tube", "cam", "gradcam", "frames"} <= METHODS.keys()


class Bare(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"method": "tubes"}, "unknown method 'tubes': did you mean 'tube'"),
        ({"method": "grad_cam"}, "did you mean 'gradcam'"),
        ({"target": "standup"}, "unknown class 'standup': did you mean 'stand up'"),
        ({"target": "7"}, "unknown class '7'"),
        ({"target": 4}, "target is 4: .* from 0 to 3"),
        ({"target": -1}, "target is -1"),
        ({"target": 1.0}, "target is 1.0"),
        ({"target": None}, "target is None"),
        ({"method": "gradcam", "layer": "layer3.0"}, "layer layer3.0 returns a tensor of shape"),
        ({"layer": "layer44"}, "unknown layer 'layer44': did you mean"),
        ({"treshold": 0.5}, "unknown option of cam 'treshold': did you mean 'threshold'"),
        ({"method": "gradcam", "threshold": 0.5}, "threshold: gradcam takes no options"),
        ({"threshold": "much"}, "threshold is 'much'"),
        ({"video": "nowhere.mp4"}, "nowhere.mp4"),
        ({"video": 7}, "video has type int"),
        ({"video": clip(4), "start": 1.0}, "start and end apply to a video"),
        ({"video": torch.zeros(2, 3, 4, 33, 33)}, "clip contains 2 clips"),
        ({"video": torch.zeros(3, 4, 33, 33, dtype=torch.uint8)}, "clip has dtype torch.uint8"),
        ({"video": torch.zeros(4, 33, 33)}, "clip has shape"),
        ({"subject": Bare()}, "Bare has no classifier"),
        ({"subject": Own(), "video": "x.mp4"}, "x.mp4: the network has no clip specification"),
        ({"subject": Own(), "target": "wave"}, "a network without labels"),
        ({"subject": "recognizer/"}, "cannot explain a str"),
    ],
)
def test_what_is_refused(recognizer: Recognizer, given: dict[str, Any], sentence: str) -> None:
    arguments = {"subject": recognizer, "video": clip(4), **given}
    with pytest.raises(KinemaError, match=sentence):
        explain(arguments.pop("subject"), arguments.pop("video"), **arguments)


def test_what_has_no_map_has_no_overlay(recognizer: Recognizer) -> None:
    (found,) = explain(recognizer, clip(4))
    with pytest.raises(KinemaError, match="cam does not return a map"):
        replace(found, map=None).overlay()
    assert len(repr(found)) < 300
