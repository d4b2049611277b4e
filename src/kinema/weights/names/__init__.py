"""Names that other releases use for the tensors of a family of networks, one family per file; no tensors."""
