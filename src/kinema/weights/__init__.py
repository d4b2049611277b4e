"""Weights of others: what public releases there are, how to get them, and where each of their tensors goes here."""
