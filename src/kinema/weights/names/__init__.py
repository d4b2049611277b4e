"""What other releases call the tensors of a family of networks, one family a file. Names only, no tensors."""
