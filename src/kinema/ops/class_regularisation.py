"""Class Regularisation: the weights of the likeliest class scale the channels of a stage (thesis, algorithm 1)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from kinema.ops.arguments import Count, Range, checked
from kinema.ops.precision import full_precision, wide_dtype

Bounds = Literal["shrink", "symmetric"]


class ClassRegularisation(nn.Module):
    """Scales each channel by how much it matters to the class that the features look most like.

    `V = ReLU(W M^T)` brings the classifier's weights W (K C') into the channels of the stage (K C) by the trained map
    M. For each sample, the class n with the largest `V[n] . mean(x)` is chosen; its row, scaled to [0, 1] over the
    channels, gives the gains `lambda + (1 - lambda) * row`. As printed, the algorithm lacks this plus sign and lambda
    = 1 would silence the network, against its text; with it, lambda = 1 changes nothing, and the effect grows as lambda
    falls.
    Gradients reach x and M, never W, and not through the choice.

    Args:
        classifier_features: C', inputs of the classifier.
        channels: C of the stage.
        strength: lambda, 0 to 1.
        bounds: of the gains: `shrink` is [lambda, 1]; `symmetric` is [lambda, 2 - lambda], the identity at lambda = 1
            too, for the text's "amplified".
    """

    @checked
    def __init__(
        self,
        classifier_features: Count,
        channels: Count,
        strength: Annotated[float, Range(0, 1)],
        *,
        bounds: Bounds = "shrink",
    ) -> None:
        super().__init__()
        self.strength, self.bounds = strength, bounds
        self.weight = nn.Parameter(torch.empty(channels, classifier_features))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, classifier_weight: Tensor) -> Tensor:
        """N C T H W and K C' -> N C T H W."""
        if self.strength == 1:
            return x
        # In float32 or wider: the differences between channels are small against their size.
        wide = wide_dtype(x, classifier_weight, self.weight)
        with full_precision(x):
            rows = (classifier_weight.detach().to(wide) @ self.weight.to(wide).T).relu()  # K C
            with torch.no_grad():
                chosen = (x.mean((2, 3, 4), dtype=wide) @ rows.T).argmax(1)  # N
            row = rows[chosen]  # N C
            low, high = row.amin(1, keepdim=True), row.amax(1, keepdim=True)
            flat = high == low
            share = (row - low) / torch.where(flat, 1.0, high - low)
            top = 1.0 if self.bounds == "shrink" else 2 - self.strength
            gain = torch.where(flat, 1.0, self.strength + (top - self.strength) * share)
        return x * gain.to(x.dtype)[:, :, None, None, None]
