"""What learns and how fast, in a network and in a training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kinema.errors import KinemaError
from kinema.models import VideoModel, create_model
from kinema.training.config import Optim, TrainConfig
from kinema.training.learning import freeze, keep_frozen, parameter_groups, rate


def network() -> VideoModel:
    return create_model("stm_r18", num_classes=3, frames=4, width=0.0625)


def config(**changes: object) -> TrainConfig:
    return TrainConfig("stm_r18", "data", **changes)  # type: ignore[arg-type]


def learning(model: VideoModel) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_everything_learns_unless_told_otherwise() -> None:
    model = network()
    freeze(model, config())
    keep_frozen(model, config())
    assert learning(model) == {name for name, _ in model.named_parameters()}
    assert all(m.training for m in model.modules())


def test_the_classifier_alone() -> None:
    model = network().eval()
    given = config(trainable="classifier")
    freeze(model, given)
    keep_frozen(model, given)
    assert learning(model) == {"classifier.weight", "classifier.bias"}
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert model.dropout.training


def test_frozen_batchnorm_keeps_statistics_and_weights() -> None:
    model = network()
    given = config(frozen_batchnorm=True)
    freeze(model, given)
    keep_frozen(model, given)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD(parameter_groups(model, Optim(lr=1.0)), 1.0)
    model(torch.randn(2, 3, 4, 32, 32)).sum().backward()
    optimizer.step()
    norms = {name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for name, value in model.state_dict().items():
        if name.rpartition(".")[0] in norms:
            assert torch.equal(value, before[name]), name
    assert not torch.equal(model.state_dict()["stem.conv.weight"], before["stem.conv.weight"])


def test_what_a_rate_of_0_freezes_gathers_no_statistics() -> None:
    model = network()
    given = config(optim=Optim(lr_mult={"stem": 0.0, "layer4": 0.0, "layer4.1": 1.0}))
    freeze(model, given)
    keep_frozen(model, given)
    norms = {name: m.training for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    frozen = {name for name in norms if name.startswith(("stem.", "layer4.0."))}
    assert frozen
    assert {name for name, training in norms.items() if not training} == frozen
    given = config(optim=Optim(lr_mult={"features": 0.0}))
    model = network()
    freeze(model, given)
    keep_frozen(model, given)
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_the_longest_beginning_decides_the_rate() -> None:
    optim = Optim(lr_mult={"features": 0.1, "layer4": 0.5, "layer4.1": 2.0, "stem": 0.0})
    assert rate("layer4.0.bn1.weight", optim) == 0.5
    assert rate("layer4.1.bn1.weight", optim) == 2.0
    assert rate("layer1.0.bn1.weight", optim) == 0.1
    assert rate("classifier.weight", optim) == 1.0
    assert rate("layer40.weight", optim) == 0.1


def recurrent_network() -> VideoModel:
    return create_model("srtg_r3d_34", num_classes=3, frames=8, width=0.0625)


def test_recurrences_have_a_factor_of_their_own_on_top() -> None:
    name, plain = "layer2.0.srtg.recurrence.cell.weight_hh_l0", "layer2.0.conv1.weight"
    assert rate(name, Optim(), recurrence=0.1) == 0.1
    assert rate(plain, Optim(), recurrence=0.1) == 1.0
    assert rate(name, Optim(lr_mult={"recurrence": 0.3}), recurrence=0.1) == 0.3  # what is given replaces the network's
    assert rate(name, Optim(lr_mult={"recurrence": 0.3})) == 0.3
    optim = Optim(lr_mult={"features": 0.5, "layer2": 0.2, "recurrence": 0.3})
    assert rate(name, optim) == pytest.approx(0.06)
    assert rate(name.replace("layer2", "layer3"), optim) == pytest.approx(0.15)
    assert rate("classifier.weight", optim, recurrence=0.1) == 1.0


def test_recurrences_can_be_frozen_alone() -> None:
    model = recurrent_network()
    freeze(model, config(optim=Optim(lr_mult={"recurrence": 0.0})))
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if ".recurrence." in name}
    assert frozen


def test_a_network_states_the_factor_of_its_recurrences() -> None:
    model = recurrent_network()
    model.recurrence_rate = 0.25
    groups = {round(group["lr"], 6): group["params"] for group in parameter_groups(model, Optim(lr=0.4))}
    assert set(groups) == {0.4, 0.1}
    assert {id(p) for p in groups[0.1]} == {id(p) for name, p in model.named_parameters() if ".recurrence." in name}


def test_groups_hold_every_learning_parameter_once_at_its_rate() -> None:
    model = network()
    given = config(optim=Optim(lr=0.2, lr_mult={"features": 0.1, "stem": 0.0, "layer4": 0.5}))
    freeze(model, given)
    groups = parameter_groups(model, given.optim)
    assert sorted(group["lr"] for group in groups) == pytest.approx([0.02, 0.1, 0.2])
    found = [id(p) for group in groups for p in group["params"]]
    wanted = [id(p) for name, p in model.named_parameters() if not name.startswith("stem.")]
    assert sorted(found) == sorted(wanted)
    (head,) = [group for group in groups if group["lr"] == pytest.approx(0.2)]
    assert len(head["params"]) == 2


def test_features_are_all_but_the_classifier_whatever_they_are_called() -> None:
    for name, extra in (("srtg_r3d_34", {}), ("slowfast_50", {}), ("r3d_34", {"class_regularisation": [0.5] * 4})):
        model = create_model(name, num_classes=3, frames=8, width=0.0625, **extra)
        classifier = {id(p) for p in model.classifier.parameters()}
        groups = parameter_groups(model, Optim(lr=1.0, lr_mult={"features": 0.5, "recurrence": 0.5}))
        assert {id(p) for group in groups if group["lr"] == 1.0 for p in group["params"]} == classifier
        freeze(model, config(optim=Optim(lr_mult={"features": 0, "classifier": 0.1})))
        assert learning(model) == {"classifier.weight", "classifier.bias"}


def test_the_maps_of_class_regularisation_are_features_and_a_part() -> None:
    model = create_model("r3d_34", num_classes=3, frames=8, width=0.0625, class_regularisation=[0.5] * 4)
    for given in ({"features": 0.1}, {"class_regularisation": 0.1}, {"features": 3, "class_regularisation": 0.1}):
        chosen = config(trainable="class_regularisation", optim=Optim(lr=1.0, lr_mult=given))
        freeze(model, chosen)
        (group,) = parameter_groups(model, chosen.optim)
        assert group["lr"] == pytest.approx(0.1)
        assert len(group["params"]) == 4


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            config(optim=Optim(lr_mult={"recurrence": 0.1})),
            r"part of the network in optim\.lr_mult 'recurrence'",
        ),
        (config(optim=Optim(lr_mult={"layer5": 0.1})), r"unknown part of the network in optim\.lr_mult 'layer5'"),
        (config(optim=Optim(lr_mult={"feature": 0.1})), r"optim\.lr_mult 'feature': did you mean 'features'"),
        (config(optim=Optim(lr_mult={"": 0.1})), r"unknown part of the network in optim\.lr_mult ''"),
        (config(optim=Optim(lr_mult={"features": 0, "classifier": 0})), r"optim\.lr_mult freezes every"),
        (config(trainable="class_regularisation"), r"options\.class_regularisation"),
        (
            config(trainable="classifier", optim=Optim(lr_mult={"stem": 0.5})),
            r"optim\.lr_mult\.stem has no effect if trainable",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(given: TrainConfig, sentence: str) -> None:
    with pytest.raises(KinemaError, match=sentence):
        freeze(network(), given)
