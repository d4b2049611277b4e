"""Class Regularisation: the weights of the likeliest class scale the channels of a stage (thesis, algorithm 1)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kinema.ops.arguments import Count, Range, checked
from kinema.ops.precision import full_precision, wide_dtype

Bounds = Literal["shrink", "symmetric"]
Choice = Literal["sum", "max"]


class ClassRegularisation(nn.Module):
    """Scales each channel by how much it matters to the class that the features look most like.

    `V = ReLU(W M^T)` brings the classifier's weights W (K C') into the channels of the stage (K C) by the trained map
    M. For each sample, the class n with the highest score is chosen; its row `V[n]`, scaled to [0, 1] over the
    channels, gives the gains `lambda + (1 - lambda) * row`. As printed, the algorithm lacks this plus sign and lambda
    = 1 would silence the network, against its text; with it, lambda = 1 changes nothing, and the effect grows as lambda
    falls.
    The score of a class is made from the products `V[n] * mean(x)` of all channels. The thesis compares these vectors
    without saying how; `choice` holds the two readings of its text. Of several classes with the highest score the first
    is chosen.
    Gradients reach x and M, never W, and not through the choice.

    Args:
        classifier_features: C', inputs of the classifier.
        channels: C of the stage.
        strength: lambda, 0 to 1.
        bounds: of the gains: `shrink` is [lambda, 1]; `symmetric` is [lambda, 2 - lambda], the identity at lambda = 1
            too, for the text's "amplified".
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
        """The factor of every channel, N C in float32 or wider; N C T H W and K C' as for `forward`."""
        # In float32 or wider: the differences between channels are small against their size.
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
    """For each sample the class of the largest product `rows[k, c] * pooled[n, c]` over all c; N C, K C -> N."""
    # Per channel the largest product belongs to the largest or the smallest row, depending on the sign of the feature,
    # so that the N K C products need not be made.
    positive = pooled > 0
    (high, first_high), (low, first_low) = rows.max(0), rows.min(0)
    products = pooled * torch.where(positive, high, low)
    classes = torch.where(positive, first_high, first_low).masked_fill(pooled == 0, 0)  # where all products are 0
    best = products.amax(1, keepdim=True)
    # Where features are not a number none is the best; the last class is then still one of the classes.
    return torch.where(products == best, classes, len(rows) - 1).amin(1)
