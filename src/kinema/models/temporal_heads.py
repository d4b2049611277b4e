"""The heads that CIDC is compared with (table 5a): an LSTM and self-attention on the last stage of a network.

Source: Li, Shuai and Tighe, Directional Temporal Modeling for Action Recognition, ECCV 2020, section 4.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.models.attached import Attached, Backbone
from kinema.models.checkpointing import Stack
from kinema.models.registry import register
from kinema.models.video_model import Watch, average, unchanged
from kinema.ops.arguments import Count
from kinema.ops.precision import full_precision
from kinema.ops.recurrence import LSTM


class LSTMHead(Attached):
    """The features of each step, averaged over the picture, go through an LSTM; its last state is concatenated to them.

    The classifier receives the mean features of the clip and the last state of the top layer.

    Args:
        backbone: network whose features it uses.
        num_classes: number of outputs of the classifier.
        hidden: number of channels of the states.
        layers: number of stacked cells.
        dropout: dropout rate before the classifier.
    """

    def __init__(self, backbone: Backbone, num_classes: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(backbone)
        channels = self.shapes[self.feature_maps[-1]].channels
        self.lstm = LSTM(channels, hidden, layers)
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(channels + hidden, num_classes)
        self.start()

    def run_stages(self, x: Tensor, watch: Watch = unchanged) -> Tensor:
        """N 3 T H W -> N C T' H' W', the output of the last stage of the backbone."""
        last = self.feature_maps[-1]
        return self.maps(x, [last], watch)[last]

    def pool(self, features: Tensor) -> Tensor:
        """N C T H W -> N F, the mean of the steps and the last state of the LSTM."""
        steps = average(features, (3, 4))  # N C T
        with full_precision(steps):  # PyTorch does not have a float16 LSTM on every device
            states, _ = self.lstm(steps.permute(2, 0, 1).to(next(self.lstm.parameters()).dtype))
        return torch.cat([average(steps, (2,)), states[-1].to(steps.dtype)], 1)


class SelfAttention(nn.Module):
    """Multi-head dot-product attention between all positions of a clip, added to its input, then LayerNorm.

    N C T H W -> the same. The paper projects with 1x1x1 convolutions, which equal linear layers on positions.

    Args:
        channels: C.
        heads: number of heads, a divisor of C.

    Source: Vaswani et al., Attention is all you need, NIPS 2017, section 3.2, without the feed-forward layers.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels, bias=False) for _ in range(4))
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> the same."""
        n, c, t, h, w = x.shape
        tokens = x.permute(0, 2, 3, 4, 1).reshape(n, t * h * w, c)
        q, k, v = (
            layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        met = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y = self.norm(tokens + self.out(met))
        return y.view(n, t, h, w, c).permute(0, 4, 1, 2, 3)


class AttentionHead(Attached):
    """Self-attention between all positions of the last stage; its result is concatenated to the features.

    There is no positional encoding, as in the paper. If the features of each frame are computed separately, the network
    therefore does not see the order of the frames.

    Args:
        backbone: network whose features it uses.
        num_classes: number of outputs of the classifier.
        heads: number of heads per layer.
        layers: number of attention layers.
        dropout: dropout rate before the classifier.
    """

    def __init__(self, backbone: Backbone, num_classes: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__(backbone)
        self.last = self.feature_maps[-1]
        self.feature_maps = (*self.feature_maps, "attention")
        channels = self.shapes[self.last].channels
        if channels % heads:
            raise KinemaError(
                f"heads is {heads}: the last stage of {backbone.name} has {channels} channels, give a divisor"
            )
        self.attention = Stack(*(SelfAttention(channels, heads) for _ in range(layers)))
        self.dropout = nn.Dropout(dropout)
        self.add_classifier(2 * channels, num_classes)
        self.start()

    def run_stages(self, x: Tensor, watch: Watch = unchanged) -> Tensor:
        """N 3 T H W -> N 2C T' H' W': the features of the backbone, then those of the attention, as channels."""
        f = self.maps(x, [self.last], watch)[self.last]
        return torch.cat([f, watch("attention", self.regularised("attention", self.attention(f)))], 1)


@register({"lstm_head": {}}, paper="CIDC, ECCV 2020 (table 5)")
def lstm_head(
    num_classes: int = 400,
    frames: int | None = None,
    width: float = 1.0,
    *,
    backbone: str = "i3d_50",
    backbone_options: Mapping[str, Any] | None = None,
    freeze_backbone: bool = False,
    hidden: Count = 512,
    layers: Count = 2,
    dropout: float = 0.6,
) -> LSTMHead:
    """An LSTM on the time steps of another network.

    Args:
        num_classes: number of outputs.
        frames: T; None is the default of the backbone.
        width: factor of the channels of the backbone and of the LSTM.
        backbone: name of a model (see `kinema models`).
        backbone_options: further options of the backbone.
        freeze_backbone: train only the head.
        hidden: channels of the LSTM's states at width 1.
        layers: number of stacked cells.
        dropout: dropout rate before the classifier; the paper states that of CIDC.
    """
    states = max(1, round(hidden * width))
    base = Backbone(backbone, frames, width, backbone_options, freeze_backbone)
    return LSTMHead(base, num_classes, states, layers, dropout)


@register({"attention_head": {}}, paper="CIDC, ECCV 2020 (table 5)")
def attention_head(
    num_classes: int = 400,
    frames: int | None = None,
    width: float = 1.0,
    *,
    backbone: str = "i3d_50",
    backbone_options: Mapping[str, Any] | None = None,
    freeze_backbone: bool = False,
    heads: Count = 8,
    layers: Count = 2,
    dropout: float = 0.6,
) -> AttentionHead:
    """Self-attention on the last stage of another network.

    Args:
        num_classes: number of outputs.
        frames: T; None is the default of the backbone.
        width: factor of the channels of the backbone.
        backbone: name of a model (see `kinema models`).
        backbone_options: further options of the backbone.
        freeze_backbone: train only the head.
        heads: heads per layer, a divisor of the backbone's channels. The paper does not say; its source uses 8.
        layers: number of attention layers.
        dropout: dropout rate before the classifier; the paper states that of CIDC.
    """
    base = Backbone(backbone, frames, width, backbone_options, freeze_backbone)
    return AttentionHead(base, num_classes, heads, layers, dropout)
