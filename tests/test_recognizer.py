"""The recognizer as a folder: what it says, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import pickle
import resource
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import moving_square, write_video

from kinema import ClipSpec, Prediction, Recognizer, create_model, read_clip
from kinema.errors import KinemaError, KinemaWarning, RunError

LABELS = ("go left", "go right", "stand – still")


@pytest.fixture
def recognizer() -> Recognizer:
    torch.manual_seed(0)
    model = create_model("stm_r18", num_classes=3, width=0.125, frames=4, dropout=0.3)
    spec = model.clip_spec.replace(short_side=40, crop=32, stride=2)
    return Recognizer(model, LABELS, spec, {"metrics": {"top1": 0.5}})


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a video.mp4", moving_square(np.random.default_rng(0), True, frames=36), rate=12)


def test_what_is_saved_is_what_is_loaded(recognizer: Recognizer, video: Path, tmp_path: Path) -> None:
    folder = recognizer.save(tmp_path / "r")
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "card.json"}
    for source in (folder, folder / "card.json", str(folder / "model.safetensors")):
        again = Recognizer.load(source)
        assert again.labels == LABELS
        assert again.spec == recognizer.spec
        assert again.card["metrics"] == {"top1": 0.5}
        assert again.predict(video) == recognizer.predict(video)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["architecture"]["name"] == "stm_r18"
    assert card["architecture"]["options"].items() >= OPTIONS.items()
    assert card["format"] == 2
    assert card["versions"]["torch"] == torch.__version__


def test_a_prediction_is_the_softmax_of_the_network_on_the_central_clip(recognizer: Recognizer, video: Path) -> None:
    recognizer.model.eval()
    with torch.no_grad():
        expected = recognizer.model(read_clip(video, recognizer.spec)).softmax(1)[0]
    found = recognizer.predict(video, top_k=2)
    assert isinstance(found, Prediction)
    assert found.label == LABELS[int(expected.argmax())]
    assert found.score == pytest.approx(float(expected.max()), abs=1e-6)
    assert len(found.top_k) == 2
    assert found.top_k[0] == (found.label, found.score)
    assert (found.t_start, found.t_end) == (0, pytest.approx(3.0))
    json.dumps(found.to_dict())


def test_windows_cover_a_long_video(recognizer: Recognizer, video: Path) -> None:
    found = list(recognizer.predict_windows(video, window=1.0, step=0.5))
    assert all(isinstance(w, Prediction) for w in found)
    assert list(recognizer.predict_windows(video, window=1.0, step=0.5, first=2)) == found[2:]
    assert [w.t_start for w in found][:3] == pytest.approx([0, 0.5, 1.0])
    assert found[-1].t_end == pytest.approx(3.0)


def test_a_part_of_a_video(recognizer: Recognizer, video: Path) -> None:
    part = recognizer.predict(video, start=1.0, end=2.0)
    assert (part.t_start, part.t_end) == pytest.approx((1.0, 2.0))


def test_the_number_of_labels_must_be_that_of_the_outputs() -> None:
    model = create_model("tsn_r18", num_classes=3, width=0.0625)
    with pytest.raises(KinemaError, match="2 labels for a network with 3 outputs"):
        Recognizer(model, ("a", "b"), ClipSpec())
    with pytest.raises(KinemaError, match="twice"):
        Recognizer(model, ("a", "b", "a"), ClipSpec())


def test_a_new_classifier_is_in_the_card(recognizer: Recognizer, tmp_path: Path) -> None:
    recognizer.model.reset_classifier(2)
    again = Recognizer(recognizer.model, ("x", "y"), recognizer.spec)
    assert Recognizer.load(again.save(tmp_path / "r")).labels == ("x", "y")


def edit(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps({**card, **changes}), encoding="utf-8")


@pytest.mark.parametrize("given", [{}, {"fusion": "add"}, {"gate": "none", "fusion": "mul"}])
def test_an_srtg_network_is_loaded_as_it_was_saved_though_defaults_have_changed(given: dict, tmp_path: Path) -> None:
    size = {"num_classes": 3, "width": 0.0625, "frames": 8}

    def recognizer(**options: str) -> Recognizer:
        return Recognizer(create_model("srtg_r3d_34", **size, **options).eval(), LABELS, ClipSpec(frames=8))

    new, clip = recognizer(**given), torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        assert torch.equal(Recognizer.load(new.save(tmp_path / "new")).model(clip), new.model(clip))

    # What an earlier version wrote: only the options that were given; the others stood for gate none and fusion mul.
    old = recognizer(**{"gate": "none", "fusion": "mul", **given})
    folder = old.save(tmp_path / "old")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["architecture"]["options"] = {**size, **given}
    (folder / "card.json").write_text(json.dumps({**card, "format": 1}), encoding="utf-8")
    with torch.no_grad(), pytest.warns(KinemaWarning, match="has format 1"):
        assert torch.equal(Recognizer.load(folder).model(clip), old.model(clip))


def test_a_card_whose_weights_do_not_fit_is_refused(recognizer: Recognizer, tmp_path: Path) -> None:
    folder = recognizer.save(tmp_path / "r")
    edit(folder, architecture={"name": "stm_r18", "options": {"num_classes": 3, "width": 0.25, "frames": 4}})
    with pytest.raises(KinemaError, match=r"model\.safetensors: the weights do not fit the card: .* of another shape"):
        Recognizer.load(folder)
    edit(folder, architecture={"name": "tsn_r18", "options": {"num_classes": 3, "width": 0.125}})
    with pytest.raises(KinemaError, match=r"missing \(first: layer1.* not known"):
        Recognizer.load(folder)
    edit(folder, architecture={"name": "stm_r81", "options": {}})
    with pytest.raises(KinemaError, match="did you mean 'stm_r18'"):
        Recognizer.load(folder)


def test_a_missing_tensor_is_named(recognizer: Recognizer, tmp_path: Path) -> None:
    folder = recognizer.save(tmp_path / "r")
    tensors = load_file(folder / "model.safetensors")
    del tensors["stem.bn.bias"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(KinemaError, match=r"1 missing \(first: stem\.bn\.bias\)"):
        Recognizer.load(folder)


def test_a_card_with_an_unknown_key_of_the_clip_is_refused(recognizer: Recognizer, tmp_path: Path) -> None:
    folder = recognizer.save(tmp_path / "r")
    edit(folder, clip={"frames": 4, "croop": 32})
    with pytest.raises(KinemaError, match="'croop': did you mean 'crop'"):
        Recognizer.load(folder)


OPTIONS = {"num_classes": 3, "width": 0.125, "frames": 4, "dropout": 0.3}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"architecture": "stm_r18"}, "'architecture' must be an object with the network's name and options"),
        ({"architecture": {"name": "stm_r18"}}, "must contain the network's name and its options"),
        ({"architecture": {"options": OPTIONS}}, "must contain the network's name and its options"),
        ({"architecture": {"name": 3, "options": {}}}, "must contain the network's name and its options"),
        ({"architecture": {"name": "stm_r18", "options": [3]}}, "must contain the network's name and its options"),
        ({"architecture": {"name": "stm_r18", "options": OPTIONS | {"width": "wide"}}}, "width is 'wide'"),
        ({"architecture": {"name": "stm_r18", "options": OPTIONS | {"dropout": "much"}}}, "dropout is 'much'"),
        ({"architecture": {"name": "stm_r18", "options": OPTIONS | {"blocks": 7}}}, "unknown value of blocks '7'"),
        ({"labels": "abc"}, "'labels' must be a list of names"),
        ({"labels": {"a": 0, "b": 1, "c": 2}}, "'labels' must be a list of names"),
        ({"labels": ["a", "b", 3]}, "'labels' must contain one string per output"),
        ({"labels": ["a", "b", ""]}, "'labels' must contain one string per output"),
        ({"labels": ["a", "b"]}, "2 labels for a network with 3 outputs"),
        ({"labels": ["a", "b", "b"]}, "a label occurs twice"),
        ({"clip": [8]}, "'clip' must be an object"),
        ({"clip": {"frames": "8"}}, "clip.frames is '8'"),
        ({"clip": {"mean": "grey"}}, "clip.mean is 'grey'"),
        ({"clip": {"mean": None}}, "clip.mean is None"),
        ({"clip": {"test_crop": "large"}}, "does not describe a network"),
    ],
)
def test_a_damaged_card_is_named_with_the_mend(
    recognizer: Recognizer, tmp_path: Path, changes: dict[str, object], what: str
) -> None:
    folder = recognizer.save(tmp_path / "r")
    edit(folder, **changes)
    with pytest.raises(KinemaError) as caught:
        Recognizer.load(folder)
    sentence = str(caught.value)
    assert sentence.startswith(f"{folder / 'card.json'}: ")
    assert what in sentence
    assert sentence.endswith("save the recognizer again")
    assert "\n" not in sentence


@pytest.mark.parametrize("missing", ["architecture", "labels", "clip"])
def test_a_card_without_a_key(recognizer: Recognizer, tmp_path: Path, missing: str) -> None:
    folder = recognizer.save(tmp_path / "r")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    del card[missing]
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(KinemaError, match=rf"card\.json: the key '{missing}' is missing; copy both files"):
        Recognizer.load(folder)


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_cut_off_file_is_named_with_the_mend(recognizer: Recognizer, tmp_path: Path, name: str, share: float) -> None:
    folder = recognizer.save(tmp_path / "r")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(KinemaError) as caught:
        Recognizer.load(folder)
    sentence = str(caught.value)
    assert sentence.startswith(f"{folder / name}: ")
    assert "copy both files" in sentence if name == "card.json" else "copy it again" in sentence
    assert "\n" not in sentence


def test_a_card_that_is_no_object(recognizer: Recognizer, tmp_path: Path) -> None:
    folder = recognizer.save(tmp_path / "r")
    for text in ("[]", "3", "null", '"card"'):
        (folder / "card.json").write_text(text)
        with pytest.raises(KinemaError, match=r"card\.json: not a card"):
            Recognizer.load(folder)
    (folder / "card.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KinemaError, match=r"card\.json: not a readable card .*copy both files"):
        Recognizer.load(folder)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_a_pickle_disguised_as_weights_is_not_run(recognizer: Recognizer, tmp_path: Path) -> None:
    folder = recognizer.save(tmp_path / "r")
    (folder / "model.safetensors").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(KinemaError, match="never unpickled"):
        Recognizer.load(folder)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_recognizer_is_named(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(KinemaError, match="no such recognizer"):
        Recognizer.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KinemaError, match=r"card\.json is missing"):
        Recognizer.load(tmp_path / "empty")
    (tmp_path / "empty" / "config.yaml").write_text("model: stm_r18")
    with pytest.raises(KinemaError, match="has not finished"):
        Recognizer.load(tmp_path / "empty")
    folder = recognizer.save(tmp_path / "r")
    (folder / "card.json").write_text("{")
    with pytest.raises(KinemaError, match="not a readable card"):
        Recognizer.load(folder)
    (folder / "card.json").write_text('{"labels": []}')
    with pytest.raises(KinemaError, match="'architecture' is missing"):
        Recognizer.load(folder)


def test_a_full_disk_leaves_the_old_recognizer(recognizer: Recognizer, tmp_path: Path) -> None:
    folder = recognizer.save(tmp_path / "r")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with torch.no_grad():
        recognizer.model.classifier.weight.add_(1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(RunError, match=r"model\.safetensors: cannot be written .*free space"):
            recognizer.save(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_the_hub_is_asked_for_hub_names(
    monkeypatch: pytest.MonkeyPatch, recognizer: Recognizer, tmp_path: Path
) -> None:
    import huggingface_hub

    folder = recognizer.save(tmp_path / "r")
    asked = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: asked.append(name) or str(folder))
    assert Recognizer.load("hf-hub:someone/thing").labels == LABELS
    assert asked == ["someone/thing"]

    def offline(name: str, **_: object) -> str:
        raise ConnectionError(name)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(RunError, match=r"hf-hub:someone/thing: cannot be fetched .*network"):
        Recognizer.load("hf-hub:someone/thing")


def test_an_embedding_is_what_the_classifier_is_given(recognizer: Recognizer, video: Path) -> None:
    found = recognizer.embed(video)
    assert found.shape == (recognizer.model.num_features,)
    with torch.no_grad():
        model, x = recognizer.model.eval(), read_clip(video, recognizer.spec)
        torch.testing.assert_close(found, model.forward_head(model.forward_features(x), pre_logits=True)[0])
        scores = model.classifier(found).softmax(0)
    assert float(scores.max()) == pytest.approx(recognizer.predict(video).score, abs=1e-5)
    many = recognizer.embed(video, views="3x3", batch=2)
    assert many.shape == found.shape and not torch.equal(many, found)
    with pytest.raises(KinemaError, match="nowhere"):
        recognizer.embed(video.with_name("nowhere.mp4"))


def test_a_recognizer_goes_to_the_hub(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    class Hub:
        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
            calls.append((name, private, exist_ok))

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> SimpleNamespace:
            calls.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir())))
            assert Recognizer.load(folder_path).labels == recognizer.labels
            return SimpleNamespace(commit_url=f"address of {repo_id}")

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert recognizer.push_to_hub("me/mine", private=True) == "address of me/mine"
    assert calls == [("me/mine", True, True), ("me/mine", ["card.json", "model.safetensors"])]
    with pytest.raises(KinemaError, match="organisation/name"):
        recognizer.push_to_hub("mine")

    def refuse(self: Hub, *arguments: Any, **options: Any) -> None:
        raise OSError("offline")

    monkeypatch.setattr(Hub, "create_repo", refuse)
    with pytest.raises(RunError, match="hf-hub:me/mine: cannot be written"):
        recognizer.push_to_hub("me/mine")
