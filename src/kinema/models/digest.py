"""A hash of the weights of a network."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn


def weights_digest(network: nn.Module) -> Any:
    """Returns the SHA-256 object of the names and values of all weights and buffers, to which more can be added."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest
