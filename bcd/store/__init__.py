"""What is kept: batches of pixels, the catalog that knows them, splits, snapshots, decisions and the ledger."""
