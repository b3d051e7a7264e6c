"""Training: fit a network on a prepared snapshot, survive being killed, predict logits."""
