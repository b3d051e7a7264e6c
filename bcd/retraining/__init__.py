"""One retraining from the snapshot to the gate: its plan and its stages."""
