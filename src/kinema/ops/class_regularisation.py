"""Class Regularisation: weights of the most likely class scale the channels of a stage (thesis, algorithm 1)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kinema.ops.arguments import Count, Range, checked
from kinema.ops.precision import full_precision, wide_dtype

Bounds = Literal["shrink", "symmetric"]
Choice = Literal["sum", "max"]


class ClassRegularisation(nn.Module):
    """Scales each channel by how important it is for the class that the features resemble most.

    `V = ReLU(W M^T)` maps the classifier's weights W (K C') to the channels of the stage (K C) with the trained map M.
    For each sample, the class n with the highest score is chosen; its row `V[n]`, scaled to [0, 1] over the channels,
    gives the gains `lambda + (1 - lambda) * row`. The printed algorithm lacks this plus sign, so that lambda = 1 would
    silence the network, which contradicts its text. With the sign, lambda = 1 changes nothing, and the effect grows as
    lambda decreases.

    The score of a class follows from the products `V[n] * mean(x)` of all channels. The thesis compares these vectors
    without saying how; `choice` offers two readings of its text. Among classes with equal scores, the first is chosen.
    Gradients reach x and M, but never W, and do not pass through the choice.

    Args:
        classifier_features: C', number of inputs of the classifier.
        channels: C, number of channels of the stage.
        strength: lambda, 0 to 1.
        bounds: range of the gains: `shrink` is [lambda, 1]; `symmetric` is [lambda, 2 - lambda], which is also the
            identity at lambda = 1, for the text's "amplified".
        choice: score of a class: `sum` of its products, the logit of "the top-1 selection in the final class prediction
            layer", or `max`, the largest of them over the channels, "the maximum activation instance".
    """

    @checked
    def __init__(
        self,
        classifier_features: Count,
        channels: Count,
        strength: Annotated[float, Range(0, 1)],
        *,
        bounds: Bounds = "shrink",
        choice: Choice = "sum",
    ) -> None:
        super().__init__()
        self.strength, self.bounds, self.choice = strength, bounds, choice
        self.weight = nn.Parameter(torch.empty(channels, classifier_features))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, classifier_weight: Tensor) -> Tensor:
        """N C T H W and K C' -> N C T H W."""
        if self.strength == 1:
            return x
        return x * self.gains(x, classifier_weight).to(x.dtype)[:, :, None, None, None]

    def gains(self, x: Tensor, classifier_weight: Tensor) -> Tensor:
        """Computes the factor of every channel: features N C T H W and weights K C' -> N C in float32 or wider."""
        # In float32 or wider: differences between channels are small compared with their size.
        wide = wide_dtype(x, classifier_weight, self.weight)
        with full_precision(x):
            rows = (classifier_weight.detach().to(wide) @ self.weight.to(wide).T).relu()  # K C
            with torch.no_grad():
                pooled = x.mean((2, 3, 4), dtype=wide)  # N C
                chosen = (pooled @ rows.T).argmax(1) if self.choice == "sum" else _highest_product(pooled, rows)  # N
            row = rows[chosen]  # N C
            low, high = row.amin(1, keepdim=True), row.amax(1, keepdim=True)
            flat = high == low
            share = (row - low) / torch.where(flat, 1.0, high - low)
            top = 1.0 if self.bounds == "shrink" else 2 - self.strength
            return torch.where(flat, 1.0, self.strength + (top - self.strength) * share)


def _highest_product(pooled: Tensor, rows: Tensor) -> Tensor:
    """Returns per sample the class of the largest product `rows[k, c] * pooled[n, c]` over all c; N C, K C -> N."""
    # Per channel, the largest product belongs to the largest or the smallest row, depending on the sign of the feature,
    # so that the N K C products need not be computed.
    positive = pooled > 0
    (high, first_high), (low, first_low) = rows.max(0), rows.min(0)
    products = pooled * torch.where(positive, high, low)
    classes = torch.where(positive, first_high, first_low).masked_fill(pooled == 0, 0)  # all products are 0
    best = products.amax(1, keepdim=True)
    # If features are NaN, no class is the best; the last class is then at least a valid one.
    return torch.where(products == best, classes, len(rows) - 1).amin(1)
