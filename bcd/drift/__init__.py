"""Drift: whether slides and deliveries still look like what a bundle was trained on, patient by patient."""
