"""Weights of others: what public releases there are, how to get them, and where each of their tensors goes here."""

from kinema.models.registry import set_resolver
from kinema.weights.pretrained import Releases

set_resolver(Releases())
