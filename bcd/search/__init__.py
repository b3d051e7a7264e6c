"""Search: an Optuna study over networks and their training on one snapshot, whose trial 0 is the default."""
