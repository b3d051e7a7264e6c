"""What `bcd evaluate` does: anybody's model or predictions on patients who are named."""
