"""The non-local block: every position of a clip uses all others."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops.arguments import Count, checked
from kinema.ops.conv import Conv3d
from kinema.ops.layout import fold_time, unfold_time
from kinema.ops.precision import full_precision, widen

Attention = Literal["embedded_gaussian", "gaussian", "dot_product"]
SubSample = Literal["none", "after", "before"]


class NonLocal(nn.Module):
    """`x + BN(W y)` with `y_i = 1 / C(x) sum_j f(x_i, x_j) g(x_j)` over all positions j of the clip; N C T H W -> same.

    The bottleneck has half the channels. The last BatchNorm starts at zero, so that a new block changes nothing. The
    convolutions start small; otherwise the softmax would start by selecting a single position.

    Args:
        channels: C.
        attention: f. `embedded_gaussian`: the softmax over j of `theta(x_i) . phi(x_j)`. `gaussian`: the same without
            theta and phi. `dot_product`: `theta(x_i) . phi(x_j)` over the number of positions j.
        sub_sample: maximum over 2x2 pixels of a frame, which reduces the number of j: `after` phi and g, as in the
            paper and mmaction2; `before` them, as in the authors' code and PySlowFast; `none`, as in gluon-cv. A last
            odd row or column is dropped; a side of one pixel stays.
        scaled: divide the input of the softmax by the root of its number of channels. The paper and mmaction2 do not,
            PySlowFast and gluon-cv do.

    Source: Wang et al., Non-local neural networks, CVPR 2018, equations 1 to 4 and 6, section 3.3.
    """

    @checked
    def __init__(
        self,
        channels: Count,
        *,
        attention: Attention = "embedded_gaussian",
        sub_sample: SubSample = "after",
        scaled: bool = False,
    ) -> None:
        super().__init__()
        if scaled and attention == "dot_product":
            raise KinemaError("NonLocal: scaled is True; give False with attention='dot_product', which has no softmax")
        self.attention, self.sub_sample, self.scaled = attention, sub_sample, scaled
        inner = max(1, channels // 2)
        embedded = attention != "gaussian"
        self.theta = Conv3d(channels, inner, 1) if embedded else nn.Identity()
        self.phi = Conv3d(channels, inner, 1) if embedded else nn.Identity()
        self.g = Conv3d(channels, inner, 1)
        self.out = Conv3d(inner, channels, 1)
        self.bn = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.bn.weight)
        for conv in self.children():
            if isinstance(conv, Conv3d) and conv.bias is not None:
                nn.init.normal_(conv.weight, std=0.01)
                if conv.bias is not None:
                    nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> the same."""
        n, _, t, h, w = x.shape
        seen = _halve(x) if self.sub_sample == "before" else x
        queries, keys, values = self.theta(x), self.phi(seen), self.g(seen)
        if self.sub_sample == "after":
            keys, values = _halve(keys), _halve(values)
        q, k, v = (_positions(z) for z in (queries, keys, values))
        y = attend(q, k, v, self.attention, scaled=self.scaled)
        y = y.to(values.dtype).view(n, t, h, w, -1).permute(0, 4, 1, 2, 3)
        return x + self.bn(self.out(y))


def attend(queries: Tensor, keys: Tensor, values: Tensor, attention: Attention, *, scaled: bool = False) -> Tensor:
    """Computes the weighted mean of values over all positions, in float32 at least, also under autocast.

    Args:
        queries: N L C.
        keys: N M C.
        values: N M C'.
        attention: see `NonLocal`; both Gaussian ones are the softmax of the products.
        scaled: see `NonLocal`.

    Returns:
        N L C'.
    """
    with full_precision(queries):
        queries, keys, values = widen(queries), widen(keys), widen(values)
        if attention == "dot_product":
            many, few, c = queries.shape[1], *keys.shape[1:]
            values = values / few
            if c * (many + few) < 2 * many * few:  # the same product, ordered so that no M x L matrix is computed
                return queries @ (keys.transpose(1, 2) @ values)
            return queries @ keys.transpose(1, 2) @ values
        q, k, v = (z.unsqueeze(1) for z in (queries, keys, values))  # one head
        return F.scaled_dot_product_attention(q, k, v, scale=None if scaled else 1.0).squeeze(1)


def _positions(x: Tensor) -> Tensor:
    """N C T H W -> N (T H W) C, a view of channels-last memory."""
    return x.permute(0, 2, 3, 4, 1).flatten(1, 3)


def _halve(x: Tensor) -> Tensor:
    size = (min(2, x.shape[3]), min(2, x.shape[4]))
    return unfold_time(F.max_pool2d(fold_time(x), size), x.shape[2])
