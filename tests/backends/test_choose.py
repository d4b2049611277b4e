import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kinema.backends.base import BACKENDS, find_backend
from kinema.backends.choose import choose
from kinema.backends.convolutions import _Convolutions, convolution_faults
from kinema.errors import KinemaError, KinemaWarning, RunError


class Clock:
    """Time that passes only where a test says so: a busy machine changes no verdict."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


time = Clock()


class Network(nn.Module):
    """Clips N 3 T H W -> logits N 5, in 20 ms."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv3d(3, 4, 3, 2, 1)
        self.classifier = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.02)
        return self.exact(x)

    def exact(self, x: Tensor) -> Tensor:
        return 10 * self.classifier(self.conv(x).relu().mean((2, 3, 4)))


class Planted:
    """A backend that does to the network's logits what a test wants, and is as fast as it wants."""

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda y: y, seconds: float = 0.001, **more) -> None:
        self.name, self.change, self.seconds, self.built = "planted", change, seconds, 0
        self.absent, self.precision = more.get("absent"), more.get("precision", "float32")
        self.breaks, self.bad_convs = more.get("breaks"), more.get("bad_convs", False)

    def available(self) -> str | None:
        return self.absent

    def build(self, network: nn.Module, example: Tensor, calibration: tuple = ()) -> Callable[[Tensor], Tensor]:
        self.built += 1
        if self.breaks:
            raise self.breaks
        if isinstance(network, _Convolutions):
            return lambda x: network(x) * (1.5 if self.bad_convs else 1)

        def run(x: Tensor) -> Tensor:
            time.sleep(self.seconds)
            return self.change(network.exact(x))

        return run


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KINEMA_CACHE", str(tmp_path))
    monkeypatch.setattr("kinema.backends.choose.time", time)
    return tmp_path / "optimize"


@pytest.fixture
def clips() -> Tensor:
    return torch.randn(3, 3, 4, 12, 12, generator=torch.Generator().manual_seed(2))


def tried(report, name):
    return next(trial for trial in report.trials if trial.name == name)


def test_the_fastest_right_backend_is_chosen(clips) -> None:
    backends = {"slowish": Planted(seconds=0.01), "fast": Planted()}
    found = choose(Network(), clips, backends=backends, batch=2)
    assert found.report.chosen == "fast" and found.runner is not None
    assert torch.equal(found.runner(clips), Network().exact(clips))
    assert tried(found.report, "fast").speed > 1.5
    assert tried(found.report, "slowish").verdict == "slower"
    assert found.report.trials[0].name == "eager"
    json.dumps(found.report.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("precision", "percent"), [("float32", 1), ("bfloat16", 3), ("int8", 6)])
def test_a_backend_that_is_wrong_by_one_percent_is_refused_and_the_report_says_so(clips, precision, percent) -> None:
    planted = Planted(lambda y: (1 + percent / 100) * y, precision=precision)
    found = choose(Network(), clips, backends={"wrong": planted})
    trial = tried(found.report, "wrong")
    assert (found.report.chosen, found.runner, trial.verdict) == ("eager", None, "wrong")
    assert f"{percent}.0% too large" in trial.reason


def test_a_backend_that_is_15_times_slower_is_refused_and_the_report_says_so(clips) -> None:
    planted = Planted(seconds=0.3)
    found = choose(Network(), clips, backends={"slow": planted})
    trial = tried(found.report, "slow")
    assert found.runner is None and trial.verdict == "slower" and trial.speed < 1 / 14
    assert "times as slow" in trial.reason


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda y: y.roll(1, 1), ""),
        (lambda y: y + 0.05 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)), "standard deviations"),
        (lambda y: y * float("nan"), "finite"),
        (lambda y: y[:, :3], "finite"),
        (lambda y: y if len(y) > 1 else y + 1, "standard deviations"),  # wrong for single clips only
    ],
)
def test_wrong_logits_are_refused(clips, change, word) -> None:
    report = choose(Network(), clips, backends={"wrong": Planted(change)}, batch=2).report
    assert tried(report, "wrong").verdict == "wrong" and word in tried(report, "wrong").reason
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_top_1_label_that_changes_is_refused_however_small_the_difference(clips) -> None:
    network = Network()
    with torch.no_grad():  # the first two classes are the best, all but tied
        network.classifier.weight[1] = network.classifier.weight[0]
        network.classifier.bias[:2] = torch.tensor([9.0, 9.0 - 1e-5])

    def swap(y: Tensor) -> Tensor:
        return torch.cat([y[:, :1] - 2e-4, y[:, 1:]], 1)

    report = choose(network, clips, backends={"wrong": Planted(swap)}).report
    assert "top-1" in tried(report, "wrong").reason


def test_rounding_noise_is_allowed_to_bfloat16_and_not_to_float32(clips) -> None:
    def noise(y: Tensor) -> Tensor:
        return y + 0.01 * y.std() * torch.randn(y.shape, generator=torch.Generator().manual_seed(len(y)))

    backends = {"narrow": Planted(noise, precision="bfloat16"), "wide": Planted(noise)}
    report = choose(Network(), clips, backends=backends).report
    assert report.chosen == "narrow" and tried(report, "wide").verdict == "wrong"


def test_a_library_with_wrong_convolutions_is_named_with_its_version(clips) -> None:
    backends = {"broken": Planted(bad_convs=True), "sound": Planted(seconds=0.005)}
    report = choose(Network(), clips, backends=backends).report
    assert report.chosen == "sound"
    assert "torch 2." in tried(report, "broken").reason and "kernel 3x3x3" in tried(report, "broken").reason


def test_what_is_absent_or_fails_costs_one_row(clips) -> None:
    backends = {
        "absent": Planted(absent="x cannot be imported: pip install x"),
        "fails": Planted(breaks=RuntimeError("no such operator\nmore")),
        "fine": Planted(),
    }
    report = choose(Network(), clips, backends=backends).report
    assert [trial.verdict for trial in report.trials] == ["reference", "absent", "failed", "chosen"]
    assert "pip install x" in report.trials[1].reason and report.trials[2].reason == "no such operator"


def test_no_backend_is_begun_after_the_budget(clips) -> None:
    late = Planted()
    report = choose(Network(), clips, backends={"late": late}, budget=0.01).report
    assert late.built == 0 and tried(report, "late").verdict == "not tried" and "budget" in tried(report, "late").reason


def test_a_choice_is_kept_and_checked_again(clips, cache) -> None:
    choose(Network(), clips, backends={"fast": Planted()})
    network = Network()
    again = choose(network, clips, backends={"fast": Planted()})
    assert again.report.stored and again.report.chosen == "fast" and again.runner is not None
    wrong = choose(Network(), clips, backends={"fast": Planted(lambda y: 1.01 * y)})
    assert not wrong.report.stored and wrong.runner is None
    (file,) = cache.iterdir()
    assert file.suffix == ".json"


def test_a_choice_is_not_taken_for_another_shape_or_network(clips) -> None:
    choose(Network(), clips, backends={"fast": Planted()})
    assert not choose(Network(), clips[:, :, :, :8, :8], backends={"fast": Planted()}).report.stored
    other = Network()
    other.more = nn.Linear(2, 2)
    assert not choose(other, clips, backends={"fast": Planted()}).report.stored


@pytest.mark.parametrize("damage", [b"{", b"[]", b"\xff\xfe", b'{"format": 1}', "shorten", "chosen"])
def test_a_damaged_choice_is_ignored_with_a_sentence(clips, cache, damage) -> None:
    choose(Network(), clips, backends={"fast": Planted()})
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    if damage == "shorten":
        damage = whole[: len(whole) // 2]
    elif damage == "chosen":
        damage = whole.replace(b'"chosen": "fast"', b'"chosen": 3')
    file.write_bytes(damage)
    with pytest.warns(KinemaWarning, match=file.name):
        found = choose(Network(), clips, backends={"fast": Planted()})
    assert found.report.chosen == "fast" and not found.report.stored
    assert choose(Network(), clips, backends={"fast": Planted()}).report.stored


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"budget": 0}, "budget"), ({"budget": float("nan")}, "budget"), ({"budget": "fast"}, "budget"),
        ({"batch": 0}, "batch"), ({"batch": 4}, "batch"), ({"batch": True}, "batch"),
    ],
)  # fmt: skip
def test_bad_arguments(clips, options, word) -> None:
    with pytest.raises(KinemaError, match=word):
        choose(Network(), clips, backends={}, **options)


def test_a_single_clip_and_logits_that_are_not_finite_are_refused(clips) -> None:
    with pytest.raises(KinemaError, match="at least 2"):
        choose(Network(), clips[:1], backends={})
    broken = Network()
    broken.classifier.bias.data.fill_(float("inf"))
    with pytest.raises(RunError, match="finite"):
        choose(broken, clips, backends={})


def test_an_unknown_backend_names_the_nearest() -> None:
    with pytest.raises(KinemaError, match="openvino"):
        find_backend("openvin")
    assert "folded" in BACKENDS


@pytest.mark.parametrize("name", ["folded", "bfloat16"])
def test_the_installed_pytorch_passes_the_check_of_its_convolutions(name) -> None:
    assert convolution_faults(find_backend(name)) == []
