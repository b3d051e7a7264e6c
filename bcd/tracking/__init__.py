"""MLflow: the client and runs, nothing else."""
