"""A made-up hospital: deliveries of procedurally drawn tissue, for demo, tests and scale runs."""
