"""What other releases call the tensors of a family of networks, one family per file. Names only, no tensors."""
