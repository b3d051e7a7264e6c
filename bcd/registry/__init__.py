"""Registry: MLflow runs, the bundle that is deployed, the gate, and promotion with its record."""
