"""Numbers and their intervals, by patient."""
