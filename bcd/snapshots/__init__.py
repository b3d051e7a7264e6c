"""Frozen lists of patches with their split, and how patients are dealt."""
