"""What is deployed: preparation, networks, policy and reference statistics as one registered model."""
