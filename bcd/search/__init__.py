"""Search: an Optuna study over architectures on one snapshot, whose trial 0 is the default."""
