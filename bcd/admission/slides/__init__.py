"""Whole-slide images and plain pictures of slides, cut into patches: tissue only, 4 µm/px, on the 50-px grid."""
