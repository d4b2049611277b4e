"""Puppets: generated clips of a figure that performs actions, the data set that comes with the library."""

from __future__ import annotations

from kinema.puppets.dataset import generate, reversal_pairs
from kinema.puppets.films import generate_films
from kinema.puppets.masks import limb_masks
from kinema.puppets.sheet import contact_sheet

__all__ = ["contact_sheet", "generate", "generate_films", "limb_masks", "reversal_pairs"]
