"""Networks as data: an architecture is described, and a Keras model is built from the description."""
