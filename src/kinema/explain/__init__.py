"""Explanations: where and when a network saw the evidence for a class, as maps, figures and files."""
