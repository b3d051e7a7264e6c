"""The model card: what a version is, what it was trained on, how well it does, and where its limits are."""
