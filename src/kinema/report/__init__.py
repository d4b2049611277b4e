"""Runs on one page: curves, confusion, classes, comparison, features, cost, coverage, protocol."""
