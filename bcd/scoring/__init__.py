"""Scoring: a patient's patches become stored scores, a slide, a heatmap and a report."""
