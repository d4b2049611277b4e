"""Class Feature Pyramids: networks whose answer is known, people's own networks, and every network of the zoo."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from explain.networks import FRAMES, SIDE, Own, Planted, clip, families, left_as_it_was, zoo
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.explain import Pyramid, class_feature_pyramid, explain
from kinema.explain.pyramid.walk import default_threshold


class Made(nn.Module):
    """Bright maps everywhere: a stem whose channels are all 1, a body, the mean, a classifier of equal rows."""

    feature_maps = ("stem", "body")

    def __init__(self, channels: int, body: nn.Module, features: int, chosen: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, channels, 1)
        nn.init.zeros_(self.stem.weight)
        nn.init.ones_(self.stem.bias)  # type: ignore[arg-type]
        self.body = body
        self.classifier = nn.Linear(features, 2)
        with torch.no_grad():
            self.classifier.weight.zero_()
            self.classifier.weight[1, list(chosen)] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(self.stem(x)).mean((2, 3, 4)))


def conv(links: dict[int, set[int]], channels: int, out_channels: int, *, size: int = 1, groups: int = 1) -> nn.Conv3d:
    """A convolution whose output j is 1 where its inputs `links[j]` are; with groups, numbers are within the group."""
    made = nn.Conv3d(channels, out_channels, size, padding=size // 2, groups=groups, bias=False)
    nn.init.zeros_(made.weight)
    with torch.no_grad():
        for j, inputs in links.items():
            made.weight[j, list(inputs), size // 2, size // 2, size // 2] = 1.0 / len(inputs)
    return made


def chosen(pyramid: Pyramid, layer: str) -> set[int]:
    return {node.channel for node in pyramid.of_layer(layer)}


def links(pyramid: Pyramid, above: str, below: str) -> set[tuple[int, int]]:
    return {(p.channel, c.channel) for p, c in pyramid.edges if (p.layer, c.layer) == (above, below)}


class Residual(nn.Module):
    """Two convolutions beside a shortcut; both added, with an in-place sum and ReLU as in the zoo."""

    def __init__(self, first: nn.Module, second: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = first, second, shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.relu(self.first(x)))
        return self.relu(y.add_(x if self.shortcut is None else self.shortcut(x)))


def test_a_hand_built_network_gives_the_channels_that_it_was_built_for() -> None:
    body = nn.Sequential(conv({2: {1, 4}, 0: {5}}, 6, 3), nn.BatchNorm3d(3), nn.ReLU(inplace=True))
    pyramid = class_feature_pyramid(Made(6, body, 3, (2, 0)), clip(), 1, depth=2)
    assert pyramid.levels == (("classifier",), ("body.0",), ("stem",))
    assert pyramid.nodes[0][:2] == ("classifier", 1) and 0 < pyramid.nodes[0].score < 1
    assert links(pyramid, "classifier", "body.0") == {(1, 0), (1, 2)}
    assert links(pyramid, "body.0", "stem") == {(2, 1), (2, 4), (0, 5)}
    assert len(pyramid.nodes) == 6 and all(node.score == 1 for node in pyramid.nodes[1:])


def test_an_identity_shortcut_passes_channels_unchanged_beside_the_main_path() -> None:
    body = Residual(conv({0: {3}, 1: {2}}, 4, 2, size=3), conv({1: {0}, 2: {1}}, 2, 4, size=3))
    model = Made(4, body, 4, (1,))
    pyramid = class_feature_pyramid(model, clip(), 1, depth=3)
    assert pyramid.levels == (("classifier",), ("body.second",), ("body.first",), ("stem",))
    assert links(pyramid, "body.second", "body.first") == {(1, 0)}
    assert links(pyramid, "body.second", "stem") == {(1, 1)}  # the very channel
    assert links(pyramid, "body.first", "stem") == {(0, 3)}
    assert chosen(pyramid, "stem") == {1, 3}
    # The shortcut is as long as the branch: one step less does not reach its other end.
    assert class_feature_pyramid(model, clip(), 1, depth=2).levels[-1] == ("body.first",)


def test_a_shortcut_that_is_a_convolution_is_walked() -> None:
    body = Residual(conv({0: {3}}, 4, 2), conv({1: {0}}, 2, 4), conv({1: {0, 2}}, 4, 4))
    pyramid = class_feature_pyramid(Made(4, body, 4, (1,)), clip(), 1, depth=3)
    assert links(pyramid, "body.second", "stem") == {(1, 0), (1, 2)}
    assert links(pyramid, "body.first", "stem") == {(0, 3)}


def test_a_chain_of_identity_shortcuts_is_followed_block_by_block() -> None:
    blocks = [Residual(conv({0: {k}}, 4, 1), conv({2: {0}}, 1, 4)) for k in (0, 1, 3)]
    pyramid = class_feature_pyramid(Made(4, nn.Sequential(*blocks), 4, (2,)), clip(), 1, depth=9)
    assert [level[0] for level in pyramid.levels[1:]] == [
        "body.2.second", "body.2.first", "body.1.second", "body.1.first", "body.0.second", "body.0.first", "stem",
    ]  # fmt: skip
    assert links(pyramid, "body.2.first", "body.1.second") == {(0, 3)}
    assert links(pyramid, "body.2.second", "body.1.second") == {(2, 2)}
    assert links(pyramid, "body.0.second", "stem") == {(1, 1), (2, 2), (3, 3)}  # what later blocks read


class Branches(nn.Module):
    """Inception: branches of one and two convolutions, and a pooled one, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.short = conv({0: {0}, 1: {1}}, 4, 2)
        self.reduce, self.long = conv({0: {2}}, 4, 1), conv({0: {0}}, 1, 2, size=3)
        self.pooled = conv({0: {3}}, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(F.max_pool3d(x, 3, 1, 1))
        return torch.cat([self.short(x), F.relu(self.long(F.relu(self.reduce(x)))), pooled], 1)


def test_branches_count_as_long_as_the_longest() -> None:
    pyramid = class_feature_pyramid(Made(4, Branches(), 5, (0, 2, 4)), clip(), 1, depth="body")
    assert [set(level) for level in pyramid.levels] == [
        {"classifier"}, {"body.short", "body.long", "body.pooled"}, {"body.reduce"}, {"stem"},
    ]  # fmt: skip
    assert links(pyramid, "classifier", "body.long") == {(1, 0)}
    assert links(pyramid, "body.short", "stem") == {(0, 0)}
    assert links(pyramid, "body.pooled", "stem") == {(0, 3)}
    assert links(pyramid, "body.reduce", "stem") == {(0, 2)}


@pytest.mark.parametrize("mode", ["feature", "layer", "group"])
def test_grouped_and_channelwise_layers_keep_to_their_groups(mode: str) -> None:
    grouped = conv({0: {1}, 1: {0}, 2: {0, 1}, 3: {1}}, 4, 4, size=3, groups=2)
    thin = conv({j: {0} for j in range(4)}, 4, 4, size=3, groups=4)
    model = Made(4, nn.Sequential(grouped, nn.SiLU(), thin), 4, (0, 2))
    pyramid = class_feature_pyramid(model, clip(), 1, depth=3, mode=mode, threshold=0.4)
    assert links(pyramid, "body.2", "body.0") == {(0, 0), (2, 2)}
    assert links(pyramid, "body.0", "stem") == {(0, 1), (2, 2), (2, 3)}


def test_layer_wise_chooses_one_set_for_a_layer() -> None:
    body = conv({0: {0, 1}, 1: {0, 2}}, 4, 3)
    by_feature = class_feature_pyramid(Made(4, body, 3, (0, 1)), clip(), 1, depth=2, threshold=0.9)
    assert links(by_feature, "body", "stem") == {(0, 0), (0, 1), (1, 0), (1, 2)}
    by_layer = class_feature_pyramid(Made(4, body, 3, (0, 1)), clip(), 1, depth=2, threshold=0.9, mode="layer")
    assert links(by_layer, "body", "stem") == {(0, 0), (1, 0)}  # both need it


class Moves(nn.Module):
    """What networks do to channels between layers, one way per name."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.last = way, conv({1: {2}}, 4, 2)
        self.excite = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Conv3d(4, 4, 1), nn.Sigmoid())
        self.cell = nn.GRU(4, 4)
        with torch.no_grad():
            self.cell.bias_ih_l0[8:] = 5.0  # states above 0

    def forward(self, x: Tensor) -> Tensor:
        n, _, t, h, w = x.shape
        if self.way == "excited":
            x = x * self.excite(x)
        elif self.way == "recurrent":
            x = x * self.cell(x.mean((3, 4)).permute(2, 0, 1))[0].permute(1, 2, 0)[..., None, None]
        elif self.way == "shuffled":
            x = x.view(n, 2, 2, t, h, w).transpose(1, 2).flatten(1, 2)[:, [0, 2, 1, 3]]
        elif self.way == "shifted":
            x = torch.cat([F.pad(x[:, :2, 1:], (0, 0, 0, 0, 0, 1)), x[:, 2:]], 1)
        elif self.way == "frames":
            y = x.transpose(1, 2).flatten(0, 1)
            y = F.max_pool2d(F.hardtanh(y, 0, 6), 3, 2, 1)
            x = y.unflatten(0, (n, t)).transpose(1, 2)
        elif self.way == "filled":
            y = x.new_zeros(n, 6, t, h, w)
            y[:, 1:5] = x
            x = y[:, 1:5].clone()
        elif self.way == "attended":
            q = x.flatten(2).transpose(1, 2)
            x = F.scaled_dot_product_attention(q, q, q).transpose(1, 2).view_as(x)
        elif self.way == "resized":
            x = F.interpolate(x, scale_factor=(1, 0.5, 0.5), mode="trilinear").contiguous()
        elif self.way == "reversed":
            x = x.flip(1, 2).flip(1).index_select(2, torch.arange(t - 1, 0, -2))
        elif self.way == "split":
            x = torch.cat([part.relu() for part in x.chunk(2, 1)], 1)
        return self.last(x)


WAYS = ("plain", "excited", "recurrent", "shuffled", "shifted", "frames", "filled", "attended", "resized", "reversed",
        "split")  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_channels_are_followed_through_what_lies_between_layers(way: str) -> None:
    pyramid = class_feature_pyramid(Made(4, Moves(way), 2, (1,)), clip(), 1, depth=2)
    assert links(pyramid, "body.last", "stem") == {(1, 2)}
    assert pyramid.maps[2].dim() == 3


class Functional(nn.Module):
    """Weights that are no module: a dense convolution, a channel-wise one, a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Parameter(conv({1: {0, 3}}, 4, 3).weight.detach())
        self.thin = nn.Parameter(torch.ones(3, 1, 1, 3, 3))
        self.matrix = nn.Parameter(torch.eye(3)[:2])

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv3d(F.conv3d(x, self.dense), self.thin, groups=3, padding=(0, 1, 1))
        return F.linear(y.movedim(1, 4), self.matrix).movedim(4, 1)


def test_operations_with_weights_that_are_no_modules_are_layers() -> None:
    model = Made(4, Functional(), 2, (1,))
    pyramid = class_feature_pyramid(model, clip(), 1, depth=3)
    assert pyramid.levels == (("classifier",), ("body.weights#2",), ("body.weights",), ("stem",))
    assert links(pyramid, "body.weights", "stem") == {(1, 0), (1, 3)}
    assert links(pyramid, "body.weights#2", "body.weights") == {(1, 1)}


class Opaque(nn.Module):
    """Mixes channels by sorting, which nothing can follow; in effect output j is the input 3 - j."""

    def forward(self, x: Tensor) -> Tensor:
        order = torch.arange(4.0, 0, -1).to(x)[None, :, None, None, None]
        values = (x + 10 * order).sort(1).values - 10 * order.flip(1)
        return torch.fft.ifft(torch.fft.fft(values.double(), dim=1), dim=1).real.to(x.dtype)


def test_a_stage_that_cannot_be_followed_is_walked_by_its_gradient() -> None:
    model = Made(4, Opaque(), 4, (1,))
    pyramid = class_feature_pyramid(model, clip(), 1, depth=2)
    assert pyramid.levels == (("classifier",), ("body",), ("stem",))
    assert links(pyramid, "body", "stem") == {(1, 2)}


def test_a_module_that_runs_twice_is_two_layers() -> None:
    pyramid = class_feature_pyramid(Own(), clip(), 1, depth=9)
    assert pyramid.levels == (("classifier",), ("second.0",), ("shared#2",), ("shared",), ("first.0",))


def test_a_stage_without_layers_ends_the_pyramid() -> None:
    pyramid = class_feature_pyramid(Planted(torch.rand(3, 2, 4, 4), torch.tensor([[0.0, 1.0, 0.0]])), clip(), 0)
    assert [node[:2] for node in pyramid.nodes] == [("classifier", 0), ("stage", 1)]
    assert pyramid.volume(pyramid.nodes[1]).shape == (FRAMES, SIDE, SIDE)


def by_hand(model: nn.Module, x: Tensor, target: int, theta: float) -> list[set[int]]:
    """The channels of the last block of a basic ResNet, layer by layer, written out."""
    stored: dict[str, Tensor] = {}
    block = model.get_submodule("layer4.2")
    for name in ("conv1", "conv2"):
        block.get_submodule(name).register_forward_pre_hook(
            lambda _, given, name=name: stored.__setitem__(name, given[0].detach().clone())
        )
    with torch.no_grad():
        pooled = model.forward_features(x).mean((0, 2, 3, 4))  # type: ignore[operator]

    def pick(p: Tensor) -> set[int]:
        p = (p - p.min()) / (p.max() - p.min())
        return {i for i in range(len(p)) if p[i] >= theta}

    sets = [pick(model.classifier.weight.detach()[target] * pooled)]  # type: ignore[operator,union-attr,index]
    for name in ("conv2", "conv1"):
        mean, kernel = stored[name].mean((0, 2, 3, 4)), block.get_submodule(name).weight.detach().mean((2, 3, 4))  # type: ignore[operator,union-attr]
        sets.append(set().union(*(pick(kernel[j] * mean) for j in sets[-1])))
    sets[2] |= sets[0]  # along the shortcut
    return sets


@pytest.mark.parametrize("theta", [0.5, 0.8, 1.0])
def test_a_residual_network_of_the_zoo_against_a_slow_reference(theta: float) -> None:
    model, x = zoo("r3d_34"), clip()
    pyramid = class_feature_pyramid(model, x, 2, threshold=theta)
    layers = ("layer4.2.conv2", "layer4.2.conv1", "layer4.1.conv2")
    assert [chosen(pyramid, layer) for layer in layers] == by_hand(model, x, 2, theta)


@pytest.mark.parametrize("theta", [0.0, 0.5, 0.9])
def test_a_higher_threshold_gives_a_part_of_the_pyramid(theta: float) -> None:
    model = zoo("resnext3d_50")
    low, high = (class_feature_pyramid(model, clip(), 0, threshold=t) for t in (theta, theta + 0.1))
    assert {node[:2] for node in high.nodes} <= {node[:2] for node in low.nodes}
    ends = [{(p[:2], c[:2]) for p, c in one.edges} for one in (high, low)]
    assert ends[0] <= ends[1]


@pytest.mark.parametrize("name", families())
def test_every_network_of_the_zoo(name: str) -> None:
    model, x = zoo(name), clip()
    with left_as_it_was(model):
        pyramid = class_feature_pyramid(model, x, 1)
    with torch.no_grad():
        score = float(model(x).double().softmax(1)[0, 1])
    assert pyramid.nodes[0] == ("classifier", 1, score)
    assert pyramid.depth == 3 and len(pyramid.nodes) > 3
    numbers = {node: i for i, node in enumerate(pyramid.nodes)}
    level = {layer: step for step, layers in enumerate(pyramid.levels) for layer in layers}
    for parent, child in pyramid.edges:
        assert level[parent.layer] < level[child.layer] and numbers[parent] < numbers[child]
    reached = {child for _, child in pyramid.edges}
    assert reached == set(pyramid.nodes[1:])  # nothing stands alone
    shown = next(node for node in pyramid.nodes[1:] if pyramid.number_of(node) in pyramid.maps)
    volume = pyramid.volume(shown)
    assert volume.shape == (FRAMES, SIDE, SIDE) and 0 <= volume.min() <= volume.max() <= 1


def test_two_pathways_are_branches() -> None:
    pyramid = class_feature_pyramid(zoo("slowfast_50"), clip(), 1, threshold=0.0, depth=1)
    assert set(pyramid.levels[1]) == {"layer4.slow.2.conv3", "layer4.fast.2.conv3"}
    assert all(pyramid.of_layer(layer) for layer in pyramid.levels[1])


def test_thresholds_of_the_thesis() -> None:
    assert [default_threshold(zoo(name)) for name in ("i3d_v1", "r3d_34", "slowfast_50", "tsn_r18")] == [
        0.65, 0.55, 0.65, 0.6,
    ]  # fmt: skip
    assert default_threshold(Own()) == 0.6


@pytest.mark.parametrize("depth", ["layer4.2", "layer4", 4])
def test_depth_is_a_number_of_steps_or_a_module(depth: int | str) -> None:
    pyramid = class_feature_pyramid(zoo("i3d_50"), clip(), 1, depth=depth, threshold=0.9)
    assert pyramid.depth == (10 if depth == "layer4" else 4)
    last = "layer3.5.conv3" if depth == "layer4" else "layer4.1.conv3"
    assert pyramid.levels[-1] == (last,)


def test_a_block_of_inception_is_what_the_thesis_calls_one_and_mixed5c() -> None:
    model = zoo("i3d_v1")
    assert class_feature_pyramid(model, clip(), 1, depth="layer4.mixed_c") == class_feature_pyramid(model, clip(), 1)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda model: model.train(),
        lambda model: model.requires_grad_(False),
        lambda model: model.set_grad_checkpointing(True),
    ],
)
def test_modes_and_graphs_make_no_difference(prepare: Callable[[nn.Module], object]) -> None:
    model = zoo("r2plus1d_34")
    expected = class_feature_pyramid(model, clip(), 1)
    prepare(model)
    with left_as_it_was(model), torch.inference_mode():
        assert class_feature_pyramid(model, clip(), 1) == expected


def test_half_precision_runs() -> None:
    pyramid = class_feature_pyramid(zoo("r3d_34").bfloat16(), clip(), 1)
    assert len(pyramid.nodes) > 10 and pyramid.volume(pyramid.nodes[1]).dtype == torch.float32


def test_the_network_is_left_as_it_was_after_an_error() -> None:
    def broken(stage: nn.Module, x: Tensor) -> Tensor:
        raise RuntimeError("broken")

    model = Own(inside=broken)
    with left_as_it_was(model), pytest.raises(RuntimeError, match="broken"):
        class_feature_pyramid(model, clip(), 1)


def test_a_network_of_a_fixed_size_is_followed_on_its_own_clip() -> None:
    class Fixed(Own):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[2:] == (8, 40, 40)
            return super().forward(x)

    assert class_feature_pyramid(Fixed(), clip(side=40), 1).levels[1] == ("second.0",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth is 0"),
        ({"depth": True}, "depth is True"),
        ({"depth": 1.5}, "depth is 1.5"),
        ({"depth": "secnd"}, "did you mean 'second'"),
        ({"depth": "relu"}, "depth is 'relu'"),
        ({"threshold": -0.1}, "threshold is -0.1"),
        ({"threshold": 1.01}, "threshold is 1.01"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"threshold": "0.5"}, "threshold is '0.5'"),
        ({"mode": "features"}, "did you mean 'feature'"),
        ({"mode": "kernel"}, "mode 'kernel'"),
        ({"start": "weight"}, "did you mean 'weights'"),
    ],
)
def test_arguments_outside_their_domain(options: dict[str, object], message: str) -> None:
    with pytest.raises(KinemaError, match=message):
        class_feature_pyramid(Own(), clip(), 1, **options)


@pytest.mark.parametrize("target", [3, -1, True, "walk", None])
def test_a_class_that_does_not_exist(target: object) -> None:
    with pytest.raises(KinemaError, match="target is"):
        class_feature_pyramid(Own(), clip(), target)  # type: ignore[arg-type]


def test_networks_without_the_needed_structure() -> None:
    with pytest.raises(KinemaError, match="classifier"):
        class_feature_pyramid(nn.Sequential(nn.Conv3d(3, 2, 1)), clip(), 0)
    with pytest.raises(KinemaError, match="classifier"):
        class_feature_pyramid(_headless(), clip(), 0)
    with pytest.raises(KinemaError, match="2 clips"):
        class_feature_pyramid(Own(), clip().repeat(2, 1, 1, 1, 1), 0)
    broken = Own()
    nn.init.constant_(broken.first[0].weight, float("nan"))
    with pytest.raises(KinemaError, match="not finite"):
        class_feature_pyramid(broken, clip(), 0)


def _headless() -> nn.Module:
    class Unused(Own):
        def forward(self, x: Tensor) -> Tensor:
            features = self.second(self.shared(self.relu(self.first(x)))).mean((2, 3, 4))
            return F.linear(features, self.classifier.weight)

    return Unused()


def test_as_a_method_of_explain() -> None:
    found = explain(zoo("r3d_34"), clip(), "pyramid", "top3", depth=2, mode="layer")
    assert len(found) == 3 and {one.layer for one in found} == {None}
    for one in found:
        assert one.map is not None and one.map.shape == (FRAMES, SIDE, SIDE)
        assert one.result.target == one.target and one.result.depth == 2
        assert one.details["channels"] == len(one.result.nodes) - 1
    with pytest.raises(KinemaError, match="did you mean 'depth'"):
        explain(zoo("r3d_34"), clip(), "pyramid", dept=2)
