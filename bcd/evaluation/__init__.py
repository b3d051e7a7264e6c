"""Evaluation: metrics with intervals by patient, calibration, thresholds and their pictures."""
