"""What is kept: batches of pixels, the catalog that knows them, splits, snapshots, decisions, the ledger."""
