"""Weights of the SRTG authors and of 3D-ResNets-PyTorch: state dicts with their documented names and shapes.

What they compute is written out with functional calls on their own names, and compared with the network they load into.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.models import create_model
from kinema.models.r3d_blocks import middle_channels
from kinema.models.video_model import VideoModel
from kinema.weights.implied import implied_for
from kinema.weights.names.r3d import NEW, candidates, remarks

BLOCKS = {34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class Release(dict[str, Tensor]):
    """A state dict in the making; with `of_batch` its BatchNorms use the statistics of the batch."""

    of_batch = False

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.device, self.generator = device, torch.Generator().manual_seed(3)

    def random(self, *shape: int) -> Tensor:
        if self.device == "meta":
            return torch.empty(*shape, device="meta")
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def conv(self, name: str, o: int, i: int, *kernel: int) -> None:
        fan = i * torch.tensor(kernel).prod().item()
        self[f"{name}.weight"] = self.random(o, i, *kernel) * (2 / fan) ** 0.5

    def norm(self, name: str, n: int) -> None:
        self[f"{name}.weight"] = self.random(n) * 0.2 + 1
        self[f"{name}.bias"] = self.random(n) * 0.1
        self[f"{name}.running_mean"] = self.random(n) * 0.1
        self[f"{name}.running_var"] = self.random(n).abs() + 0.5
        self[f"{name}.num_batches_tracked"] = torch.tensor(1, device=self.device)

    def rest(self, depth: int, block: int, stage: int, at: str, i: int, o: int) -> None:
        if block == 0 and (stage > 0 or i != o):
            self.conv(f"{at}.downsample.0", o, i, 1, 1, 1)
            self.norm(f"{at}.downsample.1", o)


def srtg_release(depth: int, factorised: bool, recurrent: bool, base: int = 64, device: str = "cpu") -> Release:
    """The authors' network (expansion 1): names of section "state-dict names" of their code."""
    made = Release(device)
    middle = round(45 * base / 64)
    if factorised:
        made.conv("stem.0", middle, 3, 1, 7, 7)
        made.norm("stem.1", middle)
        made.conv("stem.3", base, middle, 3, 1, 1)
        made.norm("stem.4", base)
    else:
        made.conv("stem.0", base, 3, 3, 7, 7)
        made.norm("stem.1", base)

    def built(name: str, o: int, i: int, middle: int) -> None:
        if not factorised:
            return made.conv(f"{name}.0", o, i, 3, 3, 3)
        made.conv(f"{name}.0", middle, i, 1, 3, 3)
        made.norm(f"{name}.1", middle)
        return made.conv(f"{name}.3", o, middle, 3, 1, 1)

    i = base
    for stage, count in enumerate(BLOCKS[depth]):
        o = base * 2**stage
        for block in range(count):
            at, middle = f"layer{stage + 1}.{block}", 27 * i * o // (9 * i + 3 * o)
            if depth == 34:
                built(f"{at}.conv1.0", o, i, middle)
                built(f"{at}.conv2.0", o, o, middle)
            else:
                made.conv(f"{at}.conv1.0", o, i, 1, 1, 1)
                built(f"{at}.conv2.0", o, o, middle)
                made.conv(f"{at}.conv3.0", o, o, 1, 1, 1)
                made.norm(f"{at}.conv3.1", o)
            made.norm(f"{at}.conv1.1", o)
            made.norm(f"{at}.conv2.1", o)
            made.rest(depth, block, stage, at, i, o)
            if recurrent:
                for layer in (0, 1):
                    for kind, shape in (("weight", (4 * o, o)), ("bias", (4 * o,))):
                        for side in ("ih", "hh"):
                            made[f"{at}.sar.lstm.{kind}_{side}_l{layer}"] = made.random(*shape)
            i = o
    made["fc.weight"], made["fc.bias"] = made.random(400, i), made.random(400)
    return made


def hara_release(depth: int, factorised: bool, base: int = 64, shortcut: str = "B", device: str = "cpu") -> Release:
    """3D-ResNets-PyTorch: expansion 4, a stem over 7 frames, channels between factors from each convolution's own."""
    made = Release(device)

    def conv(name: str, norm: str, o: int, i: int, t: int, k: int) -> None:
        if factorised and k > 1:
            middle = t * k * k * i * o // (k * k * i + t * o)
            made.conv(f"{name}_s", middle, i, 1, k, k)
            made.norm(f"{norm}_s", middle)
            made.conv(f"{name}_t", o, middle, t, 1, 1)
            made.norm(f"{norm}_t", o)
        else:
            made.conv(name, o, i, t, k, k)
            made.norm(norm, o)

    conv("conv1", "bn1", base, 3, 7, 7)
    i, expansion = base, 1 if depth == 34 else 4
    for stage, count in enumerate(BLOCKS[depth]):
        o = base * 2**stage
        for block in range(count):
            at = f"layer{stage + 1}.{block}"
            steps = [(o, i, 3), (o, o, 3)] if depth == 34 else [(o, i, 1), (o, o, 3), (o * 4, o, 1)]
            for k, (outs, ins, size) in enumerate(steps, 1):
                conv(f"{at}.conv{k}", f"{at}.bn{k}", outs, ins, size, size)
            if shortcut == "B":
                made.rest(depth, block, stage, at, i, o * expansion)
            i = o * expansion
    made["fc.weight"], made["fc.bias"] = made.random(400, i), made.random(400)
    return made


def norm(w: Release, name: str, x: Tensor) -> Tensor:
    weight, bias, mean, var = (w[f"{name}.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
    if w.of_batch:
        mean, var = x.mean((0, 2, 3, 4)), x.var((0, 2, 3, 4), unbiased=False)
    scale = weight / (var + 1e-5).sqrt()
    return x * scale[:, None, None, None] + (bias - mean * scale)[:, None, None, None]


def conv(w: Release, name: str, x: Tensor, stride: tuple[int, int, int] = (1, 1, 1)) -> Tensor:
    weight = w[f"{name}.weight"]
    return F.conv3d(x, weight, None, stride, tuple(k // 2 for k in weight.shape[2:]))


def srtg_forward(w: Release, depth: int, x: Tensor) -> Tensor:
    def built(name: str, x: Tensor, s: int) -> Tensor:
        if f"{name}.3.weight" not in w:
            return conv(w, f"{name}.0", x, (s, s, s))
        x = norm(w, f"{name}.1", conv(w, f"{name}.0", x, (1, s, s))).relu()
        return conv(w, f"{name}.3", x, (s, 1, 1))

    x = norm(w, "stem.1", conv(w, "stem.0", x, (1, 2, 2))).relu()
    if "stem.3.weight" in w:
        x = norm(w, "stem.4", conv(w, "stem.3", x)).relu()
    for stage, count in enumerate(BLOCKS[depth]):
        for block in range(count):
            at, s = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            if depth == 34:
                y = norm(w, f"{at}.conv1.1", built(f"{at}.conv1.0", x, s)).relu()
                y = norm(w, f"{at}.conv2.1", built(f"{at}.conv2.0", y, 1))
            else:
                y = norm(w, f"{at}.conv1.1", conv(w, f"{at}.conv1.0", x)).relu()
                y = norm(w, f"{at}.conv2.1", built(f"{at}.conv2.0", y, s)).relu()
                y = norm(w, f"{at}.conv3.1", conv(w, f"{at}.conv3.0", y))
            if f"{at}.downsample.0.weight" in w:
                x = norm(w, f"{at}.downsample.1", conv(w, f"{at}.downsample.0", x, (s, s, s)))
            x = (x + y).relu()
            cell = {k.rsplit(".", 1)[1]: v for k, v in w.items() if k.startswith(f"{at}.sar.lstm.")}
            if cell:
                lstm = nn.LSTM(x.shape[1], x.shape[1], 2).double()
                lstm.load_state_dict(cell)
                x = x * lstm(x.mean((3, 4)).permute(2, 0, 1))[0].permute(1, 2, 0)[..., None, None]
    return F.linear(x.mean((2, 3, 4)), w["fc.weight"], w["fc.bias"])


def hara_forward(w: Release, depth: int, x: Tensor) -> Tensor:
    def step(at: str, k: int, x: Tensor, s: tuple[int, int]) -> Tensor:
        if f"{at}conv{k}_s.weight" not in w:
            return norm(w, f"{at}bn{k}", conv(w, f"{at}conv{k}", x, (s[0], s[1], s[1])))
        x = norm(w, f"{at}bn{k}_s", conv(w, f"{at}conv{k}_s", x, (1, s[1], s[1]))).relu()
        return norm(w, f"{at}bn{k}_t", conv(w, f"{at}conv{k}_t", x, (s[0], 1, 1)))

    x = F.max_pool3d(step("", 1, x, (1, 2)).relu(), 3, 2, 1)
    for stage, count in enumerate(BLOCKS[depth]):
        for block in range(count):
            at, s = f"layer{stage + 1}.{block}.", 2 if stage and not block else 1
            y = x
            for k in (1, 2) if depth == 34 else (1, 2, 3):
                strided = s if k == (1 if depth == 34 else 2) else 1
                y = step(at, k, y if k == 1 else y.relu(), (strided, strided))
            if f"{at}downsample.0.weight" in w:
                x = norm(w, f"{at}downsample.1", conv(w, f"{at}downsample.0", x, (s, s, s)))
            elif x.shape != y.shape:
                x = F.avg_pool3d(x, 1, s)
                x = torch.cat([x, x.new_zeros(len(x), y.shape[1] - x.shape[1], *x.shape[2:])], 1)
            x = (x + y).relu()
    return F.linear(x.mean((2, 3, 4)), w["fc.weight"], w["fc.bias"])


def place(model: nn.Module, source: Release) -> tuple[dict[str, Tensor], list[str]]:
    """The source under the network's names, and the names without a place or with another shape."""
    own = model.state_dict()
    found, left = {}, []
    for name, tensor in source.items():
        target = next((t for t in candidates(name) if t in own), None)
        if target is None or own[target].shape != tensor.shape:
            left.append(name)
        else:
            assert target not in found, f"{name} and another name claim {target}"
            found[target] = tensor
    return found, left


RELEASED = {"num_classes": 400, "frames": 8, "width": 0.125}


@pytest.mark.parametrize("depth", [34, 50])
@pytest.mark.parametrize("kind", ["r3d", "r2plus1d", "srtg_r3d", "srtg_r2plus1d"])
def test_the_srtg_release_computes_the_same(depth: int, kind: str) -> None:
    source = srtg_release(depth, "2plus1d" in kind, "srtg" in kind, base=8)
    released = {"gate": "none", "fusion": "mul"} if "srtg" in kind else {}
    model = create_model(f"{kind}_{depth}", **RELEASED, max_pool=False, **released).double()
    found, left = place(model, source)
    assert not left
    model.load_state_dict(found)  # strict: nothing is missing
    x = torch.randn(2, 3, 8, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    # A product with states below 1 in every block leaves nothing of the clip unless each batch is normalised afresh.
    source.of_batch = True
    with torch.no_grad():
        expected = srtg_forward(source, depth, x)
        torch.testing.assert_close(model(x), expected)
        assert (expected[0] - expected[1]).std() > 0.05


@pytest.mark.parametrize(
    ("depth", "factorised", "shortcut"),
    [(34, False, "A"), (34, False, "B"), (50, False, "B"), (34, True, "B"), (50, True, "B")],
)
def test_3d_resnets_pytorch_computes_the_same(depth: int, factorised: bool, shortcut: str) -> None:
    source = hara_release(depth, factorised, base=8, shortcut=shortcut)
    options: dict = {"stem_frames": 7, "shortcut": shortcut}
    options |= {"middle": "convolution"} if factorised else {}
    options |= {} if depth == 34 else {"expansion": 4}
    model = create_model(f"{'r2plus1d' if factorised else 'r3d'}_{depth}", **RELEASED, **options).double().eval()
    found, left = place(model, source)
    assert not left
    model.load_state_dict(found)
    x = torch.randn(2, 3, 9, 33, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = hara_forward(source, depth, x)
        torch.testing.assert_close(model(x), expected)
        assert (expected[0] - expected[1]).std() > 0.05


def test_full_size_releases_fit() -> None:
    source = srtg_release(50, False, True, device="meta")
    assert len(source) == 442  # as the released file
    with torch.device("meta"):
        model, expanded = (
            create_model("srtg_r3d_50"),
            create_model("r2plus1d_101", middle="convolution", stem_frames=7, expansion=4),
        )
    found, left = place(model, Release("meta") | {f"module.{k}": v for k, v in source.items()})
    assert not left and set(found) == set(model.state_dict())
    hara = hara_release(101, True, device="meta")
    assert hara["conv1_s.weight"].shape[0] == 110 == middle_channels(3, 64, 7, 7)
    found, left = place(expanded, hara)
    assert not left and set(found) == set(expanded.state_dict())


def test_a_file_of_the_other_release_is_told_by_its_shapes() -> None:
    with torch.device("meta"):
        model = create_model("r3d_50")
    found, left = place(model, hara_release(50, False, device="meta"))
    assert "conv1.weight" in left and "layer1.0.conv3.weight" in left
    assert "layer1.0.conv1.weight" in found


def differences(model: VideoModel, tensors: dict[str, Tensor]) -> list[str]:
    options = model.architecture["options"]
    return implied_for(model, options, tensors).differences(options)


def test_a_checkpoint_called_srtg_may_be_the_plain_network() -> None:
    with torch.device("meta"):
        model, plain = create_model("srtg_r3d_50"), create_model("r3d_50")
    source = srtg_release(50, False, False, device="meta")
    found, left = place(model, source)
    assert not left
    missing = set(model.state_dict()) - set(found)
    assert len(missing) == 16 * 8 and all(NEW.search(name) for name in missing)
    (recurrent,) = remarks(model.state_dict(), source)
    assert recurrent.startswith("the file has no recurrent weights")
    assert remarks(plain.state_dict(), source) == []

    whole = srtg_release(50, False, True, device="meta")
    assert remarks(model.state_dict(), [f"module.{name}" for name in whole]) == []
    for network, file in ((model, source), (plain, source), (model, whole), (plain, whole)):
        found = differences(network, {f"module.{name}": tensor for name, tensor in file.items()})
        told = " ".join(found)
        assert "max_pool=False" in told
        # The recurrent weights of the release belong to a product without gates.
        product = network is model and file is whole
        assert ("gate='none'" in told and "fusion='mul'" in told) == product, told
    assert set(place(plain, whole)[1]) == {name for name in whole if ".sar." in name}
    assert remarks(plain.state_dict(), hara_release(50, False, device="meta")) == []


def test_own_names_stand_for_themselves() -> None:
    for name in ("srtg_r2plus1d_34", "srtg_r3d_50"):
        with torch.device("meta"):
            own = create_model(name).state_dict()
        for key in own:
            assert candidates(key) == [key]
