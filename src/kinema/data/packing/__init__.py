"""Packing: a data set re-encoded for fast decoding."""
