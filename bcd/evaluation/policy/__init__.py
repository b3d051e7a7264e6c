"""What is fitted on val patients and frozen with the model: calibration and thresholds."""
