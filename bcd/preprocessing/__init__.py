"""Preparation of patches: one function, used alike to train, to evaluate and to score."""
